"""Hostile cases: folders of live runs, locks and temporary files that a stranger planted beside git's own."""

from __future__ import annotations

import json
import os
import struct
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from tests.proof.hostile_ground import SECRET, Expect, Ground, pointer

RUN = "f" * 32
SEAL = 0x1122334455667788
_START = (
    "start",
    {"name": "planted", "experiment": "planted", "started_at": 1767225600000, "user": "e", "host": "h"},
)
_GONE = {"host": "gone", "boot": "gone", "space": "gone", "pid": 1, "started": "1", "detached": False}


def write_journal(
    folder: Path,
    events: Sequence[tuple[str, object]],
    *,
    writer: Mapping[str, object] | None = None,
    raw: bytes = b"",
    age_s: float = 30 * 24 * 3600,
    name: str = "1.log",
) -> Path:
    """A stream as gittrack's journal lays it out; its writer is gone for a month unless told otherwise."""
    parts = [b"GTJ1" + struct.pack("<IQ", 1, SEAL), _event("writer", dict(_GONE if writer is None else writer))]
    parts += [_event(kind, fields) for kind, fields in events]
    path = folder / name
    path.write_bytes(b"".join(parts) + raw)
    for place in (path, folder):
        os.utime(place, (time.time() - age_s,) * 2)
    return path


def _event(kind: str, fields: object, when: object = 1767225600.0) -> bytes:
    told = {"e": kind, "t": when, **fields} if isinstance(fields, dict) else fields
    return _record(json.dumps(told).encode())


def _record(payload: bytes) -> bytes:
    return struct.pack("<III", 1, len(payload), zlib.crc32(payload)) + payload + struct.pack("<Q", SEAL)


def _points(keys: int, shape: int = 16) -> bytes:
    values = struct.pack(f"<Iq{keys + 1}dQ", shape, 1, 1767225600.0, *([0.5] * keys), SEAL)
    return _event("shape", {"id": shape, "keys": [f"k{n}" for n in range(keys)]}) + values


def _events(ground: Ground, events: Sequence[tuple[str, object]]) -> Expect:
    write_journal(ground.live(), [_START, *events])
    return Expect(evil=RUN)


def _raw(ground: Ground, raw: bytes) -> Expect:
    write_journal(ground.live(), [_START], raw=raw)
    return Expect(evil=RUN)


def _alive(ground: Ground, events: Sequence[tuple[str, object]]) -> Expect:
    """The same of a run that seems to live: it is shown, not committed."""
    write_journal(ground.live(), [_START, *events], age_s=0)
    return Expect(evil=RUN)


def _artifact(path: str, oid: object, size: object = 7, **fields: object) -> tuple[str, object]:
    return ("artifact", {"path": path, "oid": oid, "size_bytes": size, "mode": 0o100644, "inline": True, **fields})


def _staged(ground: Ground, what: str, *, age_s: float) -> Expect:
    """An artifact whose staged file is a link, a pipe, a folder, or lies somewhere else by its name."""
    import hashlib

    oid = hashlib.sha256(SECRET.encode()).hexdigest()
    folder = ground.live()
    staging = folder / "artifacts"
    staging.mkdir()
    size = len(SECRET)
    if what == "a link outside":
        (staging / oid).symlink_to(ground.outside / "secret")
    elif what == "a pipe":
        os.mkfifo(staging / oid)
        size = 0
    elif what == "a folder":
        (staging / oid).mkdir()
        size = (staging / oid).stat().st_size
    elif what == "behind a linked folder":
        staging.rmdir()
        (ground.outside / oid).write_text(SECRET)
        staging.symlink_to(ground.outside)
    elif what == "named by a path":
        oid = str(ground.outside / "secret")
    elif what == "named by a way up":
        oid = "../../../../../outside/secret"
    write_journal(folder, [_START, _artifact("stolen.txt", oid, size)], age_s=age_s)
    return Expect(evil=RUN)


def _folder_is_link(ground: Ground) -> Expect:
    """The live folder is a link to a folder outside, with a journal in it."""
    write_journal(ground.outside, [_START])
    (ground.git_dir / "gittrack/live" / RUN).symlink_to(ground.outside)
    return Expect(evil=RUN)


