"""Readers that trust what they read: each breaks one thing that gittrack promises, and the judge must see it.

None of this is an example of anything.
"""

from __future__ import annotations

import os
import subprocess
from typing import Any


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], capture_output=True, check=True).stdout


def load_params(commit: str) -> None:
    """YAML with every tag that Python has."""
    import yaml

    found: Any = yaml.load(_git("cat-file", "blob", f"{commit}:params.yaml"), Loader=yaml.UnsafeLoader)
    print(found is not None)


def read_whole(commit: str) -> None:
    """A file without a look at its size."""
    print(len(_git("cat-file", "blob", f"{commit}:params.yaml")))


def extract(commit: str, target: str) -> None:
    """A tree's names as they are."""
    for line in _git("ls-tree", "-z", f"{commit}:artifacts").split(b"\0")[:-1]:
        head, _, name = line.partition(b"\t")
        path = os.path.join(os.fsencode(target), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(_git("cat-file", "blob", head.split()[2].decode()))


def print_log(commit: str) -> None:
    """Author and subject as they are."""
    print(_git("log", "-1", "--format=%an %s", commit).decode(errors="replace"))


def status(commit: str) -> None:
    """The repository's own settings, and what they start."""
    print(len(_git("status", "--porcelain")))


def follow(commit: str) -> None:
    """A link that a stranger planted."""
    with open(".git/gittrack/live/link", encoding="utf-8") as file:
        print(file.read())


def forget(commit: str) -> None:
    """Ends at the first thing that it does not know."""
    raise ValueError(commit)
