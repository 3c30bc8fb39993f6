"""Hostile cases: refs, packed refs, the repository's own config, hooks, and where its folders lead.

Not among them: pipes where git keeps its own files (a ref, the config, alternates, an index). Git waits for them
without end, whatever it is asked; nothing that is cloned or fetched can hold one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from functools import partial

from tests.proof.hostile_ground import Expect, Ground

_BRANCHES: Mapping[str, str] = {
    "-x": "-x",
    "--upload-pack=x": "--upload-pack=x",
    "bidi characters": "\u202egnp",
    "zero width": "a\u200b\u200db",
    "C1 controls": "a\x9b31mb\x85",
    "no UTF-8": "\udcff\udcfe",
    "CON": "CON",
    "@": "@",
    "HEAD": "HEAD",
    "percent-encoded escapes": "%1B%5B2J%0A%00%FF%2F..%2F",
    "a percent that encodes nothing": "%zz%",
    "markup": "[link=http:",
    "240 bytes": "b" * 240,
}
_HOOKS = (
    "applypatch-msg", "pre-applypatch", "post-applypatch", "pre-commit", "pre-merge-commit", "prepare-commit-msg",
    "commit-msg", "post-commit", "pre-rebase", "post-checkout", "post-merge", "pre-push", "pre-receive", "update",
    "proc-receive", "post-receive", "post-update", "reference-transaction", "push-to-checkout", "pre-auto-gc",
    "post-rewrite", "sendemail-validate", "fsmonitor-watchman", "post-index-change",
)  # fmt: skip
_PROGRAMS = """
[core]
    fsmonitor = {program}
    sshCommand = {program}
    pager = {program}
    editor = {program}
    hooksPath = {folder}
    askPass = {program}
    gitProxy = {program}
    alternateRefsCommand = {program}
    attributesFile = {folder}/attributes
    excludesFile = {folder}/secret
[alias]
    rev-list = !{program}
    cat-file = !{program}
    for-each-ref = !{program}
    fsck = !{program}
[pager]
    rev-list = {program}
    for-each-ref = {program}
    cat-file = {program}
    fsck = {program}
[diff]
    external = {program}
[gpg]
    program = {program}
[log]
    showSignature = true
[credential]
    helper = {program}
[uploadpack]
    packObjectsHook = {program}
[filter "lfs"]
    clean = {program}
    smudge = {program}
    process = {program}
    required = true
[trailer "Gittrack-Run"]
    command = {program}
    cmd = {program}
[include]
    path = {folder}/more
[includeIf "gitdir:/"]
    path = {folder}/more
[fetch]
    fsckObjects = false
[fsck]
    skipList = {folder}/secret
    missingEmail = ignore
[maintenance]
    auto = true
[i18n]
    logOutputEncoding = UTF-7
    commitEncoding = UTF-7
"""


def _branch(ground: Ground, name: str) -> None:
    ground.run(ref=f"refs/remotes/origin/gittrack/{name}")
    ground.ref(f"refs/heads/gittrack/{name}", ground.git("rev-parse", "refs/heads/gittrack/honest"))


def _odd_depths(ground: Ground) -> Expect:
    tip = ground.run()
    lines = [
        f"{tip} refs/heads/gittrack/a//b",
        f"{tip} refs/heads/gittrack/a/../../../b",
        f"{tip} refs/heads/gittrack/x.lock",
    ]
    lines += [
        f"{tip} refs/remotes/gittrack/x",
        f"{tip} refs/remotes//gittrack/x",
        f"{tip} refs/remotes/a/gittrack/b/gittrack/c",
    ]
    (ground.git_dir / "packed-refs").write_text(
        "# pack-refs with: peeled fully-peeled \n" + "\n".join(lines) + "\n"
    )
    return Expect(is_unreadable=True)


def _twins(ground: Ground) -> None:
    for name in ("e\u0301", "\xe9", "Twin", "twin"):
        ground.run(ref=f"refs/heads/gittrack/{name}")


def _points_at(ground: Ground, what: str) -> None:
    tip = ground.run()
    tag = ground.add("tag", f"object {tip}\ntype commit\ntag x\ntagger E <e@x> 1 +0000\n\nx\n".encode())
    deeper = ground.add("tag", f"object {tag}\ntype tag\ntag x\ntagger E <e@x> 1 +0000\n\nx\n".encode())
    found = {
        "a tag": tag,
        "a tag of a tag": deeper,
        "a blob": ground.add("blob", b"x"),
        "a tree": ground.tree([]),
        "an object that is not there": "8" * 40,
        "zeros": "0" * 40,
        "a short id": tip[:12],
        "nothing": "",
        "escape sequences": "\x1b[2J\x1b]0;x\x07",
        "a name that leads outside": "ref: ../../outside/secret",
        "itself": "ref: refs/heads/gittrack/odd",
        "a branch that is not there": "ref: refs/heads/none",
        "HEAD": "ref: HEAD",
        "ten million digits": "1" * 10_000_000,
    }[what]
    ground.ref("refs/heads/gittrack/odd", found)
    ground.ref("refs/remotes/origin/gittrack/odd", found)


def _loop(ground: Ground) -> None:
    ground.run()
    for one, other in (("a", "b"), ("b", "c"), ("c", "a")):
        ground.ref(f"refs/heads/gittrack/{one}", f"ref: refs/heads/gittrack/{other}")


def _ref_is(ground: Ground, what: str) -> None:
    ground.run()
    path = ground.git_dir / "refs/heads/gittrack/odd"
    path.symlink_to(ground.outside / "secret" if what == "a link outside" else path)


def _many_branches(ground: Ground) -> None:
    tip = ground.run()
    lines = [f"{tip} refs/heads/gittrack/b{number:06d}\n" for number in range(50_000)]
    (ground.git_dir / "packed-refs").write_text("# pack-refs with: peeled fully-peeled sorted \n" + "".join(lines))


def _packed_refs(ground: Ground, content: bytes) -> Expect:
    ground.run()
    (ground.git_dir / "packed-refs").write_bytes(content)
    return Expect(is_unreadable=bool(content))


def _refs_is_link(ground: Ground) -> None:
    """The refs stand elsewhere, as contrib's git-new-workdir has them: read as git does."""
    ground.run()
    shutil.move(ground.git_dir / "refs", ground.root / "repo/elsewhere")
    (ground.git_dir / "refs").symlink_to(ground.root / "repo/elsewhere")


