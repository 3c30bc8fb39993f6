"""Hostile cases: objects, packs and indexes with bits turned, cut or gone; the rest of the runs is still read."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from tests.proof.hostile_ground import Expect, Ground


def _pack_all(ground: Ground) -> None:
    ground.git("repack", "-adq")


def _turn(ground: Ground, suffix: str, where: float) -> Expect:
    """One bit of a pack with everything in it is turned; what was hit is named, or nothing was."""
    ground.run()
    _pack_all(ground)
    path = next((ground.git_dir / "objects/pack").glob(f"*{suffix}"))
    data = bytearray(path.read_bytes())
    data[int(len(data) * where)] ^= 1 << random.Random(where).randrange(8)
    path.chmod(0o644)
    path.write_bytes(data)
    return Expect(honest=(), damaged=True)


def _evil_object(ground: Ground, spec: str, how: str) -> Expect:
    """One object of the evil run is gone, cut, empty, a folder, or another's bytes; the honest ones are whole."""
    commit = ground.run({"params.yaml": "lr: 0.123\n"})
    object_id = ground.git("rev-parse", spec.format(commit=commit))
    path = ground.git_dir / "objects" / object_id[:2] / object_id[2:]
    data = path.read_bytes()
    path.chmod(0o644)
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "turned":
        path.write_bytes(data[:-6] + bytes([data[-6] ^ 4]) + data[-5:])
    elif how == "a folder":
        path.unlink()
        path.mkdir()
    elif how == "a link outside":
        path.unlink()
        path.symlink_to(ground.outside / "secret")
    elif how == "another's bytes":
        other = ground.add("blob", b"lr: 666\n")
        path.write_bytes((ground.git_dir / "objects" / other[:2] / other[2:]).read_bytes())
    return Expect(damaged=True)


def _index_gone(ground: Ground) -> Expect:
    ground.run()
    _pack_all(ground)
    next((ground.git_dir / "objects/pack").glob("*.idx")).unlink()
    return Expect(honest=(), damaged=None)


def _pack_is(ground: Ground, suffix: str, what: str) -> Expect:
    """A pack of nobody's beside the others."""
    ground.run()
    name = "objects/pack/pack-" + "0" * 40
    (ground.git_dir / "objects/pack").mkdir(exist_ok=True)
    for end in (".pack", ".idx"):
        path = ground.git_dir / (name + end)
        if end != suffix:
            path.write_bytes(b"PACK" + bytes(100))
        elif what == "a link outside":
            path.symlink_to(ground.outside / "secret")
        else:
            path.write_bytes(b"\xfftOc\0\0\0\2" + b"\xff" * 1024 + bytes(4000))
    return Expect()


CASES: dict[str, Callable[[Ground], Expect | None]] = {
    **{f"a bit turned in the {suffix[1:]}, at {where}": partial(_turn, suffix=suffix, where=where) for suffix in (".pack", ".idx") for where in (0.0, 0.3, 0.5, 0.7, 0.999)},
    **{
        f"{what} that is {how}": partial(_evil_object, spec=spec, how=how)
        for what, spec in (
            ("a commit", "{commit}"), ("a tree", "{commit}^{{tree}}"), ("a record", "{commit}:run.yaml"),
            ("a file of params", "{commit}:params.yaml"), ("a history", "{commit}:metrics/loss.csv"),
        )
        for how in ("gone", "cut", "turned", "another's bytes")
    },
    **{f"a record that is {how}": partial(_evil_object, spec="{commit}:run.yaml", how=how) for how in ("empty", "a folder", "a link outside")},
    "a pack without its index": _index_gone,
    **{f"a {suffix[1:]} that is {what}": partial(_pack_is, suffix=suffix, what=what) for suffix in (".pack", ".idx") for what in ("a link outside", "noise")},
}  # fmt: skip
