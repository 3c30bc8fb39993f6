"""What git's configuration says, as git itself reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gittrack.errors import RemoteError
from gittrack.git.repository import Repository, open_repository
from gittrack.git.settings import find_number, find_setting, is_true, read_settings_of, replace_url_start
from gittrack.git.ssh import SshPlace, parse_ssh_url, ssh_argv
from gittrack.git.web import WebSettings, read_web_settings

from .making import git, make


@pytest.fixture
def place(tmp_path: Path) -> Repository:
    return open_repository(str(make(tmp_path / "r", {"a": "1"})))


def configure(place: Repository, **settings: str) -> None:
    for key, value in settings.items():
        git(Path(place.label), "config", "--add", key.replace("__", "."), value)


def test_all_files_and_includes_count(place: Repository, tmp_path: Path) -> None:
    (tmp_path / "home/.gitconfig").write_text("[lfs]\n\turl = one\n\tskip\n")
    (tmp_path / "more").write_text('[Remote "Our Team"]\n\tLfsUrl = two\\nthree\n')
    configure(place, lfs__url="own", include__path=str(tmp_path / "more"))
    settings = read_settings_of(place)
    assert (settings["lfs.url"], settings["lfs.skip"]) == (("one", "own"), ("true",))
    assert find_setting(settings, "lfs.url") == "own"
    assert find_setting(settings, "remote.Our Team.lfsurl") == "two\nthree"
    assert find_setting(settings, "remote.our team.lfsurl") is None


def test_numbers_and_words_are_read_with_care() -> None:
    settings = {"a": ("8",), "b": ("-1",), "c": ("many",), "d": ("9" * 5000,), "e": ("700",)}
    assert [find_number(settings, key, 5, 64) for key in "abcdef"] == [8, 5, 5, 5, 64, 5]
    assert [is_true(value, True) for value in (None, "false", "no", "0", "off", "yes", "TRUE")] == [
        *(True, False, False, False, False, True, True)
    ]


def test_the_longest_start_is_replaced() -> None:
    settings = {"url.ssh://a/.insteadof": ("h:", "https://h/"), "url.file:///b/.insteadof": ("https://h/x/",)}
    assert [replace_url_start(settings, url) for url in ("h:r", "https://h/r", "https://h/x/r", "other")] == [
        *("ssh://a/r", "ssh://a/r", "file:///b/r", "other")
    ]


def test_settings_for_the_web_hold_for_their_url_alone(place: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for key, value in (
        ("extraHeader", "AUTHORIZATION: basic abc"),
        ("sslVerify", "false"),
        ("proxy", "p.example:3128"),
    ):
        git(Path(place.label), "config", f"http.https://h.example/team.{key}", value)
    configure(place, http__sslCAInfo="~/ca.pem")
    home = str(Path.home() / "ca.pem")
    nothing = WebSettings({}, "", True, home, "", "", "")
    assert read_web_settings(place, "https://ada:x@h.example/team/runs") == WebSettings(
        {"AUTHORIZATION": "basic abc"}, "http://p.example:3128", False, home, "", "", ""
    )
    assert read_web_settings(place, "https://h.example/other") == nothing
    assert read_web_settings(place, "https://h.example.evil.example/team") == nothing


def test_a_proxy_of_the_environment_comes_second(place: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://env.example:1")
    monkeypatch.setenv("no_proxy", "inner.example,127.0.0.1")
    assert read_web_settings(place, "https://h.example/").proxy == "http://env.example:1"
    assert read_web_settings(place, "https://inner.example/").proxy == ""
    configure(place, http__proxy="")
    assert read_web_settings(place, "https://h.example/").proxy == ""


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("git@h.example:team/runs.git", SshPlace("git@h.example", "", "team/runs.git")),
        ("h.example:/abs/runs", SshPlace("h.example", "", "/abs/runs")),
        ("[git@h.example:2222]:runs", SshPlace("git@h.example", "2222", "runs")),
        ("git@[h.example:2222]:runs", SshPlace("git@h.example", "2222", "runs")),
        ("git@[::1]:runs", SshPlace("git@::1", "", "runs")),
        ("ssh://git@h.example:22/team/a%20b.git", SshPlace("git@h.example", "22", "/team/a b.git")),
        ("ssh://h.example/~ada/runs", SshPlace("h.example", "", "~ada/runs")),
        ("https://h.example/runs", None),
        ("ext::sh -c true", None),
        ("/a/path", None),
    ],
)
def test_places_on_ssh_hosts(url: str, place: SshPlace | None) -> None:
    assert parse_ssh_url(url) == place


@pytest.mark.parametrize(
    "url",
    ["ssh://-oProxyCommand=x/p", "-oProxyCommand=x:p", "ssh://-u@h/p", "ssh://h%0a/p", "h:-p", "ssh://a b/p"],
)
def test_no_option_passes_for_a_host(url: str) -> None:
    with pytest.raises(RemoteError, match="is no host that ssh may be told"):
        parse_ssh_url(url)


def test_ssh_is_run_as_git_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    place = SshPlace("git@h.example", "22", "p")
    assert ssh_argv({}, place, "c d") == ["ssh", "-p", "22", "git@h.example", "c d"]
    monkeypatch.setenv("GIT_SSH", "/opt/plink")
    assert ssh_argv({}, place, "c") == ["/opt/plink", "-P", "22", "git@h.example", "c"]
    settings = {"core.sshcommand": ("ssh -i key",)}
    shell = ["sh", "-c", 'ssh -i key "$@"', "ssh -i key"]
    assert ssh_argv(settings, place, "c") == [*shell, "-p", "22", "git@h.example", "c"]
    monkeypatch.setenv("GIT_SSH_COMMAND", "tortoiseplink")
    assert ssh_argv(settings, place, "c")[4:] == ["-batch", "-P", "22", "git@h.example", "c"]
    monkeypatch.setenv("GIT_SSH_VARIANT", "simple")
    with pytest.raises(RemoteError, match="takes no port"):
        ssh_argv(settings, place, "c")
