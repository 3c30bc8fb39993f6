"""Refs in git's reftable, which only git itself moves: one process of it for each question and each change.

Sources: git's Documentation/technical/reftable, git-update-ref(1) "--stdin". dulwich has no compare-and-swap
for it. A change takes 2 ms more than of a file.
"""

from __future__ import annotations

import os

from gittrack.errors import CommandError, RepositoryError
from gittrack.git.command import run_git
from gittrack.git.objects import ID_BYTES, ObjectId
from gittrack.git.packs import fsync_folder
from gittrack.git.ref_files import in_its_way, is_symbolic
from gittrack.git.repository import Repository
from gittrack.git.write_lock import Crash, RefLockedError

_DURABLY = ("-c", "core.fsync=all", "-c", "core.fsyncMethod=fsync", "-c", "reftable.lockTimeout=1000")


class RefTables:
    """The refs of one repository that keeps them in tables; answers as `RefFiles` does.

    Args:
        lock: descriptor of our write lock where it is held. Git inherits it: when we are killed, the next writer
            waits for the git that we started.
    """

    heal_after_s = 1.0  # git rewrites tables under their lock

    def __init__(self, repository: Repository, lock: int | None = None) -> None:
        self._repository = repository
        self._keep_open = () if lock is None else (lock,)

    def read(self, name: str) -> ObjectId | None:
        return self._find(name)[0]

    def read_head(self) -> tuple[ObjectId | None, str | None]:
        try:
            name = (
                self._run("symbolic-ref", "--quiet", "HEAD", is_own=True).decode(errors="surrogateescape").strip()
            )
        except CommandError:
            name = ""
        if name:
            return self.read(name), name.removeprefix("refs/heads/").encode(errors="surrogateescape").decode(
                errors="replace"
            )
        try:
            return ObjectId(
                self._run("rev-parse", "--verify", "--quiet", "HEAD", is_own=True).decode().strip()
            ), None
        except CommandError:
            return None, None

    def change(self, name: str, new: ObjectId | None, old: ObjectId | None) -> bool:
        if self._find(name)[1]:
            raise is_symbolic(name)
        zero = "0" * 2 * ID_BYTES[self._repository.object_format]
        # no-deref: should it become symbolic just now, it is still not written through
        steps = "start\0option no-deref\0" + f"update {name}\0{new or zero}\0{old or zero}\0" + "prepare\0commit\0"
        try:
            self._run(*_DURABLY, "update-ref", "--stdin", "-z", stdin=os.fsencode(steps))
        except CommandError as error:
            if self.read(name) != old:
                return False
            if os.path.exists(self._lock):
                raise RefLockedError(self._lock) from error
            if "cannot create" in error.stderr:
                raise in_its_way(name) from error
            raise RepositoryError(f"git cannot move {name}: {_last_line(error.stderr)}") from error
        fsync_folder(os.path.dirname(self._lock))
        return True

    def lock_paths(self, crash: Crash) -> list[str]:
        return [self._lock]

    @property
    def _lock(self) -> str:
        return os.path.join(self._repository.common_dir, "reftable", "tables.list.lock")

    def is_left_by(self, crash: Crash, path: str, content: bytes) -> bool:
        return True  # git writes the names of tables there: nothing of it is ours to know

    def _find(self, name: str) -> tuple[ObjectId | None, str]:
        """Where a ref points, and the ref that it is another name for, if it is."""
        output = self._run("for-each-ref", "--format=%(objectname) %(refname) %(symref)", "--", name)
        for line in output.decode(errors="surrogateescape").split("\n"):
            object_id, found, symbolic = (line + "  ").split(" ", 3)[:3]
            if found == name:
                return ObjectId(object_id), symbolic
        return None, ""

    def _run(self, *words: str, stdin: bytes = b"", is_own: bool = False) -> bytes:
        folder = self._repository.git_dir if is_own else self._repository.common_dir
        return run_git(folder, *words, stdin=stdin, keep_open=self._keep_open)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it does not say why"])[-1].removeprefix("fatal: ")
