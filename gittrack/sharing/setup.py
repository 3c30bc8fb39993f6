"""Setting up plain git, so that ``git push`` and ``git fetch`` carry runs: planned, told, done, and taken back.

A plan says what would change before anything does. What was added is noted in the repository's own config as
``gittrack.setup``, so that the undoing takes back that and nothing that was there before. Source of the refspecs:
git-push(1), git-fetch(1), "remote.<name>.push" in git-config(1).
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from gittrack.errors import NotFoundError
from gittrack.git.remotes import Remote
from gittrack.git.repository import Repository
from gittrack.git.user_settings import add_value, list_own_values, list_scoped_values, remove_value
from gittrack.schema.names import HEADS, LIVE
from gittrack.sharing.fetching import tracked_live

NOTED = "gittrack.setup"  # '<key> <value>' of each setting that was added

PUSHES = {"branch": "HEAD", "runs": f"{HEADS}*:{HEADS}*", "tags": "refs/tags/*:refs/tags/*"}
_PUSHED = {
    "branch": "the branch that you are on, to the branch of its name",
    "runs": "all experiments' branches, with their runs",
    "tags": "all tags, the registry's and your own",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to change: what, for a person; the command that does it; and the doing."""

    what: str
    command: str
    apply: Callable[[], None] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """Changes to make, in order, and what a person should know of them."""

    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: Plan) -> Plan:
        return Plan(self.changes + other.changes, self.notes + other.notes)

    def apply(self) -> None:
        """Make the changes; made again after an interruption, it ends the same."""
        for change in self.changes:
            change.apply()


def plan_pushes(repository: Repository, remote: Remote, wanted: Collection[str]) -> Plan:
    """What makes a plain ``git push`` carry some of `PUSHES`; what it carries already is left as it is.

    Raises:
        NotFoundError: the remote has no name in the config.
    """
    key = f"remote.{_name_of(remote)}.push"
    there = [value for _, value in list_scoped_values(repository, key)]
    missing = [name for name in PUSHES if name in wanted and not _is_covered(name, there)]
    changes = tuple(
        _adding(repository, key, PUSHES[name], f"plain `git push {remote.name}` pushes {_PUSHED[name]}")
        for name in missing
    )
    if not changes:
        return Plan()
    return Plan(changes, (_tell_of_pushing(remote, missing, there),))


def plan_fetches(repository: Repository, remote: Remote) -> Plan:
    """What makes a plain ``git fetch`` bring the runs that are still running; and all runs, where it does not.

    Raises:
        NotFoundError: the remote has no name in the config.
    """
    name = _name_of(remote)
    key = f"remote.{name}.fetch"
    there = [value for _, value in list_scoped_values(repository, key)]
    live = f"+{LIVE}*:{tracked_live(remote)}*"
    changes = []
    if not any(_matches(value, f"{HEADS}x") for value in there):
        runs = f"+{HEADS}*:{remote.tracked}gittrack/*"
        changes.append(
            _adding(repository, key, runs, f"plain `git fetch {name}` brings the experiments' branches")
        )
    if live not in there:
        changes.append(_adding(repository, key, live, f"plain `git fetch {name}` brings runs that are running"))
    return Plan(tuple(changes))


def plan_undoing(repository: Repository) -> Plan:
    """What takes back every setting that was added."""
    return Plan(tuple(_removing(repository, noted) for noted in list_own_values(repository, NOTED)))


def tell_of_git_lfs(repository: Repository) -> tuple[str, ...]:
    """What to type where git-lfs is here and not set up: then git itself would leave artifacts as pointers."""
    if shutil.which("git-lfs") is None or list_scoped_values(repository, "filter.lfs.smudge"):
        return ()
    return (
        "git-lfs is here and not set up; so that `git checkout` of a run brings its artifacts: git lfs install",
    )


def note_setting(repository: Repository, text: str) -> None:
    """Note something that was set up, once."""
    if text not in list_own_values(repository, NOTED):
        add_value(repository, NOTED, text)


def _name_of(remote: Remote) -> str:
    if not remote.name:
        raise NotFoundError(
            f"{remote.label} has no name here", f"give it one: git remote add NAME {shlex.quote(remote.label)}"
        )
    return remote.name


def _adding(repository: Repository, key: str, value: str, what: str) -> Change:
    def apply() -> None:
        note_setting(repository, f"{key} {value}")  # first: what is noted and not there is no harm
        if value not in list_own_values(repository, key):
            add_value(repository, key, value)

    return Change(what, shlex.join(["git", "config", "--add", key, value]), apply)


def _removing(repository: Repository, noted: str) -> Change:
    key, _, value = noted.rpartition(" ")

    def apply() -> None:
        remove_value(repository, key, value)
        remove_value(repository, NOTED, noted)

    command = shlex.join(["git", "config", "--fixed-value", "--unset", key, value])
    return Change(f"{key} no longer has {value}", command, apply)


def _is_covered(name: str, refspecs: Iterable[str]) -> bool:
    """Whether refspecs push what one of `PUSHES` does; whoever has any for branches has chosen which."""
    if name == "branch":
        kinds = ("refs/tags/", f"{HEADS}")
        return any(not value.removeprefix("+").startswith(kinds) for value in refspecs)
    example = PUSHES[name].partition("*")[0] + "x"
    return any(_matches(value, example) for value in refspecs)


def _matches(refspec: str, ref: str) -> bool:
    """Whether the left side of a refspec takes a ref; one '*' stands for anything."""
    source = refspec.removeprefix("+").partition(":")[0]
    if refspec.startswith("^"):
        return False
    before, star, after = source.partition("*")
    return ref == source if not star else ref.startswith(before) and ref.endswith(after)


def _tell_of_pushing(remote: Remote, missing: Collection[str], there: Collection[str]) -> str:
    told = f"from then on plain `git push {remote.name}` pushes what remote.{remote.name}.push says, "
    told += "beside what it says already" if there else "and not what push.default does"
    if "branch" not in missing and not there:
        told += ": your own branch only where you name it"
    return told + "; a branch that a colleague pushed meanwhile is refused until `gittrack sync` has joined it"
