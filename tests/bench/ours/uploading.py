"""Sends one object of this repository to its remote's LFS server; prints how much memory that took, in MB."""

from __future__ import annotations

import json
import os
import sys

from gittrack.artifact_stores.choosing import open_lfs_store
from gittrack.artifact_stores.transfers import Transfer
from gittrack.git.remotes import find_remote
from gittrack.git.repository import open_repository


def main(oid: str) -> None:
    repository = open_repository(os.getcwd())
    remote = find_remote(repository)
    assert remote is not None
    path = os.path.join(repository.lfs_objects_dir, oid[:2], oid[2:4], oid)
    before = read_memory_mb("VmRSS")
    store = open_lfs_store(repository, remote, "upload")
    outcome = store.upload([Transfer(oid, os.stat(path).st_size, path)], lambda _: None)
    assert outcome.moved == {oid}, outcome
    print(json.dumps({"grown_mb": read_memory_mb("VmHWM") - before}))


def read_memory_mb(name: str) -> float:
    """A figure of proc(5), ``/proc/pid/status``; ``ru_maxrss`` begins with that of whoever started us."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        (line,) = (line for line in file if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6


main(sys.argv[1])
