"""Odd places to work in: a table of builders, each of a real repository and the environment around it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.harness import find_newer_git, mounted, read_only

STRANGER = 4321  # a user id that has no name here


@dataclass(frozen=True)
class Place:
    """Where to work, and how.

    Attributes:
        cwd: the working directory.
        refuses: what a step may say instead of working, by step; the words must be in its one line.
        user: the user id to work as; None for one's own.
        reads_only: nothing may change in the repository.
        is_on_experiment: the branch that runs go to is checked out, so that HEAD moves with it.
    """

    cwd: Path
    environment: dict[str, str]
    refuses: dict[str, str] = field(default_factory=dict)
    user: int | None = None
    experiment: str = "Default"
    reads_only: bool = False
    is_on_experiment: bool = False


class World:
    """A folder with a home of its own in which a place is built; what was mounted goes at the end."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "LANG": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        for name in ("home", "tmp"):
            (folder / name).mkdir(parents=True)
        (folder / "home/.gitconfig").write_text(
            '[user]\n\tname = Ada\n\temail = ada@example.org\n[protocol "file"]\n\tallow = always\n'
            "[init]\n\tdefaultBranch = main\n[gc]\n\tauto = 0\n"
        )

    def git(self, cwd: Path, *words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=cwd, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def make(self, name: str = "repo", *options: str, is_empty: bool = False) -> Path:
        """A repository with a commit, a changed file and an untracked one."""
        path = self.folder / name
        path.mkdir(parents=True)
        self.git(path, "init", "--quiet", *options)
        if not is_empty:
            (path / "train.py").write_text("print('train')\n")
            self.git(path, "add", ".")
            self.git(path, "commit", "--quiet", "-m", "begin")
            (path / "train.py").write_text("print('changed')\n")
        (path / "new.py").write_text("print('new')\n")
        return path

    def place(self, cwd: Path, **more: str) -> Place:
        return Place(cwd, {**self.environment, **more})


PLACES: dict[str, Callable[[World], Place]] = {}


def _place(build: Callable[[World], Place]) -> Callable[[World], Place]:
    PLACES[build.__name__] = build
    return build


@_place
def plain(world: World) -> Place:
    return world.place(world.make())


@_place
def bare(world: World) -> Place:
    return world.place(Path(shutil.move(world.make("repo", "--bare", is_empty=True), world.folder / "bare.git")))


@_place
def empty(world: World) -> Place:
    return world.place(world.make(is_empty=True))


@_place
def no_repository(world: World) -> Place:
    (world.folder / "plain").mkdir()
    return world.place(world.folder / "plain")


@_place
def detached(world: World) -> Place:
    path = world.make()
    world.git(path, "checkout", "--quiet", "--detach")
    return world.place(path)


@_place
def linked_work_tree(world: World) -> Place:
    world.git(world.make(), "worktree", "add", "--quiet", "-b", "side", "../linked")
    return world.place(world.folder / "linked")


@_place
def deep_in_the_work_tree(world: World) -> Place:
    path = world.make() / "a/b/c"
    path.mkdir(parents=True)
    return world.place(path)


@_place
def inside_the_git_folder(world: World) -> Place:
    return world.place(world.make() / ".git")


@_place
def submodule(world: World) -> Place:
    inner, outer = world.make("inner"), world.make("outer")
    world.git(outer, "submodule", "--quiet", "add", str(inner), "sub")
    return world.place(outer / "sub")


@_place
def separate_git_dir(world: World) -> Place:
    return world.place(world.make("repo", f"--separate-git-dir={world.folder}/elsewhere.git"))


@_place
def work_tree_set_elsewhere(world: World) -> Place:
    path = world.make()
    other = world.folder / "files"
    shutil.copytree(path, other, ignore=shutil.ignore_patterns(".git"))
    world.git(path, "config", "core.worktree", str(other))
    return world.place(path)


def _cloned(world: World, *options: str) -> Path:
    source = world.make("source")
    world.git(source, "commit", "--quiet", "-am", "second")
    world.git(source, "config", "uploadpack.allowFilter", "true")
    world.git(world.folder, "clone", "--quiet", *options, f"file://{source}", "repo")
    return world.folder / "repo"


@_place
def shallow(world: World) -> Place:
    return world.place(_cloned(world, "--depth=1"))


@_place
def partial_clone(world: World) -> Place:
    return world.place(_cloned(world, "--filter=blob:none"))


@_place
def partial_clone_without_trees(world: World) -> Place:
    return world.place(_cloned(world, "--filter=tree:0", "--no-checkout"))


@_place
def alternates(world: World) -> Place:
    world.git(world.folder, "clone", "--quiet", "--shared", str(world.make("source")), "repo")
    return world.place(world.folder / "repo")


@_place
def sparse_checkout(world: World) -> Place:
    path = world.make()
    world.git(path, "sparse-checkout", "set", "nothing")
    return world.place(path)


@_place
def all_refs_packed(world: World) -> Place:
    path = world.make()
    world.git(path, "branch", "gittrack/other")
    world.git(path, "pack-refs", "--all", "--prune")
    shutil.rmtree(path / ".git/refs/heads")
    (path / ".git/refs/heads").mkdir()
    return world.place(path)


@_place
def sha256(world: World) -> Place:
    return world.place(world.make("repo", "--object-format=sha256"))


def _with_newer_git(world: World) -> World:
    world.environment["PATH"] = f"{find_newer_git()}:{world.environment['PATH']}"
    return world


@_place
def reftable(world: World) -> Place:
    return world.place(_with_newer_git(world).make("repo", "--ref-format=reftable"))


@_place
def reftable_and_sha256(world: World) -> Place:
    return world.place(_with_newer_git(world).make("repo", "--ref-format=reftable", "--object-format=sha256"))


@_place
def reftable_and_linked_work_tree(world: World) -> Place:
    world.git(
        _with_newer_git(world).make("repo", "--ref-format=reftable"), "worktree", "add", "--quiet", "../linked"
    )
    return world.place(world.folder / "linked")


@_place
def code_in_sha1_and_runs_in_sha256(world: World) -> Place:
    store = world.make("store", "--object-format=sha256")
    return world.place(world.make(), GITTRACK_URI=str(store))


@_place
def storage_of_the_future(world: World) -> Place:
    path = world.make()
    place = world.place(path)
    told = "has a storage format that this version does not know"
    world.git(path, "config", "core.repositoryFormatVersion", "1")
    with (path / ".git/config").open("a") as config:
        config.write("[extensions]\n\tcrystals = true\n")
    git = "too old for the storage format"
    return replace(place, refuses={"log": told, "finish": told, "ls": git}, reads_only=True)


@_place
def read_only_repository(world: World) -> Place:
    path = world.make()
    world.stack.enter_context(read_only(path))
    return replace(world.place(path), refuses={"edit": "Read-only file system"}, reads_only=True)


@_place
def read_only_home(world: World) -> Place:
    path = world.make()
    world.stack.enter_context(read_only(world.folder / "home"))
    return world.place(path)


@_place
def no_home(world: World) -> Place:
    place = world.place(world.make())
    del place.environment["HOME"]
    return place


@_place
def home_that_is_no_folder(world: World) -> Place:
    return world.place(world.make(), HOME="/dev/null")


@_place
def no_temporary_folder(world: World) -> Place:
    return world.place(world.make(), TMPDIR="/nowhere")


@_place
def no_identity(world: World) -> Place:
    path = world.make()
    (world.folder / "home/.gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    return world.place(path)


@_place
def owned_by_another(world: World) -> Place:
    path = world.make()
    subprocess.run(["chown", "-R", "1234:1234", str(path)], check=True)
    told = "belongs to another user"
    return replace(world.place(path), refuses={"ls": told, "show": told, "edit": told})


@_place
def owned_by_another_and_trusted(world: World) -> Place:
    path = world.make()
    subprocess.run(["chown", "-R", "1234:1234", str(path)], check=True)
    world.git(path, "config", "--global", "safe.directory", str(path))
    return world.place(path)


def _within_reach(world: World) -> World:
    """A world in a folder that every user may look into, the home and the temporary folder a stranger's."""
    folder = Path(world.stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
    folder.chmod(0o755)
    reached = World(folder, world.stack)
    _give_to_stranger(folder / "home")
    _give_to_stranger(folder / "tmp")
    return reached


def _give_to_stranger(path: Path) -> None:
    subprocess.run(["chown", "-R", f"{STRANGER}:{STRANGER}", str(path)], check=True)


@_place
def user_without_a_name(world: World) -> Place:
    reached = _within_reach(world)
    path = reached.make()
    _give_to_stranger(path)
    return replace(reached.place(path), user=STRANGER)


@_place
def user_who_may_not_write(world: World) -> Place:
    world = _within_reach(world)
    path = world.make()
    world.git(path, "config", "--global", "safe.directory", "*")
    return replace(world.place(path), user=STRANGER, refuses={"edit": "Permission denied"}, reads_only=True)


@_place
def autocrlf(world: World) -> Place:
    path = world.make()
    world.git(path, "config", "core.autocrlf", "true")
    (path / ".gitattributes").write_text("*.txt text eol=crlf\n")
    (path / "train.py").write_bytes(b"print('crlf')\r\n")
    return world.place(path)


@_place
def locale_c(world: World) -> Place:
    place = world.place(world.make(), LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    del place.environment["LANG"]
    return place


@_place
def locale_latin1(world: World) -> Place:
    return world.place(
        world.make(), LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="latin-1"
    )


@_place
def names_in_unicode(world: World) -> Place:
    path = world.make("répo ✓ \u202eא\n'\"$(x)")
    return replace(world.place(path), experiment="übung/№ 5 ✓")


@_place
def names_that_are_long(world: World) -> Place:
    path = world.make("/".join(["d" * 200] * 8))
    return replace(world.place(path), experiment="e" * 250)


@_place
def name_that_is_no_unicode(world: World) -> Place:
    return world.place(world.make(os.fsdecode(b"r\xff\xfe")))


@_place
def name_with_windows_trouble(world: World) -> Place:
    return replace(world.place(world.make("con")), experiment="aux. ")


@_place
def rebase_that_stopped(world: World) -> Place:
    path = world.make()
    world.git(path, "commit", "--quiet", "-am", "ours")
    world.git(path, "checkout", "--quiet", "-b", "side", "HEAD~1")
    (path / "train.py").write_text("print('theirs')\n")
    world.git(path, "commit", "--quiet", "-am", "theirs")
    done = subprocess.run(
        ["git", "rebase", "main"], cwd=path, env=world.environment, capture_output=True, check=False
    )
    assert done.returncode
    return world.place(path)


@_place
def merge_that_waits(world: World) -> Place:
    path = world.make()
    world.git(path, "checkout", "--quiet", "--force", "-b", "side")
    world.git(path, "commit", "--quiet", "--allow-empty", "-m", "side")
    world.git(path, "checkout", "--quiet", "main")
    world.git(path, "commit", "--quiet", "--allow-empty", "-m", "main")
    world.git(path, "merge", "--quiet", "--no-commit", "--no-ff", "side")
    return world.place(path)


@_place
def index_locked_by_another(world: World) -> Place:
    path = world.make()
    (path / ".git/index.lock").write_text("")
    return world.place(path)


@_place
def index_missing(world: World) -> Place:
    path = world.make()
    (path / ".git/index").unlink()
    return world.place(path)


@_place
def hooks_and_signing_set(world: World) -> Place:
    path = world.make()
    hooks = path / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in (
        "pre-commit",
        "commit-msg",
        "post-commit",
        "reference-transaction",
        "post-index-change",
        "pre-auto-gc",
    ):
        (hooks / name).write_text("#!/bin/sh\nexit 1\n")
        (hooks / name).chmod(0o755)
    for key, value in (
        ("commit.gpgSign", "true"),
        ("gpg.program", "/bin/false"),
        ("core.fsmonitor", "/bin/false"),
    ):
        world.git(path, "config", key, value)
    return world.place(path)


@_place
def branch_in_the_way(world: World) -> Place:
    path = world.make()
    world.git(path, "branch", "gittrack")
    told = "another branch is in its way"
    return replace(world.place(path), refuses={"finish": told, "edit": told}, reads_only=True)


@_place
def branch_that_is_symbolic(world: World) -> Place:
    path = world.make()
    world.git(path, "symbolic-ref", "refs/heads/gittrack/Default", "refs/heads/main")
    told = "is a symbolic ref"
    return replace(world.place(path), refuses={"finish": told, "edit": told}, reads_only=True)


@_place
def checked_out_experiment(world: World) -> Place:
    """The branch that runs go to is the user's own HEAD."""
    path = world.make()
    world.git(path, "checkout", "--quiet", "-b", "gittrack/Default")
    return replace(world.place(path), is_on_experiment=True)


@_place
def git_variables_set(world: World) -> Place:
    """As inside a hook of another repository: they point git elsewhere, not us."""
    other = world.make("other")
    return world.place(world.make(), GIT_INDEX_FILE=str(other / ".git/index"), GIT_PREFIX="x/")


@_place
def no_git_program(world: World) -> Place:
    path = world.make()
    (world.folder / "bin").mkdir()
    return world.place(path, PATH=str(world.folder / "bin"))


@_place
def git_program_that_fails(world: World) -> Place:
    path = world.make()
    (world.folder / "bin").mkdir()
    (world.folder / "bin/git").write_text("#!/bin/sh\nexit 1\n")
    (world.folder / "bin/git").chmod(0o755)
    told = "git for-each-ref"
    return replace(
        world.place(path, PATH=f"{world.folder}/bin"),
        refuses={"ls": told, "show": told, "edit": told, "finish": told, "log": told},
        reads_only=True,
    )


@_place
def memory_disk(world: World) -> Place:
    world.stack.enter_context(mounted(world.folder / "disk", "-t", "tmpfs", "-o", "size=64m", "none"))
    return world.place(world.make("disk/repo"))


@_place
def standard_streams_closed(world: World) -> Place:
    return world.place(world.make(), CLOSE_STREAMS="1")


def build(name: str, folder: Path) -> Iterator[Place]:
    """One place of the table, as long as it is needed."""
    with ExitStack() as stack:
        yield PLACES[name](World(folder, stack))


def command_of(place: Place) -> list[str]:
    """The words before a command that is to run as the place's user."""
    if place.user is None:
        return []
    reading = "+dac_read_search"  # wherever the tests and their Python lie
    return [
        *("setpriv", f"--reuid={place.user}", f"--regid={place.user}", "--clear-groups"),
        *(f"--inh-caps={reading}", f"--ambient-caps={reading}"),
    ]
