"""Which configuration lets reading fetch: what git's own clone writes, and nothing that could start programs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gittrack.git.promised import is_partial
from gittrack.git.repository import open_repository


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A partial clone as git makes it."""
    source, path = tmp_path / "source", tmp_path / "clone"
    for words in (
        ("init", "-q", str(source)),
        ("-C", str(source), "config", "uploadpack.allowFilter", "true"),
        (
            "-C",
            str(source),
            "-c",
            "user.name=A",
            "-c",
            "user.email=a@b",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "a",
        ),
        ("clone", "-q", "--filter=blob:none", f"file://{source}", str(path)),
    ):
        subprocess.run(["git", *words], check=True)
    return path


def set_config(path: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(path), "config", *words], check=True)


def test_what_git_clones_is_partial(clone: Path) -> None:
    assert is_partial(open_repository(str(clone)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("user.name", "Ada"),
        ("branch.main.rebase", "true"),
        ("remote.backup.url", "git@host:team/runs.git"),
        ("remote.six.url", "ssh://[::1]:22/runs.git"),
        ("http.http://127.0.0.1/.extraHeader", "Authorization: x"),
        ("gittrack.live", "60s"),
    ],
)
def test_what_people_set_beside_it_does_not_matter(clone: Path, key: str, value: str) -> None:
    set_config(clone, key, value)
    assert is_partial(open_repository(str(clone)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("remote.origin.uploadpack", "/tmp/evil"),
        ("remote.origin.vcs", "evil"),
        ("remote.origin.proxy", "http://evil"),
        ("remote.other.url", "ext::sh -c evil"),
        ("remote.other.pushurl", "evil::address"),
        ("remote.other.url", "-oProxyCommand=evil"),
        ("core.sshCommand", "evil"),
        ("core.gitProxy", "evil"),
        ("core.askPass", "evil"),
        ("core.alternateRefsCommand", "evil"),
        ("credential.helper", "!evil"),
        ("url.ext::evil.insteadOf", "file://"),
        ("include.path", "/tmp/evil"),
        ("includeIf.gitdir:/.path", "/tmp/evil"),
        ("fetch.bundleURI", "http://evil"),
        ("protocol.ext.allow", "always"),
    ],
)
def test_what_could_start_a_program_makes_reading_fetch_nothing(
    clone: Path, caplog: pytest.LogCaptureFixture, key: str, value: str
) -> None:
    set_config(clone, key, value)
    assert not is_partial(open_repository(str(clone)))
    (told,) = caplog.messages
    section, _, name = key.lower().partition(".")
    assert f"its own config sets {section}.{name.rpartition('.')[2]}," in told


def test_the_config_of_one_work_tree_counts_too(clone: Path) -> None:
    set_config(clone, "extensions.worktreeConfig", "true")
    set_config(clone, "--worktree", "core.sshCommand", "evil")
    assert not is_partial(open_repository(str(clone)))