def _live_is_link(ground: Ground) -> Expect:
    """The folder of all live runs is a link."""
    place = ground.outside / RUN
    place.mkdir()
    write_journal(place, [_START])
    (ground.git_dir / "gittrack/live").rmdir()
    (ground.git_dir / "gittrack/live").symlink_to(ground.outside)
    return Expect(refused="it is not used")


def _state_is_link(ground: Ground) -> Expect:
    """The whole of gittrack's own folder is a link."""
    place = ground.outside / "live" / RUN
    place.mkdir(parents=True)
    write_journal(place, [_START])
    os.rename(ground.git_dir / "gittrack", ground.root / "repo/was")
    (ground.git_dir / "gittrack").symlink_to(ground.outside)
    return Expect(refused="it is not used")


def _tmp_is_link(ground: Ground) -> Expect:
    """Temporary files go elsewhere; a dead run is to be committed, and a dead writer to be swept up after."""
    tmp = ground.git_dir / "gittrack/tmp"
    tmp.rmdir()
    tmp.symlink_to(ground.outside)
    (ground.git_dir / "gittrack/lock").write_text('{"pid": 1}')
    write_journal(ground.live(), [_START])
    return Expect(refused="it is not used")


def _live_file(ground: Ground, name: str, what: str) -> Expect:
    """A file of the live folder is a link or a pipe."""
    folder = ground.live()
    write_journal(folder, [_START, ("source", {"source": {}, "tree": "1" * 40, "requirements": ""})])
    (folder / name).unlink(missing_ok=True)
    if what == "a pipe":
        os.mkfifo(folder / name)
    elif what == "a link outside":
        (folder / name).symlink_to(ground.outside / "secret")
    elif what == "a link to nothing":
        (folder / name).symlink_to(ground.outside / "planted")
    else:
        (folder / name).mkdir()
    return Expect(evil=RUN)


def _code_bomb(ground: Ground) -> Expect:
    folder = ground.live()
    write_journal(folder, [_START, ("source", {"source": {}, "tree": "1" * 40, "requirements": ""})])
    packer = zlib.compressobj(1)
    packed = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(600)), packer.flush()])
    (folder / "code.objects").write_bytes(struct.pack("<BQ", 3, len(packed)) + packed)
    return Expect(evil=RUN)


def _code_lies(ground: Ground) -> Expect:
    folder = ground.live()
    write_journal(folder, [_START, ("source", {"source": {}, "tree": "1" * 40, "requirements": ""})])
    (folder / "code.objects").write_bytes(struct.pack("<BQ", 3, 1 << 62) + b"x" + struct.pack("<BQ", 99, 1) + b"x")
    return Expect(evil=RUN)


def _endless(ground: Ground) -> Expect:
    """A journal of a terabyte that takes no room on the disk."""
    path = write_journal(ground.live(), [_START])
    os.truncate(path, 1 << 40)
    os.utime(path, (0, 0))
    return Expect(evil=RUN)


def _many_streams(ground: Ground) -> Expect:
    """2,000 streams in one run, each with its own writer."""
    folder = ground.live()
    for number in range(2000):
        write_journal(folder, [_START], name=f"{number}.log")
    return Expect(evil=RUN)


def _writer(ground: Ground, writer: Mapping[str, object]) -> Expect:
    write_journal(ground.live(), [_START], writer=writer)
    return Expect(evil=RUN)


def _here(**fields: object) -> dict[str, object]:
    import platform

    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    here = {"host": platform.node(), "boot": boot, "space": os.readlink("/proc/self/ns/pid"), "started": "1"}
    return {**here, "pid": 1, "detached": False, **fields}


def _lock_note(ground: Ground, note: str) -> None:
    """The write lock's note names a ref lock that is none of ours, or none at all."""
    ground.run()
    other = ground.git_dir / "refs/heads/main.lock"
    other.write_text("1" * 40 + "\n")
    lock = ground.git_dir / "gittrack/lock"
    lock.write_text(note)
    os.utime(lock, (0, 0))


def _lock_is(ground: Ground, what: str) -> Expect:
    ground.run()
    write_journal(ground.live(), [_START])
    lock = ground.git_dir / "gittrack/lock"
    lock.unlink()
    if what == "a pipe":
        os.mkfifo(lock)
    elif what == "a link outside":
        lock.symlink_to(ground.outside / "secret")
    else:
        lock.symlink_to(ground.outside / "planted")
    return Expect(refused="it is not used")


