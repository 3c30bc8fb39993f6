"""What plain ``git push`` is about to push, as its pre-push hook is told; the artifacts go before the refs.

Source of the lines: githooks(5), "pre-push".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gittrack.errors import InvalidValueError
from gittrack.git.objects import ObjectId
from gittrack.git.remotes import find_remote
from gittrack.git.repository import Repository
from gittrack.schema.names import experiment_of_ref
from gittrack.schema.tag_names import TAGS, parse_tag_name
from gittrack.sharing.uploaded import note_uploaded
from gittrack.sharing.uploading import Told, Uploaded, upload


@dataclass(frozen=True, slots=True)
class PushedRef:
    """One ref that git is going to push: what it is here, and what it is to be there."""

    local_ref: str
    local_id: ObjectId
    remote_ref: str
    remote_id: ObjectId

    @property
    def is_deletion(self) -> bool:
        return not self.local_id.strip("0")

    @property
    def has_runs(self) -> bool:
        """Whether it is an experiment's branch or a tag of the registry, here or there."""
        return any(
            experiment_of_ref(ref) is not None
            or (ref.startswith(TAGS) and parse_tag_name(ref.removeprefix(TAGS)) is not None)
            for ref in (self.local_ref, self.remote_ref)
        )


def parse_pushed(lines: Iterable[str]) -> list[PushedRef]:
    """The refs that the hook's input names, in order.

    Raises:
        InvalidValueError: a line is not of four words.
    """
    pushed = []
    for line in lines:
        words = line.split()
        if len(words) != 4:
            raise InvalidValueError(f"not what git tells a pre-push hook: {line!r}", "see: git help githooks")
        pushed.append(PushedRef(words[0], ObjectId(words[1]), words[2], ObjectId(words[3])))
    return pushed


def upload_pushed(
    repository: Repository, asked: str, url: str, pushed: Iterable[PushedRef], told: Told | None = None
) -> Uploaded:
    """Send the artifacts of the runs that git is going to push, as far as the remote's store lacks them.

    Args:
        asked: the remote as git was asked for it, a name or a URL; url: where git pushes to.

    Raises:
        NotFoundError: there is no such remote. RemoteError: as `upload`.
    """
    tips = sorted({ref.local_id for ref in pushed if ref.has_runs and not ref.is_deletion})
    remote = find_remote(repository, asked)
    if not tips or remote is None:
        return Uploaded()
    remote = replace(remote, push_url=url or remote.push_url)
    done = upload(repository, remote, {}, tips, told)
    note_uploaded(repository, remote, tips)
    return done
