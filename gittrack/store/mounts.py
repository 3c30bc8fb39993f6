"""Whether a folder's file system may be memory-mapped safely: local ones may, network ones may not.

Source: ``/proc/self/mountinfo``, proc(5). Where there is none (macOS), a mapping is taken as safe.
"""

from __future__ import annotations

import functools
import os

_LOCAL = frozenset(
    [
        "ext2",
        "ext3",
        "ext4",
        "xfs",
        "btrfs",
        "tmpfs",
        "ramfs",
        "overlay",
        "f2fs",
        "zfs",
        "bcachefs",
        "reiserfs",
        "jfs",
        "ubifs",
        "apfs",
        "hfs",
    ]
)


def may_map(folder: str) -> bool:
    """Whether a mapped file in this folder survives its writer and is seen by others at once."""
    status = os.stat(folder)
    return _is_local(f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}")


@functools.cache
def _is_local(device: str) -> bool:
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                fields = line.split(" ")
                if fields[2] == device:
                    return fields[fields.index("-") + 1] in _LOCAL
    except (OSError, ValueError, IndexError):
        return True
    return True  # btrfs shows other device numbers than stat does