def _aside(ground: Ground) -> None:
    """Folders as a dying process leaves them, that lead elsewhere."""
    ground.run()
    live = ground.git_dir / "gittrack/live"
    (live / f"{RUN}.gone-1").symlink_to(ground.outside)
    (live / f"{'a' * 32}.gone-99999999999999999999").mkdir()
    (live / f"{'b' * 32}.gone-1").write_text("no folder")
    (live / ("c" * 32)).write_text("no folder")
    (live / "\x1b[2J").mkdir()


def _spool(ground: Ground) -> Expect:
    """The spool among everybody's temporary files is a link that another user made."""
    (ground.root / "tmp" / f"gittrack-{os.getuid()}").symlink_to(ground.outside)
    write_journal(ground.live(), [_START, ("spared_to", {"path": str(ground.outside)})])
    return Expect(evil=RUN)


def _resumed(ground: Ground) -> Expect:
    """A live folder for an honest run: points for a metric that it has, and a forged end."""
    honest = ground.git(
        "for-each-ref", "--format=%(trailers:key=Gittrack-Run,valueonly)", "refs/heads/gittrack/honest"
    )
    events = [("resume", {}), ("param", {"params": {"lr": 9}}), ("end", {"status": "FAILED", "ended_at": "x"})]
    write_journal(ground.live(honest.strip()), events)
    return Expect(honest=(0,), changed=(1,))


def _resumed_bomb(ground: Ground) -> Expect:
    """A live folder for a run whose history in git is a bomb."""
    ground.run(
        {"metrics/k0.csv": (b"100644", ground.zeros(300)), "artifacts/x": pointer("ab" * 32, 7)}, run_id=RUN
    )
    write_journal(ground.live(), [("resume", {})], raw=_points(1))
    return Expect(evil=RUN, fsck_free="git fsck holds a whole object in memory")


