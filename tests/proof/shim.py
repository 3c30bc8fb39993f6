"""The shim between a process and its disk (``shim.c``): built here, loaded by LD_PRELOAD, armed from inside.

A process that was started with `preloaded` has the shim loaded; it, or a child that it forks, arms it.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
from enum import IntEnum
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
_FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
# calls that can be half done: a write that is short, space that is only partly reserved
HALVES = frozenset(
    ["write", "pwrite", "writev", "ftruncate", "fallocate", "posix_fallocate", "sendfile", "copy_file_range"]
)


class Mode(IntEnum):
    """What happens at the call that is chosen; as in ``shim.c``."""

    COUNT = 0
    KILL_BEFORE = 1
    KILL_AFTER = 2
    KILL_MIDDLE = 3
    FAIL_ONCE = 4
    FAIL_FROM = 5


def build_shim(folder: Path) -> Path:
    """The shared object, compiled unless this very source was already."""
    source = SOURCE.read_bytes()
    built = folder / f"shim-{hashlib.sha256(source).hexdigest()[:16]}.so"
    if not built.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = built.with_suffix(f".{os.getpid()}")
        subprocess.run(["gcc", *_FLAGS, "-o", str(draft), str(SOURCE), "-ldl"], check=True)
        draft.rename(built)
    return built


def preloaded(folder: Path) -> dict[str, str]:
    """The environment variable that loads the shim into a process that is started now."""
    return {"LD_PRELOAD": str(build_shim(folder))}


class Shim:
    """The shim that this process has loaded.

    Raises:
        AttributeError: it has none.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.shim_count.restype = ctypes.c_long
        self._library.shim_call.restype = ctypes.c_char_p
        self._library.shim_call.argtypes = [ctypes.c_long]
        self._library.shim_arm.argtypes = [
            ctypes.c_long, ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p
        ]  # fmt: skip

    def arm(
        self, at: int, mode: Mode, folders: tuple[Path, ...], *, number: int = 0, only: tuple[str, ...] = ()
    ) -> None:
        """Count calls below some folders from 1 on, and let the one numbered ``at`` be as the mode says.

        Args:
            number: the errno of a call that fails.
            only: names of the calls that count; all but flock where none is given.
        """
        watched = ":".join(map(str, folders)).encode()
        self._library.shim_arm(at, mode, number, watched, ",".join(only).encode())

    def disarm(self) -> None:
        """Let everything pass from now on."""
        self._library.shim_disarm()

    def count(self) -> int:
        """How many calls have been counted."""
        return int(self._library.shim_count())

    def list_calls(self) -> list[str]:
        """The calls that were counted: name and path."""
        return [os.fsdecode(self._library.shim_call(at + 1)) for at in range(self.count())]
