"""A file system in a file whose power can be cut: what was not made durable is gone."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN: ext4 and xfs
_NO_LOG_FLUSH = 2
# kind: size (sparse; what is not written takes no room), command that makes it
_KINDS = {
    "ext4": (96 << 20, ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0"]),
    "xfs": (300 << 20, ["mkfs.xfs", "-q", "-f"]),
}
_WAIT_S = 30.0


class Disk:
    """One image and the folder where it is mounted."""

    def __init__(self, kind: str, image: Path, target: Path) -> None:
        self.kind = kind
        self.image = image
        self.target = target
        self._descriptor = -1

    def make(self) -> None:
        """Make the image, with an empty file system."""
        size_bytes, command = _KINDS[self.kind]
        with open(self.image, "wb") as file:
            file.truncate(size_bytes)
        subprocess.run([*command, str(self.image)], check=True, capture_output=True)

    def copy_from(self, image: Path) -> None:
        """Take another image's content, holes as holes."""
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(image), str(self.image)], check=True)

    @contextmanager
    def mounted(self, options: str = "") -> Iterator[Path]:
        """The file system in place meanwhile; whatever still uses it at the end is killed."""
        self.target.mkdir(parents=True, exist_ok=True)
        chosen = "loop" + (f",{options}" if options else "")
        subprocess.run(["mount", "-t", self.kind, "-o", chosen, str(self.image), str(self.target)], check=True)
        try:
            self._descriptor = os.open(self.target, os.O_RDONLY | os.O_DIRECTORY)
            yield self.target
        finally:
            os.close(self._descriptor)
            self._unmount()

    def cut(self) -> None:
        """Stop the file system at once; what only the machine's memory holds never reaches the disk."""
        fcntl.ioctl(self._descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))

    def _unmount(self) -> None:
        deadline = time.monotonic() + _WAIT_S
        while subprocess.run(["umount", str(self.target)], capture_output=True, check=False).returncode:
            if time.monotonic() > deadline:
                subprocess.run(["umount", "--lazy", str(self.target)], check=True)
                raise AssertionError(f"{self.target} was in use for {_WAIT_S:.0f} s")
            self._kill_users()
            time.sleep(0.01)

    def _kill_users(self) -> None:
        """Kill what has a file of the disk open: git in the background of a killed writer."""
        here = f"{self.target}/"
        for pid in filter(str.isdigit, os.listdir("/proc")):
            links = [f"/proc/{pid}/cwd"]
            try:
                links += [f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd")]
                if int(pid) != os.getpid() and any(f"{os.readlink(link)}/".startswith(here) for link in links):
                    os.kill(int(pid), signal.SIGKILL)
            except OSError:
                continue


def remove(folder: Path) -> None:
    """Remove a folder of images, once nothing of it is mounted any more."""
    with open("/proc/mounts", encoding="utf-8") as file:
        left = [line for line in file if line.split()[1].startswith(f"{folder}/")]
    assert left == []
    shutil.rmtree(folder)
