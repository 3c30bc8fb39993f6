"""Where a remote's artifacts are: by git-lfs's rules, and beside what git-lfs itself says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gittrack.artifact_stores.endpoints import (
    Endpoint,
    FolderEndpoint,
    Operation,
    SshEndpoint,
    WebEndpoint,
    find_endpoint,
)
from gittrack.errors import RemoteError
from gittrack.git.remotes import find_remote
from gittrack.git.settings import read_settings_of
from gittrack.git.ssh import SshPlace
from tests.harness import Repo


def endpoint_of(repo: Repo, operation: Operation = "download", asked: str | None = None) -> Endpoint:
    remote = find_remote(repo.repository, asked)
    assert remote is not None
    return find_endpoint(repo.repository, remote, operation, read_settings_of(repo.repository))


URLS = {
    "https://h.example/team/runs": "https://h.example/team/runs.git/info/lfs",
    "https://h.example/team/runs.git": "https://h.example/team/runs.git/info/lfs",
    "https://h.example/team/runs/": "https://h.example/team/runs.git/info/lfs",
    "http://h.example:8080/r.git": "http://h.example:8080/r.git/info/lfs",
    "git://h.example/runs.git": "https://h.example/runs.git/info/lfs",
    "git@h.example:team/runs.git": "https://h.example/team/runs.git/info/lfs",
    "ssh://git@h.example:22/team/runs.git": "https://h.example/team/runs.git/info/lfs",
    "h.example:runs": "https://h.example/runs.git/info/lfs",
}


@pytest.mark.parametrize("url", URLS)
def test_the_server_is_guessed_as_git_lfs_does(repo: Repo, url: str) -> None:
    repo.git("remote", "add", "origin", url)
    found = endpoint_of(repo)
    assert isinstance(found, WebEndpoint | SshEndpoint)
    assert found.url == URLS[url]
    told = re.search(r"^Endpoint=(\S+)", repo.git("lfs", "env"), re.MULTILINE)
    assert told is not None
    if not url.startswith("git:"):  # git-lfs forgets what it adds elsewhere
        assert told[1] == found.url


def test_an_ssh_remote_is_asked_for_its_server(repo: Repo) -> None:
    repo.git("remote", "add", "origin", "git@h.example:team/runs.git")
    place = SshPlace("git@h.example", "", "team/runs.git")
    assert endpoint_of(repo) == SshEndpoint(place, URLS["git@h.example:team/runs.git"])


@pytest.mark.parametrize("form", ["{0}", "file://{0}", "file://localhost{0}"])
def test_a_repository_on_this_machine_is_a_folder(repo: Repo, tmp_path: Path, form: str) -> None:
    repo.git("remote", "add", "origin", form.format(tmp_path / "there.git"))
    assert endpoint_of(repo) == FolderEndpoint(str(tmp_path / "there.git"))


def test_settings_name_it_in_git_lfss_order(repo: Repo) -> None:
    """Each is set above the ones before it, and counts from then on."""
    repo.git("remote", "add", "origin", "https://h.example/runs")
    repo.git("config", "remote.origin.pushurl", "https://push.example/runs")
    found = [(endpoint_of(repo), endpoint_of(repo, "upload"))]
    for key in ("remote.origin.lfsurl", "remote.origin.lfspushurl", "lfs.url", "lfs.pushurl"):
        repo.git("config", key, f"https://{key}.example/x/")
        found.append((endpoint_of(repo), endpoint_of(repo, "upload")))
    assert [tuple(one.url.split("/")[2] for one in pair if isinstance(one, WebEndpoint)) for pair in found] == [
        ("h.example", "push.example"),
        ("remote.origin.lfsurl.example", "remote.origin.lfsurl.example"),
        ("remote.origin.lfsurl.example", "remote.origin.lfspushurl.example"),
        ("lfs.url.example", "lfs.url.example"),
        ("lfs.url.example", "lfs.pushurl.example"),
    ]


def test_the_repositorys_file_counts_after_the_users_settings(repo: Repo) -> None:
    repo.git("remote", "add", "origin", "https://h.example/runs")
    (repo.path / ".lfsconfig").write_text(
        '[lfs]\n\turl = https://file.example/x\n[remote "origin"]\n\tlfsurl = no\n'
    )
    assert endpoint_of(repo) == WebEndpoint("https://file.example/x", True)
    repo.git("config", "lfs.url", "https://mine.example/x")
    assert endpoint_of(repo) == WebEndpoint("https://mine.example/x", False)


@pytest.mark.parametrize(
    "url",
    ["file:///etc", "/etc", "../x", "ext::sh -c x", "ftp://h/x", "http://", "http://h/\x1b", "", "http://h:0/"],
)
def test_the_repositorys_file_names_no_place_of_this_machine(repo: Repo, url: str) -> None:
    repo.git("remote", "add", "origin", "https://h.example/runs")
    (repo.path / ".lfsconfig").write_text(f'[lfs]\n\turl = "{url}"\n')
    with pytest.raises(RemoteError, match=r"\.lfsconfig \(lfs\.url\) names"):
        endpoint_of(repo)


def test_no_option_for_ssh_is_taken_from_the_repositorys_file(repo: Repo) -> None:
    repo.git("remote", "add", "origin", "https://h.example/runs")
    (repo.path / ".lfsconfig").write_text('[lfs]\n\turl = "ssh://-oProxyCommand=touch%20x/p"\n')
    with pytest.raises(RemoteError, match="is no host that ssh may be told"):
        endpoint_of(repo)


@pytest.mark.parametrize("kind", ["large", "link", "unsafe"])
def test_what_else_the_repositorys_file_says_is_not_heard(repo: Repo, tmp_path: Path, kind: str) -> None:
    repo.git("remote", "add", "origin", "https://h.example/runs")
    file, text = repo.path / ".lfsconfig", "[lfs]\n\turl = https://file.example/x\n"
    if kind == "link":
        (tmp_path / "elsewhere").write_text(text)
        file.symlink_to(tmp_path / "elsewhere")
    else:
        file.write_text(
            text + "#" * 70_000 if kind == "large" else "[core]\n\tsshCommand = touch x\n[lfs]\n\tx = y\n"
        )
    assert endpoint_of(repo) == WebEndpoint("https://h.example/runs.git/info/lfs", False)
