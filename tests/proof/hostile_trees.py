"""Hostile cases: names, modes and order of entries in a run's tree; what artifacts and pointers name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial

from tests.proof.hostile_ground import LFS, SECRET, Entry, Expect, Ground, pointer

OID = "ab" * 32
_NAMES: Mapping[str, bytes] = {
    "..": b"..",
    ".git": b".git",
    ".GIT": b".GIT",
    "git~1": b"git~1",
    ".git with a zero-width joiner": ".g\u200dit".encode(),
    "an absolute path": b"/etc/planted",
    "a path upwards": b"../../outside/planted",
    "a backslash": b"..\\..\\outside",
    "C:": b"C:",
    "a trailing dot": b"model.",
    "a trailing blank": b"model ",
    "300 bytes": b"n" * 300,
    "no UTF-8": b"\xff\xfe\x80",
    "escape sequences": b"\x1b]8;;http://evil\x07click\x1b[2J",
    "bidi characters": "\u202egnp.exe".encode(),
    "a newline": b"a\nerror: b",
    "an option": b"--upload-pack=x",
    "CON": b"CON",
    "nothing": b"",
}


def _named(ground: Ground, name: bytes, *, is_folder: bool) -> None:
    """The name among the artifacts, as a file or a folder, and at the top of the run's tree."""
    blob = ground.add("blob", b"planted")
    odd: Entry = (b"40000", name, ground.tree([(b"100644", b"x", blob)])) if is_folder else (b"100644", name, blob)
    artifacts = ground.tree([odd, (b"100644", b"plain.txt", blob)])
    ground.run(entries=[(b"40000", b"artifacts", artifacts), odd])


def _mode(ground: Ground, mode: bytes) -> None:
    blob = ground.add("blob", b"planted")
    ground.run(entries=[(b"40000", b"artifacts", ground.tree([(mode, b"odd", blob), (b"100644", b"x", blob)]))])


def _link(ground: Ground, target: bytes) -> None:
    """A link among the artifacts, and a file behind it."""
    link = (b"120000", b"link", ground.add("blob", target))
    inner = ground.tree([(b"100644", b"planted", ground.add("blob", b"x"))])
    artifacts = ground.tree([link, (b"40000", b"link", inner)], as_given=True)
    ground.run(entries=[(b"40000", b"artifacts", artifacts)])


def _link_that_hides_a_link(ground: Ground) -> None:
    """One link leads to a folder through another: a/up -> .. is plain, a/up/up is two levels above."""
    links = {"a/up": b"..", "up2": b"a/up/..", "deep": b"a/../../outside"}
    files = {path: (b"120000", ground.add("blob", target)) for path, target in links.items()}
    ground.run({f"artifacts/{path}": entry for path, entry in files.items()})


def _record_file(ground: Ground, name: str, how: str) -> Expect:
    """A file of the record that is a folder, a link, a submodule, an executable, or not there."""
    blob, tree = ground.add("blob", b"/etc/passwd"), ground.tree([])
    found = {
        "a folder": (b"40000", tree),
        "a link": (b"120000", blob),
        "a submodule": (b"160000", "1" * 40),
        "missing": None,
        "an object that is not there": (b"100644", "2" * 40),
        "a commit": (b"100644", ground.git("rev-parse", "HEAD")),
    }[how]
    ground.run({name: found})
    return Expect(damaged=True)


def _duplicates(ground: Ground) -> None:
    record = ground.files(ground.record())
    other = ground.files(ground.record(name="other"))
    ground.run(tree=ground.tree([*record, *other]))


def _unsorted(ground: Ground) -> None:
    ground.run(tree=ground.tree(ground.files(ground.record())[::-1], as_given=True))


def _cut_tree(ground: Ground, data: bytes) -> Expect:
    ground.run(tree=ground.add("tree", data))
    return Expect(damaged=True, shown=False)


def _lfs_pointer(ground: Ground, text: str) -> None:
    ground.run({"artifacts/model.bin": text, "metrics/loss.csv": text, "artifacts/notes.txt": "plain\n"})


def _object_is_link(ground: Ground) -> None:
    """The object is a link out of the repository, to a file whose hash and size the pointer has right."""
    import hashlib

    oid = hashlib.sha256(SECRET.encode()).hexdigest()
    ground.lfs_object(oid).symlink_to(ground.outside / "secret")
    ground.run({"artifacts/secret.bin": pointer(oid, len(SECRET))})


def _object_is_pipe(ground: Ground) -> None:
    os.mkfifo(ground.lfs_object(OID))
    ground.run({"artifacts/model.bin": pointer(OID, 7)})


def _object_is_folder(ground: Ground) -> None:
    ground.lfs_object(OID).mkdir()
    ground.run({"artifacts/model.bin": pointer(OID, 7)})


def _object_differs(ground: Ground) -> Expect:
    ground.lfs_object(OID).write_bytes(b"another")
    ground.run({"artifacts/model.bin": pointer(OID, 7)})
    return Expect(damaged=True)


def _object_is_endless(ground: Ground) -> None:
    """An object of a terabyte that takes no room on the disk; the pointer says seven bytes."""
    with open(ground.lfs_object(OID), "wb") as file:
        file.truncate(1 << 40)
    ground.run({"artifacts/model.bin": pointer(OID, 7)})


