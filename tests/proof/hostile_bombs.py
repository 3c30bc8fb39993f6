"""Hostile cases: little on the disk that is huge when it is read: zeros, deltas, deep and wide trees."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from functools import partial

from tests.proof.hostile_ground import EVIL, WHO, Expect, Ground, pack_entry, trailers, variable_size

_LARGE_MB, _HUGE_MB = 300, 600
_BLOB, _REF_DELTA = 3, 7
_FSCK = "git fsck holds a whole object in memory"


def _file(ground: Ground, path: str, megabytes: int, how: str) -> Expect:
    """A file of the run that is a bomb: loose, packed whole, or packed as a delta."""
    found = {"loose": _loose, "packed": _packed, "delta": _delta}[how](ground, megabytes)
    ground.run({path: (b"100644", found)})
    return Expect(fsck_free=_FSCK)


def _loose(ground: Ground, megabytes: int) -> str:
    return ground.zeros(megabytes)


def _packed(ground: Ground, megabytes: int) -> str:
    kept = ground.shared / f"zeros-packed-{megabytes}"
    if not kept.exists():
        packer = zlib.compressobj(1)
        parts = [packer.compress(bytes(1 << 20)) for _ in range(megabytes)]
        kept.write_bytes(b"".join([*parts, packer.flush()]))
    head = pack_entry(_BLOB, b"", size=megabytes << 20)[: -len(zlib.compress(b"", 1))]
    ground.pack(head + kept.read_bytes(), 1)
    return ground.zeros(megabytes, is_placed=False)


def _delta(ground: Ground, megabytes: int) -> str:
    """A base of 64 KiB, and a delta that says to copy it so often: a kilobyte or two in all."""
    base = bytes(1 << 16)
    copies = megabytes << 4
    # an instruction without offset and size bytes copies 64 KiB from the beginning
    delta = variable_size(len(base)) + variable_size(copies << 16) + b"\x80" * copies
    base_id = hashlib.sha1(b"blob %d\0" % len(base) + base).digest()
    ground.pack(pack_entry(_BLOB, base) + pack_entry(_REF_DELTA, delta, base_id), 2)
    return ground.zeros(megabytes, is_placed=False)


def _commit(ground: Ground) -> Expect:
    """A commit whose message is 300 MB; the branch points at it, an honest commit is its parent."""
    tree = ground.tree(ground.files(ground.record()))
    head = b"tree " + tree.encode() + b"\nauthor " + WHO + b"\ncommitter " + WHO + b"\n\nbomb\n"
    bomb = ground.repeated("commit-bomb", "commit", b"\n" * 1024, _LARGE_MB << 10, head)
    ground.ref("refs/remotes/origin/gittrack/evil", bomb)
    return Expect(fsck_free=_FSCK, damaged=True)


def _tree(ground: Ground) -> Expect:
    """A tree of 300 MB: the same entry a million times."""
    piece = b"100644 a\0" + bytes(20)
    bomb = ground.repeated("tree-bomb", "tree", piece, (_LARGE_MB << 20) // len(piece))
    ground.run(tree=bomb)
    return Expect(fsck_free=_FSCK, damaged=True, shown=False)


def _wide(ground: Ground, where: str) -> Expect:
    """A tree of 200,000 entries that lead to one blob; 300 where each is to be written out."""
    blob = ground.add("blob", b"x")
    wide = ground.tree([(b"100644", b"f%06d" % number, blob) for number in range(300)], as_given=True)
    if where == "artifacts":
        ground.run({"artifacts": (b"40000", wide)})
    else:
        entries = [(b"100644", b"z%06d" % number, blob) for number in range(200_000)]
        ground.run(entries=entries)
    return Expect(fsck_free="git fsck looks at each of 200,000 names")


def _deep(ground: Ground, where: str) -> None:
    tree = ground.tree([(b"100644", b"f", ground.add("blob", b"x"))])
    for _ in range(1500):
        tree = ground.tree([(b"40000", b"d", tree)])
    ground.run({where: (b"40000", tree)})


def _wide_and_deep(ground: Ground) -> Expect:
    """Ten folders in each of ten levels, all of them the same tree: 10^10 paths in eleven objects."""
    tree = ground.tree([(b"100644", b"f", ground.add("blob", b"x"))])
    for _ in range(10):
        tree = ground.tree([(b"40000", b"%d" % number, tree) for number in range(10)])
    ground.run({"artifacts": (b"40000", tree)})
    return Expect()


def _many_runs(ground: Ground) -> Expect:
    """100 runs whose every file is one and the same bomb, on one branch."""
    bomb = (b"100644", ground.zeros(_LARGE_MB))
    tree = ground.tree(
        ground.files({**ground.record(), "run.yaml": bomb, "params.yaml": bomb, "metrics.yaml": bomb})
    )
    tip = ""
    for number in range(100):
        tip = ground.commit(tree, trailers(f"{number:032x}"), parents=[tip] if tip else [])
    ground.ref("refs/remotes/origin/gittrack/evil", tip)
    return Expect(fsck_free=_FSCK)


def _lying_size(ground: Ground) -> Expect:
    """A loose object that says it has seven bytes, and has 300 MB; another the other way round."""
    packer = zlib.compressobj(1)
    parts = [
        packer.compress(b"blob 7\0"),
        *(packer.compress(bytes(1 << 20)) for _ in range(_LARGE_MB)),
        packer.flush(),
    ]
    ground.place("6" * 40, b"".join(parts))
    ground.place("7" * 40, zlib.compress(b"blob %d\0" % (1 << 60) + b"x"))
    ground.run({"params.yaml": (b"100644", "6" * 40), "artifacts/x": (b"100644", "7" * 40)})
    return Expect(damaged=True, shown=False, fsck_free=_FSCK)


def _delta_chain(ground: Ground) -> Expect:
    """A chain of 4,000 deltas, each on the one before."""
    body, data = pack_entry(_BLOB, b"lr: 0.1\n"), b"lr: 0.1\n"
    for number in range(4000):
        base = hashlib.sha1(b"blob %d\0" % len(data) + data).digest()
        line = b"#%04d\n" % number
        copy = b"\xb0" + len(data).to_bytes(2, "little")
        delta = variable_size(len(data)) + variable_size(len(data) + 6) + copy + b"\x06" + line
        data += line
        body += pack_entry(_REF_DELTA, delta, base)
    ground.pack(body, 4001)
    made = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    ground.run({"params.yaml": (b"100644", made)})
    return Expect(evil=EVIL)


CASES: dict[str, Callable[[Ground], Expect | None]] = {
    **{
        f"{path} of {megabytes} MB, {how}": partial(_file, path=path, megabytes=megabytes, how=how)
        for path, megabytes, how in (
            ("params.yaml", _HUGE_MB, "loose"),
            ("params.yaml", _LARGE_MB, "packed"),
            ("params.yaml", _LARGE_MB, "delta"),
            ("run.yaml", _LARGE_MB, "loose"),
            ("metrics.yaml", _LARGE_MB, "delta"),
            ("metrics/loss.csv", _LARGE_MB, "loose"),
            ("metrics/loss.csv", _LARGE_MB, "delta"),
            ("artifacts/model.bin", _LARGE_MB, "loose"),
            ("artifacts/model.bin", _LARGE_MB, "packed"),
            (".gittrack-schema", _LARGE_MB, "delta"),
        )
    },
    "a commit of 300 MB": _commit,
    "a tree of 300 MB": _tree,
    "300 artifacts that are one blob": partial(_wide, where="artifacts"),
    "200,000 names in a run's tree": partial(_wide, where="top"),
    "artifacts 1,500 folders deep": partial(_deep, where="artifacts"),
    "code 1,500 folders deep": partial(_deep, where="code"),
    "histories 1,500 folders deep": partial(_deep, where="metrics"),
    "ten folders in ten levels of one tree": _wide_and_deep,
    "100 runs of bombs": _many_runs,
    "objects that lie of their size": _lying_size,
    "a chain of 4,000 deltas": _delta_chain,
}
