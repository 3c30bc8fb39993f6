"""The pre-push hook: it comes before what is there, never instead of it, and goes again without a trace."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gittrack.sharing.push_hook import find_hooks_folder, plan_hook, plan_hook_undoing
from gittrack.sharing.setup import Plan
from tests.harness import digest_tree
from tests.sharing.clones import Clone, Clones


@pytest.fixture
def clone(clones: Clones) -> Clone:
    made = clones.make("ada")
    made.commit("begin", train__py="print()\n")
    return made


@pytest.fixture
def hooks(clone: Clone) -> Path:
    return clone.path / ".git/hooks"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """In gittrack's place: it notes what the hook hands to it, and ends with the code that stands beside it."""
    path = tmp_path / "programs/gittrack"
    write_script(path, 'dir=${0%/*}; echo "$@" >>"$dir/told"; cat >>"$dir/told"; exit "$(cat "$dir/code")"')
    (path.parent / "code").write_text("0")
    return path


def write_script(path: Path, text: str, first: str = "#!/bin/sh") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{first}\n{text}\n")
    path.chmod(0o755)
    return path


def told(program: Path) -> list[str]:
    return (program.parent / "told").read_text().splitlines()


def push(clone: Clone, *words: str, code: int = 0) -> str:
    """What a push says on stderr, where no gittrack is on PATH."""
    environment = {**os.environ, "PATH": "/usr/local/sbin:/usr/bin:/bin:/usr/sbin:/sbin"}
    done = subprocess.run(
        ["git", "push", "-q", *words], cwd=clone.path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done
    return done.stderr


def test_a_push_hands_over_what_git_tells_its_hook(
    clone: Clone, clones: Clones, hooks: Path, program: Path
) -> None:
    plan_hook(clone.repository, str(program)).apply()
    push(clone, "origin", "main")
    tip, zeros = clone.tip("HEAD"), "0" * 40
    assert told(program) == [
        f"hook pre-push origin {clones.remote}",
        f"refs/heads/main {tip} refs/heads/main {zeros}",
    ]


def test_what_gittrack_refuses_is_not_pushed(clone: Clone, clones: Clones, program: Path) -> None:
    plan_hook(clone.repository, str(program)).apply()
    (program.parent / "code").write_text("3")
    push(clone, "origin", "main", code=1)
    assert clones.refs == {}


@pytest.mark.parametrize(
    ("first", "text"),
    [
        ("#!/bin/sh", 'printf "%s\\n" "$*" "$(cat)" >"$0.told"'),
        (
            "#!/usr/bin/python3",
            "import sys; out = open(sys.argv[0] + '.told', 'w'); print(*sys.argv[1:], file=out); "
            "out.write(sys.stdin.read())",
        ),
    ],
)
def test_the_hook_that_is_there_is_called_first_with_the_same_words_and_input(
    clone: Clone, hooks: Path, program: Path, first: str, text: str
) -> None:
    write_script(hooks / "pre-push", text, first)
    plan = plan_hook(clone.repository, str(program))
    assert "kept as pre-push.before-gittrack and called first" in plan.changes[0].what
    plan.apply()
    push(clone, "origin", "main")
    assert (hooks / "pre-push.before-gittrack.told").read_text().splitlines() == [
        told(program)[0].removeprefix("hook pre-push "),
        told(program)[1],
    ]


def test_what_the_hook_that_is_there_refuses_is_not_even_uploaded(
    clone: Clone, clones: Clones, hooks: Path, program: Path
) -> None:
    write_script(hooks / "pre-push", "echo no, not on fridays >&2; exit 7")
    plan_hook(clone.repository, str(program)).apply()
    assert "not on fridays" in push(clone, "origin", "main", code=1)
    assert clones.refs == {}
    assert not (program.parent / "told").exists()


def test_a_hook_that_git_passes_over_is_not_called_either(clone: Clone, hooks: Path, program: Path) -> None:
    write_script(hooks / "pre-push", "exit 1").chmod(0o644)
    plan_hook(clone.repository, str(program)).apply()
    push(clone, "origin", "main")


def test_git_lfs_s_own_hook_still_uploads(clone: Clone, clones: Clones, program: Path) -> None:
    clone.git("lfs", "install", "--local")
    plan_hook(clone.repository, str(program)).apply()
    (clone.path / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    (clone.path / "w.bin").write_bytes(b"\0" * 1000)
    clone.commit()
    push(clone, "origin", "main")
    assert len(list((clones.remote / "lfs/objects").rglob("??????*"))) == 1
    assert len(told(program)) == 2


def test_without_gittrack_runs_are_not_pushed_and_all_else_is(
    clone: Clone, clones: Clones, tmp_path: Path
) -> None:
    clone.log("one")
    plan_hook(clone.repository, str(tmp_path / "gone/gittrack")).apply()
    push(clone, "origin", "main")
    assert "gittrack is not on PATH" in push(clone, "origin", "gittrack/exp", code=1)
    assert "gittrack is not on PATH" in push(clone, "origin", "HEAD:refs/tags/net@v1.0.0", code=1)
    push(clone, "origin", "HEAD:refs/tags/v1")
    assert sorted(clones.refs) == ["refs/heads/main", "refs/tags/v1"]
    push(clone, "--no-verify", "origin", "gittrack/exp")


def test_a_linked_worktree_pushes_through_the_hook(clone: Clone, tmp_path: Path, program: Path) -> None:
    plan_hook(clone.repository, str(program)).apply()
    clone.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    push(Clone(tmp_path / "side"), "origin", "side")
    assert len(told(program)) == 2


def test_installed_twice_it_is_there_once(clone: Clone, hooks: Path, program: Path) -> None:
    write_script(hooks / "pre-push", "exit 0")
    plan_hook(clone.repository, str(program)).apply()
    before = digest_tree(hooks)
    assert plan_hook(clone.repository, str(program)) == Plan()
    plan = plan_hook(clone.repository, "/elsewhere/gittrack")
    assert [change.what for change in plan.changes] == [f"the hook {hooks}/pre-push is brought up to date"]
    plan.apply()
    assert sorted(digest_tree(hooks)) == sorted(before)


@pytest.mark.parametrize("there", ["nothing", "a hook", "a link", "no folder"])
def test_undoing_leaves_no_trace(clone: Clone, hooks: Path, program: Path, there: str) -> None:
    if there == "a hook":
        write_script(hooks / "pre-push", "exit 0")
    elif there == "a link":
        write_script(clone.path / "check", "exit 0")
        (hooks / "pre-push").symlink_to("../../check")
    elif there == "no folder":
        subprocess.run(["rm", "-r", str(hooks)], check=True)
    before = digest_tree(clone.path), os.path.exists(hooks), os.path.islink(hooks / "pre-push")
    config = (clone.path / ".git/config").read_text()
    plan_hook(clone.repository, str(program)).apply()
    push(clone, "--dry-run", "origin", "main")
    plan_hook_undoing(clone.repository).apply()
    after = digest_tree(clone.path), os.path.exists(hooks), os.path.islink(hooks / "pre-push")
    assert (after[0].keys(), *after[1:]) == (before[0].keys(), *before[1:])
    assert all(after[0][path][1] == before[0][path][1] for path in before[0])
    assert (clone.path / ".git/config").read_text() == config
    assert plan_hook_undoing(clone.repository) == Plan()


def test_what_was_changed_by_hand_is_left_and_told(clone: Clone, hooks: Path, program: Path) -> None:
    plan_hook(clone.repository, str(program)).apply()
    hook = hooks / "pre-push"
    hook.write_text(hook.read_text() + "echo mine\n")
    for plan in (plan_hook(clone.repository, str(program)), plan_hook_undoing(clone.repository)):
        assert plan.changes == ()
        assert "changed by hand" in plan.notes[0]


def test_a_program_that_moved_ours_to_chain_it_is_left_in_front(
    clone: Clone, clones: Clones, hooks: Path, program: Path
) -> None:
    write_script(hooks / "pre-push", 'cat >/dev/null; echo theirs >>"${0%/*}/order"')
    plan_hook(clone.repository, str(program)).apply()
    (hooks / "pre-push").rename(hooks / "pre-push.legacy")  # as pre-commit does
    write_script(hooks / "pre-push", 'exec "$0.legacy" "$@"')
    assert plan_hook(clone.repository, str(program)) == Plan()
    push(clone, "origin", "main")
    assert (hooks / "order").read_text() == "theirs\n"
    assert len(told(program)) == 2
    plan_hook_undoing(clone.repository).apply()
    push(clone, "origin", "HEAD:again")
    assert (hooks / "order").read_text() == "theirs\ntheirs\n"


@pytest.mark.parametrize("scope", ["--local", "--global"])
def test_a_folder_of_hooks_that_others_share_is_not_written_to(
    clone: Clone, program: Path, tmp_path: Path, scope: str
) -> None:
    shared = clone.path / ".githooks" if scope == "--local" else tmp_path / "home/hooks"
    shared.mkdir()
    clone.git("config", scope, "core.hooksPath", ".githooks" if scope == "--local" else "~/hooks")
    before = digest_tree(tmp_path)
    plan = plan_hook(clone.repository, str(program))
    assert plan.changes == ()
    assert plan.notes[0] == (
        f"core.hooksPath ({scope[2:]}) names {shared}, which is not gittrack's to change; "
        f"add to {shared}/pre-push, and make it executable:"
    )
    assert digest_tree(tmp_path) == before
    write_script(shared / "pre-push", "\n".join(line.strip() for line in plan.notes[2:]))
    assert plan_hook(clone.repository, str(program)) == Plan()


def test_the_lines_told_for_a_shared_hook_pass_everything_on(clone: Clone, program: Path) -> None:
    shared = clone.path / ".githooks"
    write_script(shared / "pre-push", 'cat >"$0.told"')
    clone.git("config", "core.hooksPath", ".githooks")
    notes = plan_hook(clone.repository, str(program)).notes
    lines = [line.removeprefix("    ") for line in notes[1:]]
    path = f"PATH={program.parent}:$PATH"
    write_script(shared / "pre-push", "\n".join([path, *lines, 'cat >"$0.told"']))
    push(clone, "origin", "main")
    assert (shared / "pre-push.told").read_text().splitlines() == told(program)[1:]


def test_a_folder_below_the_git_folder_is_this_repository_s_alone(clone: Clone, program: Path) -> None:
    (clone.path / ".git/mine").mkdir()
    clone.git("config", "core.hooksPath", ".git/mine")
    assert find_hooks_folder(clone.repository).is_own
    plan_hook(clone.repository, str(program)).apply()
    push(clone, "origin", "main")
    assert len(told(program)) == 2


def test_hooks_that_are_switched_off_stay_off(clone: Clone, program: Path) -> None:
    clone.git("config", "core.hooksPath", "/dev/null")
    assert plan_hook(clone.repository, str(program)).changes == ()
    assert "where no hook can be" in plan_hook(clone.repository, str(program)).notes[0]
