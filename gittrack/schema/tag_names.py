"""The registry's tags by their names, in the grammar of GTO (Git Tag Ops, its README's "Git tags format").

``<model>@v<semver>`` registers a version, ``<model>#<stage>#<n>`` assigns a stage, ``<model>@deprecated#<n>``
retires a model; ``!`` takes back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

TAGS = "refs/tags/"

_MODEL = r"[A-Za-z0-9](?:[A-Za-z0-9_/.-]*[A-Za-z0-9])?"
_SEMVER = r"v(0|[1-9]\d{0,17})\.(0|[1-9]\d{0,17})\.(0|[1-9]\d{0,17})"
_VERSION = re.compile(rf"({_MODEL})@{_SEMVER}(!?)(?:#([1-9]\d{{0,17}}))?")
_EVENT = re.compile(rf"({_MODEL})(#[A-Za-z0-9][A-Za-z0-9_/-]*|@deprecated)(!?)#([1-9]\d{{0,17}})")


@dataclass(frozen=True, slots=True)
class TagName:
    """A tag of the registry.

    Attributes:
        event: ``@v`` of a version, else the stage with its '#', or ``@deprecated``.
        version: major, minor and patch of a version; counter: of what may come several times, from 1.
    """

    model: str
    event: str
    version: tuple[int, int, int] | None = None
    takes_back: bool = False
    counter: int | None = None

    def __str__(self) -> str:
        shown = "@v" + ".".join(map(str, self.version)) if self.version else self.event
        counter = f"#{self.counter}" if self.counter else ""
        return f"{self.model}{shown}{'!' if self.takes_back else ''}{counter}"

    def next(self) -> TagName:
        """The name to try where this one is taken: the next counter, whole-number version, or patch."""
        if self.counter is not None:
            return replace(self, counter=self.counter + 1)
        assert self.version is not None
        major, minor, patch = self.version
        return replace(self, version=(major, minor, patch + 1) if minor or patch else (major + 1, 0, 0))


def parse_tag_name(name: str) -> TagName | None:
    """What a tag's short name says; None where it is no tag of the registry."""
    if (found := _VERSION.fullmatch(name)) is not None:
        model, major, minor, patch, mark, counter = found.groups()
        return TagName(
            model, "@v", (int(major), int(minor), int(patch)), bool(mark), int(counter) if counter else None
        )
    if (found := _EVENT.fullmatch(name)) is not None:
        model, event, mark, counter = found.groups()
        return TagName(model, event, None, bool(mark), int(counter))
    return None


def is_registry_tag(ref: str) -> bool:
    """Whether a full ref name is that of a tag of the registry."""
    return ref.startswith(TAGS) and parse_tag_name(ref.removeprefix(TAGS)) is not None
