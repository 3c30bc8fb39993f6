"""Which repository and which experiment: what was set, then the environment, then where we are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import gittrack
from gittrack.errors import InvalidValueError, NotFoundError, RepositoryError
from gittrack.tracking import settings
from tests.harness import Repo, make_repo


def runs_in(repo: Repo) -> int:
    return len(repo.store.list_runs().runs)


def test_the_repository_around_is_used_and_its_uri_leads_back_to_it(repo: Repo) -> None:
    (repo.path / "deep/er").mkdir(parents=True)
    os.chdir(repo.path / "deep/er")
    assert not gittrack.is_tracking_uri_set()
    uri = gittrack.get_tracking_uri()
    gittrack.start_run().end()
    os.chdir("/")
    gittrack.set_tracking_uri(uri)
    assert gittrack.is_tracking_uri_set()
    gittrack.start_run().end()
    assert runs_in(repo) == 2
    gittrack.set_tracking_uri("")
    assert not gittrack.is_tracking_uri_set()


@pytest.mark.parametrize("name", ["plain", "with space", "100%41", "a#b", "a?b", "ümlaut", "a+b", "%25"])
def test_any_path_has_a_uri_that_leads_back_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    made = make_repo(tmp_path / name)
    monkeypatch.chdir(made.path)
    uri = gittrack.get_tracking_uri()
    monkeypatch.chdir(tmp_path)
    gittrack.set_tracking_uri(uri)
    gittrack.start_run().end()
    assert runs_in(made) == 1


def test_paths_urls_and_the_environment_lead_to_one_repository(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for uri in (str(repo.path), repo.path, f"gittrack:{repo.path}", f"gittrack://{repo.path}", f"file://{repo.path}",
                "repo", str(repo.path / ".git")):  # fmt: skip
        gittrack.set_tracking_uri(uri)
        gittrack.start_run().end()
    gittrack.set_tracking_uri("")
    monkeypatch.setenv("GITTRACK_URI", f"gittrack:{repo.path}")
    gittrack.start_run().end()
    assert runs_in(repo) == 8


@pytest.mark.parametrize("uri", ["sqlite:///x.db", "http://host/x", "gittrack://host/x", "databricks://x"])
def test_other_uris_are_refused_when_they_are_set(uri: str) -> None:
    with pytest.raises(InvalidValueError):
        gittrack.set_tracking_uri(uri)
    assert not gittrack.is_tracking_uri_set()


def test_a_place_without_a_repository_is_refused_unless_its_name_says_it_is_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gittrack.set_tracking_uri(str(tmp_path / "nowhere"))
    with pytest.raises(RepositoryError):
        gittrack.start_run()
    gittrack.set_tracking_uri(str(tmp_path / "new.git"))
    with gittrack.start_run() as run:
        pass
    assert gittrack.get_run(run.info.run_id).info.status == "FINISHED"
    assert len(caplog.records) == 1


def test_where_there_is_no_repository_a_bare_one_is_made_and_one_line_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert os.getcwd() == str(tmp_path / "work")
    for _ in range(2):
        with gittrack.start_run():
            gittrack.log({"a": 1.0})
    assert [record.getMessage() for record in caplog.records] == [
        f"gittrack: no git repository around; runs go to a new one, {tmp_path / 'work/gittrack.git'}"
    ]
    assert os.listdir(tmp_path / "work") == ["gittrack.git"]
    made = Repo(tmp_path / "work/gittrack.git")
    assert runs_in(made) == 2
    made.assert_sound()


@pytest.mark.parametrize("by_uri", [False, True])
def test_a_repository_that_a_process_died_in_making_is_made_whole(
    tmp_path: Path, by_uri: bool, caplog: pytest.LogCaptureFixture
) -> None:
    half = tmp_path / "work/gittrack.git"
    (half / "objects/info").mkdir(parents=True)
    (half / "HEAD.123").write_text("ref: ")
    if by_uri:
        gittrack.set_tracking_uri(str(half))
    with gittrack.start_run() as run:
        pass
    assert gittrack.get_run(run.info.run_id).info.status == "FINISHED"
    assert len(caplog.records) == 1


def test_a_folder_of_that_name_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "work/gittrack.git/objects").mkdir(parents=True)
    (tmp_path / "work/gittrack.git/mine.txt").write_text("mine")
    with pytest.raises(RepositoryError):
        gittrack.start_run()
    assert sorted(os.listdir(tmp_path / "work/gittrack.git")) == ["mine.txt", "objects"]


def test_the_experiment_is_the_argument_then_what_was_set_then_the_environment(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def experiment_of(**arguments: str) -> str:
        with gittrack.start_run(**arguments) as run:  # type: ignore[arg-type]
            return gittrack.get_experiment(run.info.experiment_id).name

    assert experiment_of() == "Default"
    monkeypatch.setenv("GITTRACK_EXPERIMENT_NAME", "named")
    assert experiment_of() == "named"
    made = gittrack.create_experiment("by id")
    monkeypatch.setenv("GITTRACK_EXPERIMENT_ID", made)
    assert experiment_of() == "by id"
    gittrack.set_experiment("set")
    assert experiment_of() == "set"
    assert experiment_of(experiment_id=made) == "by id"
    gittrack.set_experiment(experiment_id="0")
    assert experiment_of() == "Default"
    monkeypatch.setenv("GITTRACK_EXPERIMENT_ID", "nowhere")
    settings._Chosen.experiment = None
    with pytest.raises(NotFoundError):
        gittrack.start_run()


def test_setting_an_experiment_needs_one_of_both_names(repo: Repo) -> None:
    for arguments in ({}, {"experiment_name": "a", "experiment_id": "0"}):
        with pytest.raises(InvalidValueError, match="either"):
            gittrack.set_experiment(**arguments)
    with pytest.raises(NotFoundError):
        gittrack.set_experiment(experiment_id="nowhere")


@pytest.mark.parametrize("value", ["1", "true", "always"])
def test_sync_mode_reaches_every_journal(repo: Repo, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("GITTRACK_SYNC", value)
    with gittrack.start_run() as run:
        assert not run._session.journal._mapped  # type: ignore[union-attr]
    client = gittrack.Client()
    made = client.create_run("0")
    from gittrack.tracking.opened import opened_runs

    (opened,) = opened_runs.list_own()
    assert not opened._session.journal._mapped  # type: ignore[union-attr]
    client.set_terminated(made.info.run_id)


@pytest.mark.parametrize(
    "told",
    [
        "extensions.future true",
        "extensions.objectFormat sha3",
        "extensions.refStorage paper",
        "core.repositoryFormatVersion 2",
    ],
)
def test_a_storage_format_that_is_not_known_is_refused_in_one_line(tmp_path: Path, told: str) -> None:
    made = make_repo(tmp_path / "newer")
    made.git("config", "core.repositoryFormatVersion", "1")
    made.git("config", *told.split())
    gittrack.set_tracking_uri(made.path)
    for call in (gittrack.start_run, lambda: gittrack.set_experiment("x"), lambda: gittrack.log({"a": 1.0})):
        with pytest.raises(RepositoryError, match="storage format") as raised:
            call()
        assert "\n" not in raised.value.message
    assert gittrack.active_run() is None
    assert not (made.path / ".git/gittrack/live").exists()
