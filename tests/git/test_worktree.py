"""The code as it stands, against real git: what is taken, what is not, what stays untouched."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from gittrack.git.command import find_git
from gittrack.git.repository import create_bare_repository
from gittrack.git.worktree import read_script_state

from .making import (
    IDENTITY,
    config_value,
    contents,
    find,
    git,
    head,
    head_tree,
    make,
    make_racy,
    make_with_submodule,
    record,
    recorded,
    state_of,
    write,
)

# ---- where it stands


def test_a_clean_work_tree_is_the_tree_of_HEAD_and_adds_nothing(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"train.py": "x = 1\n", "lib/a.py": "a\n"})
    state = state_of(top)
    assert (state.tree, len(state.objects), state.dirty, state.left_out) == (head_tree(top), 0, False, ())
    assert (state.head, state.branch, state.remote_url) == (head(top), "main", None)


def test_a_detached_HEAD_has_no_branch(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    git(top, "checkout", "-q", "--detach")
    state = state_of(top)
    assert (state.head, state.branch, state.tree) == (head(top), None, head_tree(top))


def test_a_branch_name_with_slash_and_unicode_is_kept(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    git(top, "checkout", "-q", "-b", "feature/größe")
    assert state_of(top).branch == "feature/größe"


def test_a_branch_that_is_a_symbolic_ref_is_followed(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    git(top, "symbolic-ref", "refs/heads/master", "refs/heads/main")
    git(top, "symbolic-ref", "HEAD", "refs/heads/master")
    assert state_of(top).head == head(top)


def test_a_repository_without_commits_gives_its_untracked_source(tmp_path: Path) -> None:
    top = make(tmp_path / "r")
    write(top, {"train.py": "x\n", "data.bin": b"\0" * 10, "staged.csv": "1,2\n"})
    git(top, "add", "staged.csv")
    state = state_of(top)
    assert (state.head, state.branch, state.dirty) == (None, "main", True)
    assert contents(top) == {"train.py": b"x\n", "staged.csv": b"1,2\n"}


def test_an_empty_repository_has_no_tree(tmp_path: Path) -> None:
    state = state_of(make(tmp_path / "r"))
    assert (state.head, state.branch, state.tree, state.dirty) == (None, "main", None, False)


def test_a_bare_repository_has_a_branch_but_no_tree(tmp_path: Path) -> None:
    make(tmp_path / "r", {"a.py": "1\n"})
    git(tmp_path, "clone", "-q", "--bare", "r", "bare.git")
    state = state_of(tmp_path / "bare.git")
    assert (state.head, state.branch, state.tree, state.dirty) == (head(tmp_path / "r"), "main", None, False)


def test_a_linked_work_tree_is_read_by_its_own_index_and_HEAD(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    git(top, "worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"))
    write(tmp_path / "linked", {"a.py": "2\n"})
    state = state_of(tmp_path / "linked")
    assert (state.branch, state.dirty) == ("other", True)
    assert contents(tmp_path / "linked") == {"a.py": b"2\n"}
    assert state_of(top).tree == head_tree(top)


def test_core_worktree_says_where_the_files_are(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    moved = tmp_path / "moved"
    write(moved, {"a.py": "2\n"})
    git(top, "config", "core.worktree", str(moved))
    assert contents(top) == {"a.py": b"2\n"}


def test_without_a_git_program_the_tree_is_that_of_HEAD(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    write(top, {"a.py": "2\n"})
    tree, commit = head_tree(top), head(top)
    monkeypatch.setenv("PATH", str(tmp_path))
    find_git.cache_clear()
    state = state_of(top)
    assert (state.head, state.branch, state.tree, state.dirty) == (commit, "main", tree, False)


def test_a_damaged_index_gives_the_tree_of_HEAD(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    (top / ".git/index").write_bytes(b"rubbish")
    assert state_of(top).tree == head_tree(top)


def test_the_code_of_a_sha256_repository_is_taken_too(tmp_path: Path) -> None:
    top = tmp_path / "r"
    top.mkdir()
    git(top, "init", "-q", "--object-format=sha256")
    write(top, {"a.py": "1\n"})
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "x")
    write(top, {"a.py": "2\n"})
    state = state_of(top)
    assert (state.head, state.dirty) == (head(top), True)
    assert record(find(top), state.tree, state.objects) == {b"a.py": ("100644", b"2\n")}


# ---- tracked files


def test_tracked_files_are_taken_as_they_lie_on_disk(tmp_path: Path) -> None:
    top = make(
        tmp_path / "r",
        {"a.py": "1\n", "d/b.bin": b"\0\1", "d/e/c.py": "c\n", "gone.py": "x\n", "s.py": "s\n"},
    )
    write(top, {"a.py": "2\n", "d/b.bin": b"\0\2\r\n"})
    (top / "gone.py").unlink()
    write(top, {"s.py": "staged\n"})
    git(top, "add", "s.py")
    write(top, {"s.py": "on disk\n"})
    assert contents(top) == {"a.py": b"2\n", "d/b.bin": b"\0\2\r\n", "d/e/c.py": b"c\n", "s.py": b"on disk\n"}
    assert state_of(top).dirty


def test_only_what_HEAD_lacks_is_added(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n", "d/b.py": "b\n", "e/c.py": "c\n"})
    write(top, {"d/b.py": "changed\n"})
    git(top, "mv", "e/c.py", "moved.py")
    kinds = sorted(kind for _, kind, _ in state_of(top).objects)
    assert kinds == [2, 2, 3]  # the top, d, and the one new blob
    assert contents(top) == {"a.py": b"1\n", "d/b.py": b"changed\n", "moved.py": b"c\n"}


def test_a_staged_change_that_the_disk_does_not_have_does_not_count(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    write(top, {"a.py": "2\n"})
    git(top, "add", "a.py")
    write(top, {"a.py": "1\n"})
    state = state_of(top)
    assert (state.tree, len(state.objects), state.dirty) == (head_tree(top), 0, False)


def test_a_touched_file_is_clean(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    make_racy(top / "a.py")
    assert not state_of(top).dirty


def test_staged_and_intended_files_of_any_kind_are_taken(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    write(top, {"staged.bin": b"\0", "intended.bin": b"\1"})
    git(top, "add", "staged.bin")
    git(top, "add", "-N", "intended.bin")
    assert contents(top) == {"a.py": b"1\n", "staged.bin": b"\0", "intended.bin": b"\1"}


def test_a_file_taken_out_of_the_index_is_judged_as_untracked(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n", "b.bin": b"\0"})
    git(top, "rm", "-q", "--cached", "a.py", "b.bin")
    assert contents(top) == {"a.py": b"1\n"}


def test_unmerged_files_are_taken_with_their_marks(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n", "b.py": "1\n"})
    git(top, "checkout", "-q", "-b", "other")
    write(top, {"a.py": "other\n", "b.py": "other\n"})
    git(top, "commit", "-q", "-a", "-m", "other")
    git(top, "checkout", "-q", "main")
    write(top, {"a.py": "main\n", "b.py": "main\n"})
    git(top, "commit", "-q", "-a", "-m", "main")
    subprocess.run(["git", *IDENTITY, "merge", "other"], cwd=top, capture_output=True, check=False)
    (top / "b.py").unlink()
    found = contents(top)
    assert list(found) == ["a.py"]
    assert found["a.py"].startswith(b"<<<<<<<")


def test_modes_and_links_are_those_of_the_disk(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"run.sh": "x\n", "a.py": "1\n", "b.py": "2\n"})
    (top / "run.sh").chmod(0o755)
    (top / "a.py").unlink()
    (top / "a.py").symlink_to("/etc/passwd")
    (top / "new.py").symlink_to("b.py")
    assert recorded(top) == {
        b"run.sh": ("100755", b"x\n"),
        b"a.py": ("120000", b"/etc/passwd"),
        b"b.py": ("100644", b"2\n"),
        b"new.py": ("120000", b"b.py"),
    }


def test_the_executable_bit_of_a_disk_without_one_is_gits(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"run.sh": "x\n"})
    git(top, "config", "core.fileMode", "false")
    (top / "run.sh").chmod(0o755)
    write(top, {"run.sh": "y\n"})
    assert recorded(top) == {b"run.sh": ("100644", b"y\n")}


def test_a_file_that_became_a_folder_and_back(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a": "1\n", "d/x.py": "x\n", "d/y/z.py": "z\n"})
    (top / "a").unlink()
    write(top, {"a/inner.py": "i\n"})
    subprocess.run(["rm", "-r", "d"], cwd=top, check=True)
    git(top, "add", "-A")
    write(top, {"d": "now a file\n"})
    git(top, "add", "-A")
    assert contents(top) == {"a/inner.py": b"i\n", "d": b"now a file\n"}


def test_a_folder_that_became_a_link_is_not_entered(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"d/x.py": "x\n", "a.py": "1\n"})
    outside = tmp_path / "outside"
    write(outside, {"x.py": "not ours\n"})
    subprocess.run(["rm", "-r", "d"], cwd=top, check=True)
    (top / "d").symlink_to(outside)
    assert contents(top) == {"a.py": b"1\n"}


def test_everything_deleted_leaves_no_tree(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"d/a.py": "1\n"})
    (top / "d/a.py").unlink()
    state = state_of(top)
    assert (state.tree, state.dirty) == (None, True)


def test_names_are_bytes(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a b.py": "1\n", "größe/ü.py": "1\n"})
    write(top, {"a b.py": "2\n", "größe/ü.py": "2\n", "new\nline \t\"'.py": "n\n"})
    with open(os.fsencode(top) + b"/latin\xe9.py", "wb") as file:
        file.write(b"l\n")
    assert recorded(top) == {
        b"a b.py": ("100644", b"2\n"),
        "größe/ü.py".encode(): ("100644", b"2\n"),
        b"new\nline \t\"'.py": ("100644", b"n\n"),
        b"latin\xe9.py": ("100644", b"l\n"),
    }


def test_a_sparse_checkout_keeps_what_is_not_checked_out(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a/x.py": "x\n", "b/y.py": "y\n", "top.py": "t\n"})
    git(top, "sparse-checkout", "set", "a")
    assert not (top / "b").exists()
    write(top, {"a/x.py": "changed\n"})
    assert contents(top) == {"a/x.py": b"changed\n", "b/y.py": b"y\n", "top.py": b"t\n"}


def test_a_staged_change_that_is_not_checked_out_stays_as_HEAD_has_it(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n", "b.py": "1\n"})
    write(top, {"b.py": "2\n"})
    git(top, "add", "b.py")
    git(top, "update-index", "--skip-worktree", "b.py")
    (top / "b.py").unlink()
    assert contents(top) == {"a.py": b"1\n", "b.py": b"1\n"}


def test_a_large_changed_file_keeps_the_entry_of_HEAD_and_is_named(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"data.csv": "1\n", "a.py": "1\n"})
    write(top, {"a.py": "2\n"})
    os.truncate(top / "data.csv", (16 << 20) + 1)
    state = state_of(top)
    assert (state.left_out, state.dirty) == (("data.csv",), True)
    assert contents(top) == {"data.csv": b"1\n", "a.py": b"2\n"}


def test_an_object_that_is_only_in_the_object_store_is_added_all_the_same(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    write(top, {"a.py": "2\n"})
    git(top, "add", "a.py")  # its blob is loose, and named by the index alone: gc may take it
    blob = git(top, "hash-object", "a.py").decode().strip()
    assert blob in state_of(top).objects


def test_a_folder_missing_from_the_object_store_leaves_the_tree_of_HEAD(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"d/a.py": "1\n", "b.py": "1\n"})
    tree, lost = head_tree(top), git(top, "rev-parse", "HEAD:d").decode().strip()
    write(top, {"d/a.py": "2\n"})
    (top / ".git/objects" / lost[:2] / lost[2:]).unlink()
    state = state_of(top)
    assert (state.tree, len(state.objects), state.dirty, state.left_out) == (tree, 0, True, ("d/a.py",))


@pytest.mark.parametrize("seed", range(12))
def test_any_mix_of_changes_gives_the_tree_that_git_add_would(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    paths = [f"{chance.choice(['', 'd/', 'd/e/', 'z.py/', 'd.x/', 'd-x/'])}{name}.py" for name in "abcdefghijkl"]
    top = make(tmp_path / "r", dict.fromkeys(paths, "1\n"))
    for number in range(10):
        full = top / chance.choice([*paths, "z.py", "d/new.py", "d", "n/m.py"])
        subprocess.run(["rm", "-rf", str(full)], check=True)
        if chance.random() < 0.7 and not any(parent.is_file() for parent in full.parents):
            full = full if full.suffix else full.with_suffix(".py")
            subprocess.run(["rm", "-rf", str(full)], check=True)
            write(top, {str(full.relative_to(top)): f"{number}\n"})
        if chance.random() < 0.3:
            git(top, "add", "-A")
    state = state_of(top)
    found = {path: content for path, (_, content) in recorded(top).items()} if state.tree else {}
    git(top, "add", "-A")
    assert state.tree == git(top, "write-tree").decode().strip() or not found


# ---- untracked files


def test_untracked_source_is_taken_and_other_files_are_not(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n", ".gitignore": "ignored.py\n"})
    write(top, {"new/n.py": "n\n", "Makefile": "all:\n", "conf.yaml": "k: 1\n", "ignored.py": "i\n"})
    write(top, {"data.csv": "1\n", "model.pt": b"\0", "noname": "x\n"})
    write(
        top,
        {
            "node_modules/x/i.js": "x\n",
            "ve/pyvenv.cfg": "x\n",
            "ve/lib/z.py": "z\n",
            "mlruns/0/meta.yaml": "m\n",
        },
    )
    assert sorted(contents(top)) == [".gitignore", "Makefile", "a.py", "conf.yaml", "new/n.py"]
    assert state_of(top).left_out == ()


def test_untracked_data_does_not_make_the_code_dirty(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    write(top, {"data.csv": "1\n", ".env": "K=v\n"})
    state = state_of(top)
    assert (state.dirty, state.tree, len(state.objects)) == (False, head_tree(top), 0)


def test_untracked_source_makes_it_dirty(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    write(top, {"b.py": "1\n"})
    assert state_of(top).dirty


def test_a_large_untracked_file_is_named_and_left_out(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    write(top, {"big.json": b"x" * ((512 << 10) + 1), "fits.json": b"x" * (512 << 10)})
    assert state_of(top).left_out == ("big.json",)
    assert sorted(contents(top)) == ["a.py", "fits.json"]


def test_the_first_thousand_untracked_files_are_taken_and_a_hundred_others_named(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    write(top, {f"n/{number:04}.py": f"{number}\n" for number in range(1150)})
    state = state_of(top)
    assert state.left_out == tuple(f"n/{number:04}.py" for number in range(1000, 1100))
    assert len([1 for _, kind, _ in state.objects if kind == 3]) == 1000


def test_untracked_files_stop_at_sixteen_mebibytes(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    write(top, {f"{number:02}.txt": b"%02d" % number * (256 << 10) for number in range(34)})
    state = state_of(top)
    assert state.left_out == ("32.txt", "33.txt")


def test_pipes_and_nested_repositories_are_skipped(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n", "was.py": "w\n"})
    make(top / "nested", {"n.py": "n\n"})
    os.mkfifo(top / "pipe.py")
    (top / "was.py").unlink()
    os.mkfifo(top / "was.py")
    assert contents(top) == {"a.py": b"1\n"}


@pytest.mark.parametrize("name", [".GIT/x.py", "git~1/x.py", "d/.git./x.py", ".g\u200cit/x.py", "\n/.Git /x.py"])
def test_a_name_that_git_forbids_in_trees_is_left_out(tmp_path: Path, name: str) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    write(top, {name: "x\n"})
    assert contents(top) == {"a.py": b"1\n"}


def test_a_very_deep_path_is_left_out(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    write(top, {"d/" * 150 + "x.py": "x\n", "d/" * 50 + "x.py": "x\n"})
    assert contents(top) == {"a.py": b"1\n", "d/" * 50 + "x.py": b"x\n"}


# ---- secrets


def test_secrets_are_never_stored(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n", ".env": "OLD=1\n", "conf/secrets.yaml": "old\n"})
    leak = "hunter2-hunter2"
    key = f"# note\n-----BEGIN OPENSSH PRIVATE KEY-----\n{leak}\n"
    write(
        top,
        {".env": leak, "conf/secrets.yaml": leak, ".env.local": leak, "secret.toml": leak, "key.txt": key},
    )
    write(top, {"staged.txt": key, "credentials.json": leak, ".aws/config.txt": leak, ".env.example": "K=\n"})
    git(top, "add", "staged.txt", "credentials.json")
    state = state_of(top)
    assert not [data for _, _, data in state.objects if leak.encode() in data]
    assert contents(top) == {
        "a.py": b"1\n",
        ".env": b"OLD=1\n",
        "conf/secrets.yaml": b"old\n",
        ".env.example": b"K=\n",
    }
    assert state.left_out == (".env", "conf/secrets.yaml", "credentials.json", "staged.txt")


def test_what_git_crypt_keeps_encrypted_is_never_stored(tmp_path: Path) -> None:
    top = make(
        tmp_path / "r",
        {"a.py": "1\n", "enc.yaml": "ciphertext\n", ".gitattributes": "enc* filter=git-crypt\n"},
    )
    git(top, "config", "filter.git-crypt.clean", "cat")
    write(top, {"enc.yaml": "plain\n", "enc2.yaml": "plain\n"})
    assert contents(top)["enc.yaml"] == b"ciphertext\n"
    assert "enc2.yaml" not in contents(top)


# ---- nothing of the user's moves, nothing of the repository's runs


def snapshot(top: Path) -> dict[str, tuple[int, bytes]]:
    """Every file outside of the object store: its time and content."""
    found = {}
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name != "objects"]
        for name in names:
            path = Path(folder, name)
            found[str(path)] = (path.lstat().st_mtime_ns, path.read_bytes())
    return found


def test_index_HEAD_and_files_are_byte_identical_afterwards(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n", "b.py": "b\n", "c.py": "c\n"})
    write(top, {"a.py": "2\n", "new.py": "n\n"})
    git(top, "add", "a.py")
    make_racy(top / "b.py", top / "c.py")  # a plain `git status` would refresh the index
    before = snapshot(top)
    state_of(top)
    assert snapshot(top) == before
    objects = git(top, "count-objects", "-v")
    state_of(top)
    assert git(top, "count-objects", "-v") == objects


def test_no_hook_and_no_monitor_runs(tmp_path: Path) -> None:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    canary, script = tmp_path / "canary", tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {canary}\n")
    script.chmod(0o755)
    git(top, "config", "core.fsmonitor", str(script))
    hooks = top / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "post-index-change").symlink_to(script)
    canary.unlink(missing_ok=True)
    make_racy(top / "a.py")
    state_of(top)
    assert not canary.exists()


# ---- submodules


def test_a_clean_submodule_keeps_its_entry(tmp_path: Path) -> None:
    top = make_with_submodule(tmp_path)
    state = state_of(top)
    assert (state.tree, state.dirty) == (head_tree(top), False)


def test_a_submodule_is_a_repository_of_its_own(tmp_path: Path) -> None:
    top = make_with_submodule(tmp_path)
    write(top, {"sub/lib.py": "2\n"})
    assert contents(top / "sub") == {"lib.py": b"2\n"}


def test_a_moved_submodule_is_recorded_where_its_work_tree_stands(tmp_path: Path) -> None:
    top = make_with_submodule(tmp_path)
    git(top / "sub", "commit", "-q", "--allow-empty", "-m", "on")
    assert recorded(top)[b"sub"] == ("160000", head(top / "sub").encode())
    assert state_of(top).dirty


def test_changes_inside_a_submodule_make_the_code_dirty_and_run_none_of_its_filters(tmp_path: Path) -> None:
    top = make_with_submodule(tmp_path)
    canary = tmp_path / "canary"
    git(top / "sub", "config", "filter.evil.clean", config_value(canary))
    write(top, {".git/modules/sub/info/attributes": "* filter=evil\n"})
    make_racy(top / "sub/lib.py")
    assert not state_of(top).dirty
    write(top, {"sub/lib.py": "2\n"})
    state = state_of(top)
    assert (state.dirty, state.tree) == (True, head_tree(top))
    assert not canary.exists()


# ---- Git LFS


@pytest.fixture
def lfs(tmp_path: Path) -> Path:
    top = make(tmp_path / "r", {"a.py": "1\n"})
    git(top, "lfs", "install", "--local", "--skip-smudge")
    git(top, "lfs", "install", "--local", "--force")
    git(top, "lfs", "track", "*.bin")
    write(top, {"w.bin": b"weights\0" * 1000, "v.bin": b"v"})
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "lfs")
    return top


def test_a_touched_file_of_git_lfs_is_clean_though_its_filter_does_not_run(lfs: Path) -> None:
    make_racy(lfs / "w.bin", lfs / "v.bin")
    state = state_of(lfs)
    assert (state.dirty, state.tree, state.left_out) == (False, head_tree(lfs), ())


def test_a_changed_file_of_git_lfs_is_taken_as_it_lies(lfs: Path) -> None:
    write(lfs, {"v.bin": b"u"})
    make_racy(lfs / "w.bin")
    found = contents(lfs)
    assert found["v.bin"] == b"u"
    assert found["w.bin"].startswith(b"version https://git-lfs")


# ---- a script alone


def test_a_script_outside_of_any_repository_is_a_tree_of_one(tmp_path: Path) -> None:
    write(tmp_path, {"s/train.py": "x\n", "s/other.py": "y\n"})
    state = read_script_state(str(tmp_path / "s/train.py"))
    assert (state.head, state.branch, state.dirty) == (None, None, False)
    assert record(create_bare_repository(str(tmp_path / "b")), state.tree, state.objects) == {
        b"train.py": ("100644", b"x\n")
    }


@pytest.mark.parametrize("name", ["train.bin", "secret.py", ".ssh/x.py", "missing.py"])
def test_a_script_that_is_no_source_or_a_secret_is_not_taken(tmp_path: Path, name: str) -> None:
    if not name.startswith("missing"):
        write(tmp_path, {name: "x\n"})
    assert read_script_state(str(tmp_path / name)).tree is None
