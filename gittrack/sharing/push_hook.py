"""The pre-push hook that uploads artifacts before plain ``git push`` moves a ref; a hook that is there is chained.

Git reads one ``pre-push`` (githooks(5)). Another that is there, in any language, is kept beside it as
``pre-push.before-gittrack`` and called first, with the same words and input. Folders that ``core.hooksPath`` names
belong to whoever set it (they are versioned, or shared by other repositories): nothing is written there, the line
to add is told.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from gittrack.git.config import read_small_file
from gittrack.git.repository import Repository
from gittrack.git.user_settings import list_own_values, list_scoped_values, remove_value
from gittrack.sharing.setup import NOTED, Change, Plan, note_setting

_NAME = "pre-push"
_KEPT = "pre-push.before-gittrack"
_FOLDER_NOTE = "hooks folder"
_CALL = "gittrack hook pre-push"

# What nobody can prove to have its artifacts uploaded is not pushed: `git lfs prune` takes a pushed ref for proof.
_HOOK = """\
#!/bin/sh
# Uploads the artifacts of the runs that are pushed, before git moves a ref; calls the hook that was here before
# first. Made by `gittrack init --hook`, taken back by `gittrack init --undo`.
pushed=$(cat)
tell() { [ -z "$pushed" ] || printf '%s\\n' "$pushed"; }
before=${0%/*}/pre-push.before-gittrack
if [ -x "$before" ]; then
    tell | "$before" "$@" || exit
fi
gittrack=$(command -v gittrack) || gittrack=PROGRAM
if [ -x "$gittrack" ]; then
    tell | "$gittrack" hook pre-push "$@"
    exit
fi
case $pushed in
*refs/heads/gittrack/* | *refs/tags/*[@#]*)
    echo "gittrack is not on PATH, so nobody can tell whether the artifacts of these runs are uploaded" >&2
    echo "hint: activate its environment; or push without this check: git push --no-verify" >&2
    exit 1
    ;;
esac
"""
_OURS = re.compile(re.escape(_HOOK).replace("PROGRAM", r"[^\n]*"))
_MARK = "Made by `gittrack init --hook`"


@dataclass(frozen=True, slots=True)
class HooksFolder:
    """Where git looks for hooks.

    Attributes:
        path: absolute; is_own: whether it is this repository's alone, below its git folder.
        set_by: the scope of ``core.hooksPath`` where that names it, else empty.
    """

    path: str
    is_own: bool
    set_by: str = ""


def find_hooks_folder(repository: Repository) -> HooksFolder:
    """The folder of a repository's hooks, as git-config(1) has it in "core.hooksPath"."""
    usual = os.path.join(repository.common_dir, "hooks")
    named = list_scoped_values(repository, "core.hooksPath")
    if not named:
        return HooksFolder(usual, _is_below(usual, repository.common_dir))
    scope, value = named[-1]
    base = repository.work_tree or repository.git_dir
    path = os.path.normpath(os.path.join(base, os.path.expanduser(value)))
    return HooksFolder(path, _is_below(path, repository.common_dir), scope)


def plan_hook(repository: Repository, program: str) -> Plan:
    """What installs the hook; ``program`` is the gittrack that it calls where there is none on PATH."""
    folder = find_hooks_folder(repository)
    if not folder.is_own:
        return Plan((), _tell_by_hand(folder))
    at, text = os.path.join(folder.path, _NAME), format_hook(program)
    ours = _find_ours(folder.path)
    if ours:
        if read_small_file(ours).decode(errors="replace") == text:
            return Plan()
        if not _is_untouched(ours):
            return Plan((), (f"{ours} is gittrack's hook, changed by hand: it stays as it is",))
        return Plan((_writing(ours, text, f"the hook {ours} is brought up to date"),))
    if os.path.lexists(os.path.join(folder.path, _KEPT)):
        kept = os.path.join(folder.path, _KEPT)
        return Plan(
            (), (f"{at} was replaced by another program since, and {kept} is left: put them in order first",)
        )
    return Plan((_installing(repository, folder.path, text),))


def plan_hook_undoing(repository: Repository) -> Plan:
    """What takes the hook away again, and puts the one before it back in its place."""
    folder = find_hooks_folder(repository)
    ours = _find_ours(folder.path) if folder.is_own else ""
    if not ours:
        return Plan()
    if not _is_untouched(ours):
        return Plan((), (f"{ours} is gittrack's hook, changed by hand: remove it yourself",))
    kept = os.path.join(folder.path, _KEPT)

    def apply() -> None:
        if os.path.lexists(kept):
            os.replace(kept, ours)
        else:
            os.unlink(ours)
        if _FOLDER_NOTE in list_own_values(repository, NOTED):
            remove_value(repository, NOTED, _FOLDER_NOTE)
            _remove_if_empty(folder.path)

    if os.path.lexists(kept):
        return Plan((Change(f"the hook {ours} is what it was before", shlex.join(["mv", kept, ours]), apply),))
    return Plan((Change(f"the hook {ours} is removed", shlex.join(["rm", ours]), apply),))


def format_hook(program: str) -> str:
    """The hook's text."""
    return _HOOK.replace("PROGRAM", shlex.quote(program))


def _installing(repository: Repository, folder: str, text: str) -> Change:
    at, kept = os.path.join(folder, _NAME), os.path.join(folder, _KEPT)
    is_new = not os.path.isdir(folder)

    def apply() -> None:
        if is_new:
            note_setting(repository, _FOLDER_NOTE)
            os.makedirs(folder, exist_ok=True)
        if os.path.lexists(at):
            os.link(at, kept, follow_symlinks=False)  # at no moment is there no hook
        _write(at, text)

    what = f"the hook {at} uploads artifacts before plain `git push` moves a ref"
    if os.path.lexists(at):
        what += f"; the one that is there is kept as {_KEPT} and called first"
    return Change(what, "gittrack init --hook", apply)


def _writing(path: str, text: str, what: str) -> Change:
    return Change(what, "gittrack init --hook", lambda: _write(path, text))


def _write(path: str, text: str) -> None:
    temporary = f"{path}.{os.getpid()}.new"
    try:
        with open(temporary, "x", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        os.chmod(temporary, 0o755)
        os.replace(temporary, path)
    except BaseException:
        _if_there(os.unlink, temporary)
        raise


def _find_ours(folder: str) -> str:
    """Our hook; another program may have moved it to chain it, as pre-commit does; empty where there is none."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.startswith(_NAME))
    except OSError:
        return ""
    paths = [os.path.join(folder, name) for name in names]
    return next((path for path in paths if _MARK.encode() in read_small_file(path)), "")


def _is_untouched(path: str) -> bool:
    return _OURS.fullmatch(read_small_file(path).decode(errors="replace")) is not None


def _tell_by_hand(folder: HooksFolder) -> tuple[str, ...]:
    """What a person adds to hooks that are not ours to change."""
    if os.path.basename(folder.path) == "_":  # husky 9 keeps its own there, and the user's beside it
        folder = HooksFolder(os.path.dirname(folder.path), False, folder.set_by)
    at = os.path.join(folder.path, _NAME)
    whose = (
        f"core.hooksPath ({folder.set_by}) names {folder.path}" if folder.set_by else f"{folder.path} is a link"
    )
    if not os.path.isdir(folder.path):
        return (f"{whose}, where no hook can be: artifacts are uploaded by `gittrack push` alone",)
    there = read_small_file(at).decode(errors="replace")
    if _CALL in there:
        return ()
    told = f"{whose}, which is not gittrack's to change; add to {at}"
    if not there:
        return (f"{told}, and make it executable:", "    #!/bin/sh", f'    exec {_CALL} "$@"')
    return (
        f"{told}, before anything else where it is a shell script:",
        f'    pushed=$(cat); printf \'%s\\n\' "$pushed" | {_CALL} "$@" || exit',
        "    exec <<END",
        "    $pushed",
        "    END",
    )


def _is_below(path: str, folder: str) -> bool:
    real = os.path.realpath(path)
    return real.startswith(os.path.realpath(folder) + os.sep)


def _remove_if_empty(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError:
        pass  # somebody else put something there


def _if_there(act: Callable[[str], None], path: str) -> None:
    try:
        act(path)
    except FileNotFoundError:
        pass
