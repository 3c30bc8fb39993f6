"""What ``git push --porcelain`` says was refused, and whether the same may be taken at another try.

The form is git-push(1), "Output"; the reasons are those of git and its server, 2.30 to 2.47.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_REFUSED = re.compile(r"!\t[^\t]*:(refs/[^\t]+)\t\[([^\]]*)\](?: \((.*)\))?")
_OF_ANOTHER = re.compile(r"atomic push failed|transaction failed|remote failed to report status")
_QUICKER = re.compile(
    r"fetch first|non-fast-forward|stale info|already exists|failed to update ref|cannot lock ref|failed to"
    r" lock|incorrect old value|reference already exists|unable to (create|lock)|needs force"
    r"|is at [0-9a-f]+ but expected"
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One ref that a remote did not take.

    Attributes:
        ref: its full name there. reason: git's words. told: what the remote said beside it.
        may_pass: whether somebody else was quicker, so that it can be taken at another try.
    """

    ref: str
    reason: str
    told: str
    may_pass: bool


def parse_refusals(output: str, told: str) -> list[Refusal]:
    """The refusals in what git printed; none where it failed before any ref was looked at.

    A ref that is refused only since another one is does not count, unless there is no other.
    """
    lines = [line.removeprefix("remote:").strip() for line in told.splitlines() if line.startswith("remote:")]
    said = " ".join(line for line in lines if line)[:500]
    found = []
    for line in output.splitlines():
        if (parts := _REFUSED.fullmatch(line.rstrip())) is None:
            continue
        reason = parts[3] or parts[2]
        is_quicker = bool(_QUICKER.search(reason) or _OF_ANOTHER.search(reason))
        found.append(Refusal(parts[1], reason, said, is_quicker))
    own = [refusal for refusal in found if not _OF_ANOTHER.search(refusal.reason)]
    return own or found
