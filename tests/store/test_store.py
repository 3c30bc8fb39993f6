"""A store finds runs by whatever a person calls them, and edits lose nothing to each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import gittrack
from gittrack.errors import AmbiguousError, DamagedError, NotFoundError, RunStateError
from gittrack.schema.names import RunId
from gittrack.store import experiments
from gittrack.store.store import Store
from gittrack.tracking import session
from gittrack.tracking.session import Role, RunSession
from gittrack.tracking.starting import new_record
from tests.harness import Repo, finish_child, lose_object, make_repo, run_child, start_child


def begin(repo: Repo, **fields: object) -> RunSession:
    store = repo.store
    return session.begin(store, replace(new_record(store, None, None), **fields))  # type: ignore[arg-type]


def make(repo: Repo, **fields: object) -> RunId:
    run = begin(repo, **fields)
    assert run.finish("FINISHED")
    return run.run_id


# -- finding -------------------------------------------------------------------------------------------------


def test_a_run_is_found_by_id_prefix_commit_name_place_and_last(repo: Repo) -> None:
    other = experiments.create_experiment(repo.repository, "vision/cnn", {})
    first = make(repo, name="alpha", started_at=1_000_000)
    second = make(repo, name="beta", started_at=2_000_000)
    third = make(repo, name="gamma", started_at=1_500_000, experiment=other.made_as, experiment_id=other.id)
    store = repo.store
    commit = store.get_run(first).commit
    assert commit is not None
    asked = {
        first: [first, first[:8], commit.id, commit.id[:10], "alpha", "Default~1"],
        second: ["beta", "Default~0", "@last"],
        third: ["vision/cnn~0", "gamma"],
    }
    for run_id, names in asked.items():
        assert [store.resolve(name).record.id for name in names] == [run_id] * len(names)
    for unknown in ("delta", "0000", "Default~2", "nowhere~0", "@first", "", "f" * 32, "al", "\udcff"):
        with pytest.raises(NotFoundError):
            store.resolve(unknown)


def test_what_is_ambiguous_lists_its_candidates(repo: Repo) -> None:
    ids = [make(repo, name="twin") for _ in range(2)]
    with pytest.raises(AmbiguousError) as raised:
        repo.store.resolve("twin")
    assert sorted(line.split()[0] for line in raised.value.candidates) == sorted(run_id[:12] for run_id in ids)


def test_an_active_run_is_preferred_to_a_deleted_one_of_its_name(repo: Repo) -> None:
    gone, kept = make(repo, name="twin"), make(repo, name="twin")
    repo.store.edit_run(gone, lambda record: replace(record, lifecycle="deleted"), "deleted")
    assert repo.store.resolve("twin").record.id == kept
    repo.store.edit_run(kept, lambda record: replace(record, lifecycle="deleted"), "deleted")
    with pytest.raises(AmbiguousError):
        repo.store.resolve("twin")


def test_runs_in_flight_are_listed_and_a_dead_ones_shown_as_killed(repo: Repo) -> None:
    done, open_run = make(repo), begin(repo)
    open_run.journal.append({"a": 1.0}, 0)
    run_child(
        """
        import os
        from gittrack.git.repository import open_repository
        from gittrack.store.store import Store
        from gittrack.tracking import session
        from gittrack.tracking.starting import new_record
        store = Store(open_repository("."))
        session.begin(store, new_record(store, None, "dead"))
        os.kill(os.getpid(), 9)
        """,
        repo.path,
        expect=-9,
    )
    shown = {stored.record.id: (stored.record.status, stored.is_live) for stored in repo.store.list_runs().runs}
    assert shown.pop(done) == ("FINISHED", False)
    assert shown.pop(open_run.run_id) == ("RUNNING", True)
    assert list(shown.values()) == [("KILLED", True)]
    open_run.finish("FINISHED")


def test_a_run_that_is_committed_while_it_is_read_is_read_whole(repo: Repo) -> None:
    run = begin(repo, name="quick")
    for step in range(3):
        run.journal.append({"a": step / 7}, step)
    run.log_bytes(b"text", "note.txt")
    read = repo.store.get_run(run.run_id)
    listed = repo.store.list_artifacts(read)
    assert read.is_live
    assert run.finish("FINISHED")
    store = repo.store
    assert [point.value for point in store.read_history(read, "a")] == [0.0, 1 / 7, 2 / 7]
    assert store.list_artifacts(read) == listed
    assert b"".join(store.read_artifact(read, listed[0])) == b"text"


def test_a_resumed_run_that_is_committed_while_it_is_read_is_read_whole(repo: Repo) -> None:
    run_id = make(repo, name="twice")
    resumed = session.resume(repo.store, run_id)
    resumed.journal.append({"a": 1.0}, 0)
    held = start_child(
        f"import gittrack; gittrack.start_run('{run_id}'); print('in', flush=True); input()", repo.path
    )
    assert held.stdout is not None
    assert held.stdout.readline() == "in\n"
    read = repo.store.get_run(run_id)
    resumed.finish("FINISHED")  # a guest keeps the folder: the commit has taken what is in it
    assert [point.value for point in repo.store.read_history(read, "a")] == [1.0]
    held.kill()
    held.communicate()


def test_runs_that_are_committed_while_they_are_looked_for_are_found(repo: Repo) -> None:
    child = start_child(
        """
        import gittrack
        for _ in range(80):
            with gittrack.start_run(run_name="quick") as run:
                print(run.info.run_id, flush=True)
        """,
        repo.path,
    )
    assert child.stdout is not None
    store, begun = repo.store, list[str]()
    for line in child.stdout:
        begun.append(line.strip())
        assert store.get_run(begun[-1]).record.name == "quick"
        listing = store.list_runs()
        assert set(begun) <= {stored.record.id for stored in listing.runs}
        assert {stored.record.name for stored in listing.runs} == {"quick"}
        assert listing.problems == []
    finish_child(child)
    assert len(begun) == 80
    repo.assert_sound()


def test_a_damaged_record_is_a_problem_of_its_own_run_alone(repo: Repo) -> None:
    bad, good = make(repo, name="bad"), make(repo, name="good")
    commit = repo.store.get_run(bad).commit
    assert commit is not None
    blob = repo.git("rev-parse", f"{commit.id}:run.yaml").strip()
    lose_object(repo, blob)
    listing = repo.store.list_runs()
    assert [stored.record.id for stored in listing.runs] == [good]
    assert len(listing.problems) == 1
    assert bad in listing.problems[0]
    with pytest.raises(DamagedError, match=bad):
        repo.store.get_run(bad)


# -- editing -------------------------------------------------------------------------------------------------


def test_an_edit_is_a_revision_that_keeps_everything_else(repo: Repo) -> None:
    run = begin(repo)
    run.journal.append({"a": 1.0}, 3)
    run.log_bytes(b"text", "t.txt")
    run.finish("FINISHED")
    before = repo.store.get_run(run.run_id)
    repo.store.edit_run(run.run_id, lambda record: replace(record, note="new"), "note")
    after = repo.store.get_run(run.run_id)
    assert after.record == replace(before.record, note="new", revision=2)
    assert before.commit is not None
    assert after.commit is not None
    assert repo.git("diff", "--name-only", before.commit.id, after.commit.id).split() == ["run.yaml"]
    assert [found.revision for found in repo.store.list_revisions(run.run_id)] == [1, 2]
    repo.assert_sound()


def test_a_run_in_flight_is_not_edited_and_one_that_died_is_committed_first(repo: Repo) -> None:
    run = begin(repo)
    with pytest.raises(RunStateError, match="running"):
        repo.store.edit_run(run.run_id, lambda record: record, "x")
    run.finish("FINISHED")
    out, _ = run_child(
        """
        import os
        from gittrack.git.repository import open_repository
        from gittrack.store.store import Store
        from gittrack.tracking import session
        from gittrack.tracking.starting import new_record
        store = Store(open_repository("."))
        print(session.begin(store, new_record(store, None, None)).run_id, flush=True)
        os.kill(os.getpid(), 9)
        """,
        repo.path,
        expect=-9,
    )
    record = repo.store.edit_run(out.strip(), lambda record: replace(record, note="edited"), "note")
    assert (record.status, record.note, record.revision) == ("KILLED", "edited", 2)
    repo.assert_sound()


def test_edits_of_two_processes_at_once_are_both_kept(repo: Repo) -> None:
    run_id = make(repo)
    code = f"""
        import os
        import gittrack
        for number in range(15):
            gittrack.Client().set_tag({run_id!r}, f"{{os.getpid()}}-{{number}}", "x")
    """
    children = [start_child(code, repo.path) for _ in range(2)]
    for child in children:
        finish_child(child)
    record = repo.store.get_run(run_id).record
    assert len(record.tags) == 30
    assert record.revision == 31
    repo.assert_sound()


def test_a_run_that_only_a_remote_branch_has_is_edited_on_top_of_it(repo: Repo, tmp_path: Path) -> None:
    run = begin(repo)
    run.journal.append({"a": 1.0}, 0)
    run.log_bytes(b"text", "t.txt")
    run.finish("FINISHED")
    clone = Repo(tmp_path / "clone")
    repo.git("clone", "--quiet", str(repo.path), str(clone.path))
    assert "refs/heads/gittrack" not in clone.git("for-each-ref")
    clone.store.edit_run(run.run_id, lambda record: replace(record, note="theirs"), "note")
    again = session.resume(clone.store, run.run_id)
    again.journal.append({"a": 2.0}, 1)
    assert again.finish("FINISHED")
    stored = clone.store.get_run(run.run_id)
    assert [point.value for point in clone.store.read_history(stored, "a")] == [1.0, 2.0]
    assert (stored.record.revision, stored.record.note) == (3, "theirs")
    # what it wrote stands without the remote's branch
    clone.git("remote", "remove", "origin")
    clone.git("gc", "--quiet", "--prune=now")
    clone.assert_sound()
    assert len(clone.git("rev-list", "refs/heads/gittrack/Default").split()) == 3


def test_a_run_of_a_diverged_clone_goes_on_from_the_newest_revision(repo: Repo, tmp_path: Path) -> None:
    run_id = make(repo)
    clone = Repo(tmp_path / "clone")
    repo.git("clone", "--quiet", str(repo.path), str(clone.path))
    make(clone)  # its branch goes its own way
    repo.store.edit_run(run_id, lambda record: replace(record, note="newest"), "note")
    clone.git("fetch", "--quiet")
    assert clone.store.get_run(run_id).record.note == "newest"
    editor = session.resume(clone.store, run_id, role=Role.EDITOR)
    editor.journal.append({"a": 1.0}, 0)
    editor.finish()
    record = clone.store.get_run(run_id).record
    assert (record.note, record.revision, record.metrics["a"].count) == ("newest", 3, 1)
    clone.git("gc", "--quiet", "--prune=now")
    clone.assert_sound()


def test_reading_works_without_the_git_program(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = make(repo)
    expected = repo.store.list_runs()
    for module in ("asking", "bulk", "refs", "maintenance"):
        monkeypatch.setattr(f"gittrack.git.{module}.find_git", lambda: None)
    assert repo.store.list_runs() == expected
    assert repo.store.get_run(run_id).record == expected.runs[0].record


def test_a_store_of_an_empty_bare_repository_is_empty(tmp_path: Path) -> None:
    bare = make_repo(tmp_path / "with")
    bare.git("clone", "--quiet", "--bare", str(bare.path), str(tmp_path / "bare.git"))
    store: Store = Repo(tmp_path / "bare.git").store
    assert store.list_runs().runs == []


def test_a_run_on_the_branch_that_is_checked_out_is_kept_and_told_once(
    repo: Repo, caplog: pytest.LogCaptureFixture
) -> None:
    repo.git("checkout", "--quiet", "-b", "gittrack/Default")
    for _ in range(2):
        with gittrack.start_run():
            pass
    assert len(repo.store.list_runs().runs) == 2
    assert caplog.text.count("gittrack/Default is checked out") == 1
