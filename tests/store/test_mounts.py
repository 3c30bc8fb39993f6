"""Which file systems may be mapped."""

from __future__ import annotations

import builtins
import io
import os
from pathlib import Path
from typing import Any

import pytest

from gittrack.store import mounts
from tests.harness import mounted


@pytest.fixture(autouse=True)
def fresh() -> None:
    mounts._is_local.cache_clear()


def pretend(monkeypatch: pytest.MonkeyPatch, folder: Path, kind: str) -> None:
    status = os.stat(folder)
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    line = f"36 35 {device} / /mnt rw,noatime master:1 - {kind} server:/export rw\n"
    real = builtins.open

    def fake(path: Any, *arguments: Any, **options: Any) -> Any:
        return io.StringIO("1 2 99:99 / / rw - ext4 x rw\n" + line) if "mountinfo" in str(path) else real(path)

    monkeypatch.setattr(builtins, "open", fake)


@pytest.mark.parametrize(
    ("kind", "local"),
    [("ext4", True), ("xfs", True), ("overlay", True), ("nfs4", False), ("lustre", False), ("cifs", False),
     ("fuse.sshfs", False), ("9p", False), ("ceph", False), ("gpfs", False), ("beegfs", False)],
)  # fmt: skip
def test_local_ones_may_and_network_ones_may_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, local: bool
) -> None:
    pretend(monkeypatch, tmp_path, kind)
    assert mounts.may_map(str(tmp_path)) is local


def test_a_real_mount_is_found(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "tmpfs") as small:
        assert mounts.may_map(str(small))


def test_where_the_system_does_not_tell_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> Any:
        raise FileNotFoundError

    monkeypatch.setattr(builtins, "open", refuse)
    assert mounts.may_map(str(tmp_path))