def _target_has_links(ground: Ground) -> None:
    """Where the artifacts go, links stand already: for a folder, for a file, for the name before it is there."""
    (ground.target / "folder").symlink_to(ground.outside)
    (ground.target / "file.txt").symlink_to(ground.outside / "planted")
    ground.run({"artifacts/file.txt": "x", "artifacts/folder/planted": "x", "artifacts/other/x": "y"})
    os.unlink(ground.target / "folder")
    (ground.target / "other").symlink_to(ground.outside)


def _case_twins(ground: Ground) -> None:
    ground.run(
        {"artifacts/Model.txt": "1", "artifacts/model.txt": "2", "artifacts/e\u0301": "1", "artifacts/\xe9": "2"}
    )


def _odd_metric_paths(ground: Ground) -> None:
    names = ["%2e%2e/%2e%2e/x.csv", "a%00b.csv", "%1b[31m.csv", "no-csv", "%/%/.csv", "%ff.csv", ".csv"]
    ground.run({f"metrics/{name}": "step,timestamp,value\n0,1,2.0\n" for name in names})


def _attributes(ground: Ground) -> None:
    """Filters and drivers of the repository's own choice, at every level."""
    text = "* filter=evil diff=evil merge=evil ident text working-tree-encoding=UTF-16\n"
    ground.config(
        "".join(f'[filter "evil"]\n\t{key} = {ground.program}\n' for key in ("clean", "smudge", "process"))
    )
    ground.config(f'[diff "evil"]\n\ttextconv = {ground.program}\n\tcommand = {ground.program}\n')
    ground.run(
        {".gitattributes": text, "artifacts/.gitattributes": text, "artifacts/x.txt": "x", "code/a.py": "1"}
    )


def _modules(ground: Ground) -> None:
    text = f'[submodule "x"]\n\tpath = x\n\turl = ext::{ground.program}\n\tupdate = !{ground.program}\n'
    ground.run({".gitmodules": text, "code/.gitmodules": text, "x": (b"160000", "3" * 40)})


CASES: dict[str, Callable[[Ground], Expect | None]] = {
    **{f"a file called {name}": partial(_named, name=raw, is_folder=False) for name, raw in _NAMES.items()},
    **{f"a folder called {name}": partial(_named, name=raw, is_folder=True) for name, raw in list(_NAMES.items())[:8]},
    **{
        f"an artifact of mode {mode.decode()}": partial(_mode, mode=mode)
        for mode in (b"160000", b"40000", b"0100644", b"104755", b"100666", b"000000", b"7777777777777777777", b"x", b"-100644")
    },
    **{
        f"an artifact that is a link to {target.decode()[:20]!r}": partial(_link, target=target)
        for target in (b"../../outside/secret", b"/etc/passwd", b".", b"x\0y", b"", b"a/../../outside", b"l" * 5000)
    },
    "links through links": _link_that_hides_a_link,
    **{
        f"params.yaml is {how}": partial(_record_file, name="params.yaml", how=how)
        for how in ("a folder", "a submodule", "missing", "an object that is not there", "a commit")
    },
    "params.yaml is a link": partial(_record_file, name="params.yaml", how="a link"),
    "run.yaml is a folder": partial(_record_file, name="run.yaml", how="a folder"),
    "metrics.yaml is a link": partial(_record_file, name="metrics.yaml", how="a link"),
    "the history of a metric is a folder": partial(_record_file, name="metrics/loss.csv", how="a folder"),
    "the history of a metric is a link": partial(_record_file, name="metrics/loss.csv", how="a link"),
    "every entry of a tree twice": _duplicates,
    "a tree in the wrong order": _unsorted,
    "a tree that ends in a name": partial(_cut_tree, data=b"100644 run.yaml"),
    "a tree without modes": partial(_cut_tree, data=b"run.yaml\0" + b"\1" * 20),
    "a tree of zeros": partial(_cut_tree, data=bytes(1000)),
    **{
        f"a pointer to {oid[:24]!r} of {str(size)[:24]!r} bytes": partial(_lfs_pointer, text=pointer(oid, size))
        for oid, size in (
            ("/etc/passwd", 7), ("../../../../outside/secret", 23), ("0x" + "ab" * 31, 7), ("ab" * 31 + "_1", 7),
            ("AB" * 32, 7), (OID, -1), (OID, 10**30), (OID, "7e0"), (OID, "007"), (OID, 7),
        )
    },
    "a pointer of 10 MB": partial(_lfs_pointer, text=pointer(OID, 7) + "x-key " + "y" * 10_000_000 + "\n"),
    "a pointer with keys of its own": partial(_lfs_pointer, text=f"{LFS}ext-0-evil sha256:{OID}\noid sha256:{OID}\nsize 7\n"),
    "an object that is a link outside": _object_is_link,
    "an object that is a pipe": _object_is_pipe,
    "an object that is a folder": _object_is_folder,
    "an object that is not what its name says": _object_differs,
    "an object without an end": _object_is_endless,
    "links where artifacts go": _target_has_links,
    "artifacts that differ in case or in form": _case_twins,
    "odd names of histories": _odd_metric_paths,
    "filters in the run's attributes": _attributes,
    "submodules in the run": _modules,
}  # fmt: skip
