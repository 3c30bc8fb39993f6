"""What every artifact store can do: tell what it lacks, take objects, hand them out. A module a kind of store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

Told = Callable[[int], None]  # bytes moved since the last call, less than 0 to take some back; from any thread


@dataclass(frozen=True, slots=True)
class Transfer:
    """One object to move: the sha256 of its bytes as 64 hex digits, their number, and the local file.

    The file is read from when the object is sent; when it is fetched it is made there, and is durable only once
    the caller has seen to that.
    """

    oid: str
    size_bytes: int
    path: str


@dataclass(slots=True)
class Outcome:
    """What became of transfers, by oid: those moved, those that were there already, and why others were not moved.

    What was tried again and worked at last counts as moved.
    """

    moved: set[str] = field(default_factory=set)
    present: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)


class ArtifactStore(Protocol):
    """Objects by their sha256, elsewhere. Used by one thread; what it does at once inside is its own affair."""

    @property
    def label(self) -> str:
        """What a person calls it: a URL or a path, without credentials."""
        ...

    def find_absent(self, objects: Sequence[Transfer]) -> set[str]:
        """The oids that the store does not have (with that size); their files are not looked at.

        Raises:
            RemoteError: it cannot be asked.
        """
        ...

    def upload(self, transfers: Sequence[Transfer], told: Told) -> Outcome:
        """Send what the store does not have; what moved is durable there, as far as it says so.

        A file that does not hold what its oid says is not sent, and counts as failed.

        Raises:
            RemoteError: the store as a whole cannot be reached, or refuses; what was moved before stays there.
        """
        ...

    def download(self, transfers: Sequence[Transfer], told: Told) -> Outcome:
        """Fetch objects into their files, each checked against its hash and size before it has its name.

        What fails leaves no file. An object that the store does not have counts as failed.

        Raises:
            RemoteError: the store as a whole cannot be reached, or refuses.
        """
        ...
