"""The whole family of errors: each says what was asked, what was found, and what to type next.

Every error is a `GittrackError` with a one-line ``message`` and a ``hint``; the facts it speaks of
are attributes. One that is also a `ValueError` or a `LookupError` in the eyes of a caller inherits it.
Any floor may import this module; it imports nothing.
"""

from __future__ import annotations


class GittrackError(Exception):
    """Base of all errors that gittrack raises on purpose.

    Attributes:
        message: one line, what was asked and what was found.
        hint: what to do next, or an empty string.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class InvalidValueError(GittrackError, ValueError):
    """A key, value, name or option that gittrack does not take."""


class InvalidQueryError(InvalidValueError):
    """A filter, or a term to order by, cannot be read or asks for what makes no sense.

    The hint says what would fit, and shows the place with a caret below it.

    Attributes:
        text: what was to be read; position: the place of the mistake in it, counted from 0.
    """

    def __init__(self, message: str, text: str, position: int, advice: str) -> None:
        start = max(0, position - 60)
        shown = "".join(char if char.isprintable() else " " for char in text[start : position + 40])
        super().__init__(message, f"{advice}\n    {shown}\n    {' ' * (position - start)}^")
        self.text, self.position = text, position


class ParamConflictError(InvalidValueError):
    """A param was logged again with another value.

    Attributes:
        key: the param; run_id: the run; old, new: both values.
    """

    def __init__(self, key: str, run_id: str, old: object, new: object) -> None:
        super().__init__(
            f"param {key!r} of run {run_id} is already {old!r}; it cannot become {new!r}",
            "params describe one run for good: log the new value in a run of its own, or under another key",
        )
        self.key, self.run_id, self.old, self.new = key, run_id, old, new


class RunStateError(GittrackError):
    """The run or the experiment is not in a state that allows what was asked."""


class NotFoundError(GittrackError, LookupError):
    """Nothing has the name, id or path that was asked for."""


class AmbiguousError(NotFoundError):
    """A name or prefix fits several things.

    Attributes:
        candidates: what it fits, each as ``id  name``.
    """

    def __init__(self, message: str, candidates: list[str]) -> None:
        shown = "\n    ".join(candidates[:10])
        more = f"\n    … and {len(candidates) - 10} more" if len(candidates) > 10 else ""
        super().__init__(message, f"give more of it; candidates:\n    {shown}{more}")
        self.candidates = candidates


class RepositoryError(GittrackError):
    """The repository cannot be used: not a repository, an unknown format, an unreadable object."""


class DamagedError(RepositoryError):
    """Something stored is not what it says it is.

    Attributes:
        where: the run, ref or file that is damaged.
    """

    def __init__(self, where: str, message: str, hint: str = "") -> None:
        super().__init__(f"{where}: {message}", hint)
        self.where = where


class BusyError(GittrackError):
    """Somebody else holds a lock for longer than gittrack waits."""


class ArtifactError(GittrackError):
    """A file cannot be stored or handed out as an artifact."""


class ArtifactMissingError(ArtifactError, LookupError):
    """The artifact's bytes are not on this machine.

    Attributes:
        oid: sha256 of the content, 64 hex digits; path: the artifact's path in its run.
        tried: where it was looked for in vain, and why; empty where nobody looked.
    """

    def __init__(self, path: str, oid: str, tried: str = "") -> None:
        told = f"looked for it: {tried}; " if tried else ""
        super().__init__(
            f"artifact {path!r} (sha256 {oid[:12]}…) is not on this machine",
            f"{told}it lives where the run was made: let `gittrack push` be run there, or copy it over",
        )
        self.path, self.oid, self.tried = path, oid, tried


class RemoteError(GittrackError):
    """Another repository, or a store of artifacts, cannot be reached, refuses, or is not what it should be."""


class CommandError(GittrackError):
    """A program that gittrack started failed.

    Attributes:
        argv: what was run; returncode: how it ended; stderr: what it said, decoded.
    """

    def __init__(self, argv: list[str], returncode: int, stderr: str) -> None:
        first = next((line for line in stderr.splitlines() if line.strip()), "no message")
        super().__init__(f"{' '.join(argv[:3])} failed ({returncode}): {first}")
        self.argv, self.returncode, self.stderr = argv, returncode, stderr


class MissingToolError(GittrackError):
    """An optional package or program is needed for what was asked, and is not installed."""
