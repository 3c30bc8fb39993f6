"""Experiments: one record each, the same id in every clone, and no name twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gittrack.errors import InvalidValueError, NotFoundError, RunStateError
from gittrack.schema.names import experiment_id
from gittrack.store import experiments
from tests.harness import Repo, finish_child, start_child


def names(repo: Repo) -> list[str]:
    return [record.name for record in experiments.list_experiments(repo.repository)]


def test_default_is_always_there_and_cannot_be_made(repo: Repo) -> None:
    (default,) = experiments.list_experiments(repo.repository)
    assert (default.id, default.name, default.created_at, default.revision) == ("0", "Default", 0, 0)
    with pytest.raises(InvalidValueError, match="exists already"):
        experiments.create_experiment(repo.repository, "Default", {})


@pytest.mark.parametrize(
    "name",
    ["vision", "vision/cnn", "a b", "x.lock", ".hidden", "-dash", "ümlaut", "@{x}", "a..b", "~^:?*[\\", "x" * 500],
)
def test_any_name_comes_back_and_its_branch_is_one_that_git_takes(repo: Repo, name: str) -> None:
    made = experiments.create_experiment(repo.repository, name, {"team": "a"}, "about")
    assert made.id == experiment_id(name)
    found = experiments.get_experiment(repo.repository, made.id)
    assert found == made
    assert (found.name, found.made_as, dict(found.tags), found.description) == (name, name, {"team": "a"}, "about")
    assert experiments.find_experiment(repo.repository, name=name) == made
    repo.assert_sound()


@pytest.mark.parametrize("name", ["", "  ", "x" * 501, None, 7])
def test_what_is_no_name_is_refused(repo: Repo, name: object) -> None:
    with pytest.raises(InvalidValueError):
        experiments.create_experiment(repo.repository, name, {})  # type: ignore[arg-type]
    assert names(repo) == ["Default"]


def test_a_name_is_taken_while_somebody_has_it_and_free_once_renamed(repo: Repo) -> None:
    first = experiments.create_experiment(repo.repository, "cnn", {})
    with pytest.raises(InvalidValueError, match="exists already"):
        experiments.create_experiment(repo.repository, "cnn", {})
    other = experiments.create_experiment(repo.repository, "rnn", {})
    with pytest.raises(InvalidValueError, match="exists already"):
        experiments.rename_experiment(repo.repository, other.id, "cnn")
    experiments.rename_experiment(repo.repository, first.id, "old-cnn")
    second = experiments.create_experiment(repo.repository, "cnn", {})
    assert (second.id != first.id, second.made_as) == (True, "cnn (2)")
    assert names(repo) == ["Default", "cnn", "old-cnn", "rnn"]
    assert experiments.rename_experiment(repo.repository, second.id, "cnn").name == "cnn"


def test_deleting_is_a_revision_and_restoring_another(repo: Repo) -> None:
    made = experiments.create_experiment(repo.repository, "cnn", {})
    for revision, lifecycle in ((2, "deleted"), (3, "active")):
        experiments.edit_experiment(
            repo.repository, made.id, lambda record, to=lifecycle: replace(record, lifecycle=to), lifecycle
        )
        found = experiments.get_experiment(repo.repository, made.id)
        assert (found.revision, found.lifecycle) == (revision, lifecycle)
        if lifecycle == "deleted":
            with pytest.raises(InvalidValueError, match="restore"):
                experiments.create_experiment(repo.repository, "cnn", {})
            with pytest.raises(RunStateError, match="deleted"):
                experiments.rename_experiment(repo.repository, made.id, "other")
    with pytest.raises(NotFoundError):
        experiments.edit_experiment(repo.repository, "nowhere", lambda record: record, "x")


def test_of_two_processes_that_make_one_experiment_one_does_and_the_other_says_so(repo: Repo) -> None:
    code = """
        import sys, gittrack
        sys.stdin.close()
        try:
            print("made", gittrack.create_experiment("cnn"))
        except gittrack.errors.InvalidValueError as error:
            print("refused", error.message)
    """
    outs = [finish_child(child)[0] for child in [start_child(code, repo.path) for _ in range(4)]]
    assert sorted(out.split()[0] for out in outs) == ["made", "refused", "refused", "refused"]
    assert len(repo.git("rev-list", "refs/heads/gittrack/cnn").split()) == 1
    repo.assert_sound()


def test_processes_that_set_one_experiment_at_once_all_have_it(repo: Repo) -> None:
    code = """
        import gittrack
        gittrack.set_experiment("cnn")
        with gittrack.start_run() as run:
            gittrack.log({"a": 1.0}, 0)
        print(run.info.experiment_id)
    """
    outs = {finish_child(child)[0].strip() for child in [start_child(code, repo.path) for _ in range(4)]}
    assert outs == {experiment_id("cnn")}
    assert len(repo.store.list_runs(experiment_id("cnn")).runs) == 4
    repo.assert_sound()


def test_two_that_rename_to_one_name_at_once_do_not_both_get_it(repo: Repo) -> None:
    ids = [experiments.create_experiment(repo.repository, f"e{number}", {}).id for number in range(4)]
    children = [
        start_child(f"import gittrack; gittrack.rename_experiment({made!r}, 'wanted')", repo.path) for made in ids
    ]
    for child in children:
        child.communicate(timeout=60)
    assert sorted(child.returncode for child in children) == [0, 1, 1, 1]
    assert names(repo).count("wanted") == 1


def test_an_experiment_that_only_its_runs_tell_of_is_listed(repo: Repo) -> None:
    out, _ = finish_child(
        start_child(
            """
            from dataclasses import replace
            from gittrack.git.repository import open_repository
            from gittrack.schema.names import experiment_id
            from gittrack.store.store import Store
            from gittrack.tracking import session
            from gittrack.tracking.starting import new_record
            store = Store(open_repository("."))
            record = replace(new_record(store, None, None), experiment="told", experiment_id=experiment_id("told"))
            session.begin(store, record).finish("FINISHED")
            """,
            repo.path,
        )
    )
    assert out == ""
    assert names(repo) == ["Default", "told"]
    made = experiments.create_experiment(repo.repository, "told", {"a": "b"})
    assert made.id == experiment_id("told")
    assert len(repo.store.list_runs(made.id).runs) == 1