def _pointer_file(ground: Ground, content: bytes, refused: str) -> Expect:
    """The .git of the work tree is a file."""
    shutil.move(ground.git_dir, ground.root / "repo/moved")
    ground.git_dir.write_bytes(content)
    return Expect(refused=refused) if refused else Expect()


def _alternates(ground: Ground, lines: str) -> None:
    ground.run()
    info = ground.git_dir / "objects/info"
    info.mkdir(exist_ok=True)
    (info / "alternates").write_text(lines.format(objects=ground.git_dir / "objects", outside=ground.outside))


def _info(ground: Ground, path: str, content: bytes) -> None:
    ground.run()
    place = ground.git_dir / path
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(content)


def _graft(ground: Ground) -> None:
    """A graft that cuts the older honest run off, and hangs the stranger's on."""
    tip = ground.git("rev-parse", "refs/heads/gittrack/honest")
    _info(ground, "info/grafts", f"{tip}\n".encode())


def _replace(ground: Ground) -> None:
    """A replacement of an honest commit by another run's."""
    tip = ground.git("rev-parse", "refs/heads/gittrack/honest")
    ground.ref(f"refs/replace/{tip}", ground.run())


def _shallow(ground: Ground) -> Expect:
    tip = ground.git("rev-parse", "refs/heads/gittrack/honest")
    _info(ground, "shallow", f"{tip}\n".encode())
    return Expect(honest=(1,))


def _programs(ground: Ground) -> None:
    ground.config(_PROGRAMS.format(program=ground.program, folder=ground.outside))
    (ground.outside / "more").write_text(
        f"[core]\n\tfsmonitor = {ground.program}\n\tsshCommand = {ground.program}\n"
    )
    for name in _HOOKS:
        shutil.copy2(ground.program, ground.outside / name)
    ground.run()


def _hooks(ground: Ground) -> None:
    (ground.git_dir / "hooks").mkdir()
    for name in _HOOKS:
        shutil.copy2(ground.program, ground.git_dir / "hooks" / name)
    ground.run()
    _dead_run(ground)


def _dead_run(ground: Ground) -> None:
    """A live run whose process is gone, so that every command also writes."""
    from tests.proof.hostile_live import write_journal

    write_journal(ground.live(), [("start", {"name": "dead", "experiment": "dead", "started_at": 1767225600000})])


def _promisor(ground: Ground, remote: str) -> None:
    """A partial clone that lacks a file of a run: git would ask the remote for it."""
    text = '[extensions]\n\tpartialClone = evil\n[remote "evil"]\n\tpromisor = true\n\tpartialclonefilter = blob:none\n'
    ground.config(
        '[protocol]\n\tallow = always\n[protocol "ext"]\n\tallow = always\n[protocol "file"]\n\tallow = always\n'
    )
    ground.config(text + remote.format(program=ground.program, repo=ground.repo))
    ground.config("[core]\n\trepositoryformatversion = 1\n")
    ground.run({"params.yaml": (b"100644", "9" * 40), "artifacts/x": (b"100644", "9" * 40)})


