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
_WAIT_S, _HELD_S = 30.0, 3.0


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
            try:
                yield self.target
            finally:
                os.close(self._descriptor)
        finally:
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
        # another mount namespace may hold it still: mounted now, it would be the one that was cut
        deadline = time.monotonic() + _HELD_S
        while self._is_attached():
            if time.monotonic() > deadline:
                self._leave_behind()
                return
            self._kill_users()
            time.sleep(0.01)

    def _leave_behind(self) -> None:
        """Go on with a copy; the file itself goes with whoever holds it."""
        fresh = self.image.with_suffix(".fresh")
        Disk(self.kind, fresh, self.target).copy_from(self.image)
        fresh.replace(self.image)

    def _is_attached(self) -> bool:
        for path in Path("/sys/block").glob("loop*/loop/backing_file"):
            try:
                if path.read_text().strip() == str(self.image):
                    return True
            except OSError:
                continue  # it has just gone
        return False

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
