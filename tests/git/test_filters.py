"""No filter of a repository ever runs: every name is found, wherever git would find it."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from gittrack.git.command import find_git
from gittrack.git.filters import find_filters

from .making import config_value, contents, find, git, make, make_racy, state_of, write


@pytest.mark.parametrize("name", ["evil", "e.v=i l", 'qu"ote'])
@pytest.mark.parametrize("key", ["clean", "process"])
def test_a_filter_of_the_repository_never_runs(tmp_path: Path, name: str, key: str) -> None:
    top = make(tmp_path / "r", {"a.dat": "1\n", "b.dat": "1\n"})
    write(top, {".git/info/attributes": "*.dat filter=" + name.replace(" ", "") + "\n"})
    canary = tmp_path / "canary"
    git(top, "config", f"filter.{name.replace(' ', '')}.{key}", config_value(canary))
    git(top, "config", f"filter.{name.replace(' ', '')}.required", "true")
    make_racy(top / "a.dat")
    write(top, {"b.dat": "2\n"})
    assert contents(top) == {"a.dat": b"1\n", "b.dat": b"2\n"}
    assert not canary.exists()
    make_racy(top / "a.dat")
    subprocess.run(["git", "status"], cwd=top, capture_output=True, check=False)
    assert canary.exists()  # so that this test can fail


@pytest.mark.parametrize("place", ["include", "user", "worktree"])
def test_a_filter_that_is_configured_elsewhere_never_runs(tmp_path: Path, place: str) -> None:
    top = make(tmp_path / "r", {"a.dat": "1\n", ".gitattributes": "*.dat filter=evil\n"})
    canary = tmp_path / "canary"
    if place == "include":
        write(top, {".git/more": ""})
        git(top, "config", "Include.path", "more")
        git(top, "config", "-f", ".git/more", "filter.evil.clean", config_value(canary))
    elif place == "user":
        git(top, "config", "--global", "filter.evil.clean", config_value(canary))
    else:
        git(top, "config", "extensions.worktreeConfig", "true")
        git(top, "config", "--worktree", "filter.evil.clean", config_value(canary))
    make_racy(top / "a.dat")
    assert not state_of(top).dirty
    assert not canary.exists()
    subprocess.run(["git", "status"], cwd=top, capture_output=True, check=False)
    assert canary.exists()


def names_by_git(top: Path) -> set[str] | None:
    """The filters that git itself finds; None where it cannot read its config."""
    argv = ["git", "config", "--includes", "-z", "--name-only", "--get-regexp", r"^filter\."]
    done = subprocess.run(argv, cwd=top, capture_output=True, check=False)
    keys = [os.fsdecode(key) for key in done.stdout.split(b"\0") if key.count(b".") > 1]
    return {key.removeprefix("filter.").rpartition(".")[0] for key in keys} if done.returncode < 2 else None


HIDDEN = [
    b'[core][filter "evil"] clean = x',
    b'# note \\\n[filter "evil"]\nclean = x',
    b'\xef\xbb\xbf[FILTER "evil"]clean=x',
    b"[Filter.EVIL]\r\n\tclean = x",
    b'[filter.evil ""] clean = x\n[filter "evil"] clean = x',
    b'[x "[filter "][filter "evil"] clean = x',
    b'[filter "e\\vil"] clean = x',
    b"[include] path = other",
    b'[include]\n\tpath = "oth\\\ner"',
    b'[includeIf "onbranch:main"] PATH = ~/other ; note',
    b"[include] path = between",
]


@pytest.mark.parametrize("raw", HIDDEN)
def test_a_filter_is_found_however_it_is_written(tmp_path: Path, raw: bytes) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    for folder in (top / ".git", tmp_path / "home"):
        write(folder, {"other": '[filter "evil"] clean = x\n', "between": "[include]\n\tpath = other\n"})
    (top / ".git/config").write_bytes(raw + b"\n" + (top / ".git/config").read_bytes())
    assert "evil" in (names_by_git(top) or ())
    assert "evil" in find_filters(find(top), str(top))


HEADERS = [
    b'[filter "a"]',
    b'[filter "a.b\\"c"]',
    b'[Filter "X"]',
    b"[filter.Dot]",
    b'[filter.x "y"]',
    b"[filter]",
]
INCLUDES = [b"[include]", b'[includeIf "gitdir:/"]', b"path", b"path = other", b"path=~/other", b'path = "other"']
SIGNS = [b"=", b" ", b"\n", b"\r\n", b"\r", b"\\", b'"', b"#", b";", b"[", b"]", b"\\\n", b"# c \\\n"]
PIECES = [*HEADERS, *INCLUDES, *SIGNS, b"[core]", b"clean = x", b"path = ot\\\nher"]


def test_no_config_that_git_can_read_hides_a_filter(tmp_path: Path) -> None:
    top, chance = make(tmp_path / "r"), random.Random(1)
    write(top, {".git/other": '[filter "inside"]\n\tclean = x\n'})
    write(tmp_path, {"home/other": '[filter "outside"] clean = x\n'})
    plain = (top / ".git/config").read_bytes()
    readable = 0
    for _ in range(300):
        lines = [chance.choice(PIECES) + chance.choice(PIECES) for _ in range(chance.randint(1, 5))]
        (top / ".git/config").write_bytes(plain + b"\n".join(lines))
        names = names_by_git(top)
        if names is not None:
            readable += 1
            assert names <= set(find_filters(find(top), str(top))), lines
    assert readable > 50


def test_a_changed_config_is_read_anew(tmp_path: Path) -> None:
    top = make(tmp_path / "r")
    before = set(find_filters(find(top), str(top)))  # those of this machine
    git(top, "config", "filter.late.clean", "x")
    assert set(find_filters(find(top), str(top))) - before == {"late"}


def test_a_filter_of_a_git_whose_system_config_lies_elsewhere_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = make(tmp_path / "r")
    write(tmp_path, {"etc/gitconfig": '[filter "system"] clean = x\n'})
    write(
        tmp_path,
        {"bin/git": f'#!/bin/sh\nGIT_CONFIG_SYSTEM={tmp_path}/etc/gitconfig exec {shutil.which("git")} "$@"\n'},
    )
    (tmp_path / "bin/git").chmod(0o755)
    monkeypatch.delenv("GIT_CONFIG_NOSYSTEM")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    find_git.cache_clear()
    assert "system" in find_filters(find(top), str(top))