def _config(ground: Ground, text: str, refused: str = "") -> Expect:
    ground.run()
    ground.config(text.format(outside=ground.outside))
    return Expect(refused=refused)


def _config_is(ground: Ground, what: str) -> Expect:
    ground.run()
    path = ground.git_dir / "config"
    path.unlink()
    if what == "10 MB":
        path.write_bytes(b"[a]\n" + b"#" * 10_000_000 + b"\n")
    return Expect()


def _other_owner(ground: Ground) -> Expect:
    """Everything belongs to another user: git refuses, and says what to do about it."""
    ground.run()
    for place, folders, names in os.walk(ground.repo):
        for name in (".", *folders, *names):
            os.chown(os.path.join(place, name), 4711, 4711, follow_symlinks=False)
    return Expect(refused="safe.directory")


CASES: dict[str, Callable[[Ground], Expect | None]] = {
    **{f"a branch called {name}": partial(_branch, name=text) for name, text in _BRANCHES.items()},
    "branches at odd depths": _odd_depths,
    "branches that differ in case or in form": _twins,
    **{
        f"a branch that points at {what}": partial(_points_at, what=what)
        for what in (
            "a tag", "a tag of a tag", "a blob", "a tree", "an object that is not there", "zeros", "a short id", "nothing",
            "escape sequences", "a name that leads outside", "itself", "a branch that is not there", "HEAD", "ten million digits",
        )
    },
    "branches in a loop": _loop,
    **{f"a branch that is {what}": partial(_ref_is, what=what) for what in ("a link outside", "a link to itself")},
    "50,000 branches": _many_branches,
    "packed refs of noise": partial(_packed_refs, content=bytes(range(256)) * 64),
    "empty packed refs": partial(_packed_refs, content=b""),
    "refs that are a link": _refs_is_link,
    "a .git file that leads to the repository": partial(_pointer_file, content=b"gitdir: moved\n", refused=""),
    "a .git file that leads to /etc": partial(_pointer_file, content=b"gitdir: /etc\n", refused="/etc"),
    "a .git file of noise": partial(_pointer_file, content=b"\x1b[2J" + bytes(range(256)) * 100, refused="not what git writes"),
    "a .git file with an odd path": partial(_pointer_file, content=b"gitdir: \x1b[2J\x00\xff\n", refused="not what git writes"),
    "alternates in /etc": partial(_alternates, lines="/etc\n{outside}\n"),
    "alternates that are missing": partial(_alternates, lines="/nowhere/objects\n../../../../../nowhere\n"),
    "alternates in a loop": partial(_alternates, lines="{objects}\n.\n../objects\n"),
    "alternates of escape sequences": partial(_alternates, lines="\x1b[2J\n\"\\\n#\n\x00\n"),
    "grafts": _graft,
    "grafts of noise": partial(_info, path="info/grafts", content=b"\xff\x00 x\n" * 100),
    "a shallow file that cuts an honest run off": _shallow,
    "a shallow file of noise": partial(_info, path="shallow", content=b"\xff\x00 x\n" * 100),
    "a commit graph of noise": partial(_info, path="objects/info/commit-graph", content=b"CGPH\1\1\4\0" + bytes(4000)),
    "a multi-pack index of noise": partial(_info, path="objects/pack/multi-pack-index", content=b"MIDX\1\1\4\0" + bytes(4000)),
    "a replaced commit": _replace,
    "a config that names programs": _programs,
    "hooks of every name": _hooks,
    "a partial clone whose remote is a program": partial(_promisor, remote="\turl = ext::{program}\n"),
    "a partial clone whose remote is a folder": partial(_promisor, remote="\turl = file://{repo}\n\tuploadpack = {program}\n"),
    "a partial clone whose remote is a host": partial(_promisor, remote="\turl = ssh://evil.example/x\n[core]\n\tsshCommand = {program}\n"),
    "a partial clone with a helper of its own": partial(_promisor, remote="\turl = x\n\tvcs = evil\n"),
    "a work tree elsewhere": partial(_config, text="[core]\n\tworktree = {outside}\n"),
    "a config that git cannot read": partial(_config, text="[core\n\tx = \x1b[2J\n", refused="config"),
    "an extension that git does not know": partial(_config, text="[core]\n\trepositoryformatversion = 1\n[extensions]\n\tevil = 1\n", refused="too old"),
    "a format of the future": partial(_config, text="[core]\n\trepositoryformatversion = 9\n", refused="ersion"),
    **{f"a config that is {what}": partial(_config_is, what=what) for what in ("missing", "10 MB")},
    "a repository of another user": _other_owner,
}  # fmt: skip