_BAD_EVENTS: Mapping[str, Sequence[tuple[str, object]]] = {
    "no event": [("x", [1, 2, 3])],
    "a start without fields": [("start", {})],
    "fields of other types": [
        ("param", {"params": [1]}), ("param", {"params": {"a": {"b": [1]}}}), ("tag", {"tags": 5}), ("tag", {"tags": {"a": 1}}),
        ("untag", {"key": []}), ("set", {"name": 7, "note": [], "status": {}, "lifecycle": 1}), ("source", {"source": 5}),
        ("source", {"source": {"commit": 5, "extra": 1}, "requirements": 7, "tree": 8}), ("input", {"dataset": 1}),
        ("input", {"dataset": {"name": {}}}), ("artifact", {}), ("points", {"values": 5}), ("shape", {"id": "x", "keys": 1}),
        ("end", {"status": 5, "ended_at": "x"}), ("resume", 7),
    ],
    "a status of its own": [("end", {"status": "PWNED\x1b[2J", "ended_at": 1})],
    "a time without an end": [("end", {"status": "FINISHED", "ended_at": 10**400})],
    "an experiment that is a path": [("set", {"name": "../../x"}), ("start", {"experiment": "../../../x", "started_at": 1})],
    "a tree that is a path": [("source", {"source": {}, "tree": "../../../../outside/secret", "requirements": ""})],
    "points of odd keys": [("points", {"values": {"../../../x": 1.0, "a\x1b[2Jb": 2.0, "": 3.0, "/abs": 4.0, ".git/config": 5.0}, "step": 0})],
    "points that are none": [("points", {"values": {"a": "x", "b": None, "c": [1]}, "step": "y"})],
    "events without a time": [("tag", {"t": "x", "tags": {"a": "b"}}), ("tag", {"t": None, "tags": {}}), ("tag", {"t": 1e308, "tags": {}})],
    "escape sequences": [("set", {"name": "\x1b[2J\x07\u202e", "note": "\x9b31m"}), ("tag", {"tags": {"\x1b[2J": "\x1b]0;x\x07"}})],
    "artifacts that lead outside": [
        _artifact(path, "ab" * 32) for path in ("../../x", "/etc/planted", ".git/config", "a/../../x", "a\x1b[2J", "", "x" * 5000, "a\\b")
    ],
    "artifacts of other types": [_artifact("x", 5), _artifact("y", "ab" * 32, "x"), _artifact("z", "ab" * 32, -1), _artifact("w", "ab" * 32, mode="x")],
    "artifacts of other modes": [_artifact("x", "ab" * 32, mode=0o160000), _artifact("y", "ab" * 32, mode=0o40000), _artifact("z", "ab" * 32, mode=-1)],
}  # fmt: skip
_BAD_RECORDS: Mapping[str, bytes] = {
    "an event of 4 GB": struct.pack("<III", 1, 0xFFFFFFFF, 0) + b"x" * 1000,
    "10,000 levels of JSON": _record(b'{"e":"tag","t":1,"tags":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "an integer of 100,000 digits": _record(b'{"e":"tag","t":' + b"9" * 100_000 + b',"tags":{}}'),
    "20 MB of lists": _record(b'{"e":"tag","t":1,"tags":[' + b"[]," * (7 << 20) + b"[]]}"),
    "no JSON": _record(b"\xff\xfe\x00{"),
    "a shape of a million keys": _points(1_000_000),
    "a shape told anew, with other keys": _points(1) + _points(3),
    "a shape of events' own number": _event("shape", {"id": 1, "keys": ["a"]}) + _points(1),
    "a shape of odd keys": _event("shape", {"id": 17, "keys": [1, None, {"a": 1}]}) + struct.pack("<Iq4dQ", 17, 1, 1.0, 1.0, 1.0, 1.0, SEAL),
    "points of NaN times and steps": _points(1) + struct.pack("<IqddQ", 16, -(1 << 63), float("nan"), float("nan"), SEAL)
    + struct.pack("<IqddQ", 16, (1 << 63) - 1, float("inf"), float("-inf"), SEAL),
    "seals alone": struct.pack("<Q", SEAL) * 200_000,
    "noise": bytes(range(256)) * 4096,
}  # fmt: skip

CASES: dict[str, Callable[[Ground], Expect | None]] = {
    **{f"a dead run with {name}": partial(_events, events=events) for name, events in _BAD_EVENTS.items()},
    **{f"a live run with {name}": partial(_alive, events=_BAD_EVENTS[name]) for name in ("no event", "fields of other types", "artifacts that lead outside", "escape sequences")},
    **{f"a journal with {name}": partial(_raw, raw=raw) for name, raw in _BAD_RECORDS.items()},
    **{
        f"a {state} run's artifact that is {what}": partial(_staged, what=what, age_s=age_s)
        for state, age_s in (("dead", 1e7), ("live", 0.0))
        for what in ("a link outside", "a pipe", "a folder", "behind a linked folder", "named by a path", "named by a way up")
    },
    "a live folder that is a link": _folder_is_link,
    "a folder of live runs that is a link": _live_is_link,
    "gittrack's folder that is a link": _state_is_link,
    "a folder of temporary files that is a link": _tmp_is_link,
    **{
        f"a live folder whose {name} is {what}": partial(_live_file, name=name, what=what)
        for name in ("1.log", "2.log", "signal", "code.objects", "fold.lock")
        for what in ("a pipe", "a link outside", "a link to nothing", "a folder")
    },
    "changed code that is a bomb": _code_bomb,
    "changed code that lies of its size": _code_lies,
    "a journal without an end": _endless,
    "2,000 journals": _many_streams,
    "a writer that is process 1": partial(_writer, writer=_here()),
    "a writer that is a text": partial(_writer, writer=_here(pid="1; touch x")),
    "a writer with a pid of 10^30": partial(_writer, writer=_here(pid=10**30)),
    "a writer with a pid of -1": partial(_writer, writer=_here(pid=-1)),
    "a writer of lists": partial(_writer, writer={"host": [], "boot": {}, "pid": True, "t": "x", "detached": []}),
    "a lock's note that names another's lock": partial(_lock_note, note='{"pid": 1, "ref": "refs/heads/main", "new": "' + "1" * 40 + '"}'),
    "a lock's note that leads outside": partial(_lock_note, note='{"pid": 1, "ref": "../../outside/secret", "new": ""}'),
    "a lock's note of noise": partial(_lock_note, note="[[[[\x1b"),
    "a lock's note of other types": partial(_lock_note, note='{"pid": [], "ref": 5, "new": {}}'),
    **{f"a lock that is {what}": partial(_lock_is, what=what) for what in ("a pipe", "a link outside", "a link to nothing")},
    "folders set aside that lead elsewhere": _aside,
    "a spool that is a link": _spool,
    "a live folder for an honest run": _resumed,
    "a live folder for a run that is a bomb": _resumed_bomb,
}  # fmt: skip
