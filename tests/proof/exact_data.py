"""Values of every kind, logged and read back by the API, the command line and plain git: the same, or refused.

Doubles go in bulk, compared bit by bit. All else is made by hypothesis: params, tags, keys, steps, times, names,
notes, artifact paths. What is right is said here by Python's own rules: a param keeps its type, a tag is its
text, a metric's value is what ``float()`` makes of it, a step is a whole number of 64 bits.
"""

from __future__ import annotations

import io
import json
import math
import random
import re
import struct
import subprocess
import traceback
from collections.abc import Callable, Iterable
from contextlib import chdir
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings

import gittrack
from gittrack.errors import GittrackError
from tests.harness import Repo
from tests.proof import odd_values
from tests.proof.arena import Stopwatch, find_unsound, in_process, new_repo, run_command
from tests.proof.tally import Tally

PROMISE = (
    "What is logged is read back exactly, by the API, the command line and plain git, or is refused at the call"
)
UNIT = "values"
FULL = 1_000_000
SLICE = 20_000
VALUES_AN_EXAMPLE = 200  # so many doubles in bulk for each made example, which is a run of a dozen odd values

_RUN_OF_DOUBLES = 60_000
_EXAMPLES_A_REPOSITORY = 500


def attack(count: int, seed: int, folder: Path) -> Tally:
    """Send so many doubles through, and a made run for every 200 of them."""
    watch = Stopwatch()
    bulk = in_process(folder / "bulk", lambda: _try_doubles(folder / "bulk", count, seed))
    losses, tried, seen = list(bulk.losses), bulk.tried, dict(bulk.seen)
    seen["seconds for doubles"] = watch.seconds
    rest = max(1, count // VALUES_AN_EXAMPLE)
    for number in range(0, rest, _EXAMPLES_A_REPOSITORY):
        place, size = folder / f"made-{number}", min(_EXAMPLES_A_REPOSITORY, rest - number)
        made = in_process(
            place, lambda place=place, size=size, number=number: _try_made(place, size, seed + number)
        )
        losses += made.losses
        tried += made.tried
        for name, value in made.seen.items():
            seen[name] = seen.get(name, 0) + value
    return Tally(tried, losses, {**seen, "seconds": watch.seconds})


def control(count: int, seed: int, folder: Path) -> Tally:
    """The same with rows written by ``%g``, and with texts brought into another normal form of Unicode."""
    watch = Stopwatch()

    def spoil_numbers() -> Tally:
        from gittrack.store import histories

        histories.format_rows = _format_rows_by_g
        return _try_doubles(folder / "bulk", min(count, 1000), seed)

    def spoil_texts() -> Tally:
        import unicodedata

        from gittrack.schema import canonical

        plain = canonical._quote
        canonical._quote = lambda text: unicodedata.normalize("NFC", plain(text))
        return _try_made(folder / "made", max(400, count // VALUES_AN_EXAMPLE), seed, Phase.generate)

    numbers = in_process(folder / "bulk", spoil_numbers)
    texts = in_process(folder / "made", spoil_texts)
    missed = [name for name, tally in (("%g", numbers), ("NFC", texts)) if not tally.losses]
    losses = [] if missed else [*numbers.losses, *texts.losses]
    seen = {"lost by %g": len(numbers.losses), "lost by NFC": len(texts.losses), "seconds": watch.seconds}
    return Tally(numbers.tried + texts.tried, losses, seen)


def _format_rows_by_g(steps: Iterable[int], times_s: Iterable[float], values: Iterable[float]) -> str:
    rows = zip(steps, times_s, values, strict=True)
    return "".join(f"{step},{round(time_s * 1e3)},{value:g}\n" for step, time_s, value in rows)


# -- doubles in bulk -----------------------------------------------------------------------------------------


def _try_doubles(folder: Path, count: int, seed: int) -> Tally:
    repo = new_repo(folder, "repo")
    losses: list[str] = []
    with chdir(repo.path):
        for begin in range(0, count, _RUN_OF_DOUBLES):
            values = _make_doubles(min(_RUN_OF_DOUBLES, count - begin), random.Random(f"{seed}-{begin}"))
            losses += _try_one_run(repo, values, f"doubles from {begin} on")
    return Tally(count, [*losses, *find_unsound(repo)], {"doubles": count})


def _make_doubles(count: int, source: random.Random) -> list[float]:
    """Doubles of all sizes: any bits, subnormals, short decimals, neighbours of whole numbers."""
    special = [
        0.0,
        -0.0,
        math.inf,
        -math.inf,
        math.nan,
        5e-324,
        -5e-324,
        2.2250738585072014e-308,
        1.7976931348623157e308,
    ]
    special += [2.0**63, -(2.0**63), 2.0**53 + 2, 1e16, 1e22, 1e23, 9007199254740993.0, 0.1 + 0.2, 1 / 3]
    size = count // 4
    bits = struct.unpack(f"<{2 * size}d", source.randbytes(16 * size))
    subnormal = [struct.unpack("<d", struct.pack("<Q", source.getrandbits(52)))[0] for _ in range(size)]
    decimal = [round(source.uniform(-1e4, 1e4), source.randrange(8)) for _ in range(size // 2)]
    beside = [math.nextafter(float(source.randrange(1 << 54)), math.inf) for _ in range(size // 2)]
    values = [*special, *bits, *subnormal, *decimal, *beside]
    values += [source.gauss(0, 1) for _ in range(count - len(values))]
    source.shuffle(values)
    return values[:count]


def _try_one_run(repo: Repo, values: list[float], where: str) -> list[str]:
    """One run with a short metric that stays in git and a long one behind a pointer."""
    at = len(values) // 6
    wanted = {"short": values[:at], "long": values[at:]}
    with gittrack.start_run() as run:
        for step, value in enumerate(wanted["short"]):
            run.log({"short": value}, step)
        for step, value in enumerate(wanted["long"]):
            gittrack.log_metric("long", value, step)
    losses = []
    for key, expected in wanted.items():
        by_json = json.loads(run_command(repo.path, "show", run.info.run_id, "-m", key, "--json"))
        found = {
            "the API": [point.value for point in gittrack.get_metric_history(run.info.run_id, key)],
            "plain git": [
                value for _, _, value in _parse_csv(_read_csv(repo, f"gittrack/Default:metrics/{key}.csv"))
            ],
            "show --json": [float(point["value"]) for point in by_json],
        }
        for reader, read in found.items():
            losses += _compare_bits(f"{where}, {key} by {reader}", expected, read)
    return losses


def _compare_bits(where: str, wanted: list[float], found: list[float]) -> list[str]:
    if len(wanted) != len(found):
        return [f"{where}: {len(found)} of {len(wanted)} are there"]
    pairs = zip(wanted, found, strict=True)
    return [f"{where}: {one!r} became {other!r}" for one, other in pairs if not _is_same(one, other)]


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values are the same in type and in every bit; NaN is NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or struct.pack("<d", one) == struct.pack("<d", other)
    return bool(one == other)


# -- made runs -----------------------------------------------------------------------------------------------


@dataclass
class Kept:
    """What a run must hold by what was not refused, and how many values were taken and refused on the way."""

    run_id: str
    name: str | None = None
    note: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    points: dict[str, list[tuple[int, int | None, float]]] = field(default_factory=dict)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    taken: int = 0
    refused: int = 0

    def ask(self, what: str, must_be: bool | None, call: Callable[[], Any]) -> bool:
        """Whether a call was taken; one that must be (True) or must not be (False) taken is held to it."""
        refusal = _find_refusal(call)
        if refusal is None:
            assert must_be is not False, f"{what}: taken though it cannot be kept"
            self.taken += 1
            return True
        assert isinstance(refusal, ValueError), f"{what}: refused by {type(refusal).__name__}, no ValueError"
        assert len(refusal.message.splitlines()) == 1, f"{what}: refused in {refusal.message!r}"
        assert must_be is not True, f"{what}: refused though it is sound: {refusal.message}"
        self.refused += 1
        return False


def _find_refusal(call: Callable[[], Any]) -> GittrackError | None:
    try:
        call()
    except GittrackError as error:
        return error
    return None


def _try_made(folder: Path, count: int, start: int, *phases: Phase) -> Tally:
    """Make so many runs in one repository; the first that is not as it should be is made as small as can be."""
    repo = new_repo(folder, "repo")
    every: list[Kept] = []

    @seed(start)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        phases=phases or (Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(odd_values.MADE)
    def try_one(made: odd_values.Made) -> None:
        kept = _log(made)
        _check_api(kept)
        _check_git(repo, kept)
        every.append(kept)

    losses = []
    with chdir(repo.path):
        try:
            try_one()
        except Exception as error:
            losses.append(f"seed {start}: {_describe(error)}")
        losses += _check_command_line(repo, every, random.Random(start))
    taken, refused = sum(kept.taken for kept in every), sum(kept.refused for kept in every)
    seen = {"made runs": len(every), "odd values kept": taken, "odd values refused": refused}
    return Tally(taken + refused, [*losses, *find_unsound(repo)], seen)


def _describe(error: Exception) -> str:
    """An error, where it rose, and the smallest run that makes it."""
    notes = " ".join(" ".join(getattr(error, "__notes__", ())).split())
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    return f"{str(error)[:800] or repr(error)} (at {', '.join(places[-5:])}) {notes[:1500]}"


def _log(made: odd_values.Made) -> Kept:
    kept = Kept("")
    experiment = _make_experiment(kept, made.experiment)
    if made.name:  # without one a random name is made up
        sound = _is_name(made.name)
        start = partial(gittrack.start_run, run_name=made.name, experiment_id=experiment)
        kept.name = made.name if kept.ask(f"name {made.name!r}", sound, start) else None
    run = gittrack.active_run() or gittrack.start_run(experiment_id=experiment)
    kept.run_id = run.info.run_id
    try:
        if kept.ask(f"note {made.note!r}", odd_values.is_text(made.note), partial(run.set_note, made.note)):
            kept.note = made.note
        _log_params_and_tags(kept, made)
        for point in made.points:
            _log_point(kept, *point)
        for path, data in made.artifacts.items():
            if kept.ask(f"artifact {path!r}", None, partial(run.log_stream, io.BytesIO(data), path)):
                _put_artifact(kept, path, data)
    finally:
        gittrack.end_run()
    return kept


def _log_params_and_tags(kept: Kept, made: odd_values.Made) -> None:
    for key, value in made.params.items():
        wanted, sound = odd_values.wanted_param(value)
        what = f"param {key!r}: {odd_values.show(value)}"
        if kept.ask(what, odd_values.may_be(key, sound), partial(gittrack.log_param, key, value)):
            kept.params[key] = wanted
    for key, value in made.tags.items():
        text = odd_values.text_of(value)
        what, sound = f"tag {key!r}: {odd_values.show(value)}", text is not None and odd_values.is_text(text)
        if kept.ask(what, odd_values.may_be(key, sound), partial(gittrack.set_tag, key, value)):
            kept.tags[key] = str(text)


def _is_name(name: str) -> bool:
    return odd_values.is_text(name) and bool(name.strip()) and len(name) <= 500


def _make_experiment(kept: Kept, name: str | None) -> str | None:
    """An experiment of that name, new or known; its id, or None where the name is refused or not given."""
    if name is None:
        return None
    made = gittrack.get_experiment_by_name(name)
    if made is None:
        if not kept.ask(f"experiment {name!r}", _is_name(name), partial(gittrack.create_experiment, name)):
            return None
        made = gittrack.get_experiment_by_name(name)
    assert made is not None, f"experiment {name!r} is not found"
    assert gittrack.get_experiment(made.experiment_id).name == name, f"experiment {name!r} became another"
    return made.experiment_id


def _put_artifact(kept: Kept, path: str, data: bytes) -> None:
    """A file takes the place of a folder of its name, and of a file where it needs a folder."""
    for other in list(kept.artifacts):
        if other.startswith(path + "/") or path.startswith(other + "/"):
            del kept.artifacts[other]
    kept.artifacts[path] = data


def _log_point(kept: Kept, key: str, value: Any, step: Any, timestamp: Any) -> None:
    number, whole, moment = (
        odd_values.wanted_metric(value),
        odd_values.wanted_step(step),
        odd_values.wanted_time(timestamp),
    )
    sound = number is not None and whole is not None and (timestamp is None or moment is not None)
    what = f"metric {key!r} = {odd_values.show(value)} at {odd_values.show(step)}, {odd_values.show(timestamp)}"
    must_be = odd_values.may_be(key, sound) if sound else False
    if kept.ask(what, must_be, lambda: gittrack.log_metric(key, value, step, timestamp=timestamp)):
        kept.points.setdefault(key, []).append((whole, moment, number))


# -- reading back --------------------------------------------------------------------------------------------


def _check_api(kept: Kept) -> None:
    record = gittrack.get_run(kept.run_id).record
    assert record.status == "FINISHED"
    _check_mapping(kept, "params by the API", kept.params, dict(record.params))
    _check_mapping(kept, "tags by the API", kept.tags, dict(record.tags))
    assert kept.name in (None, record.name), f"name {kept.name!r} became {record.name!r}"
    assert record.note == kept.note, f"note {kept.note!r} became {record.note!r}"
    assert sorted(record.metrics) == sorted(kept.points), (
        f"metrics {list(kept.points)} became {list(record.metrics)}"
    )
    for key in kept.points:
        found = [(one.step, one.timestamp, one.value) for one in gittrack.get_metric_history(kept.run_id, key)]
        _check_points(f"metric {key!r} by the API", kept.points[key], found)


def _check_git(repo: Repo, kept: Kept) -> None:
    """By plain git and PyYAML: the run's commit, found by its trailer, as any other program would."""
    find = ("log", "--branches=gittrack/*", "-1", "--format=%H", f"--grep=^Gittrack-Run: {kept.run_id}$")
    commit = repo.git(*find).strip()
    files = _list_files(repo, commit)
    params = _load_yaml(_read_csv(repo, f"{commit}:params.yaml"))
    _check_mapping(kept, "params by git", kept.params, params)
    run = _load_yaml(_read_csv(repo, f"{commit}:run.yaml"))
    _check_mapping(kept, "tags by git", kept.tags, run.get("tags", {}))
    assert run.get("note", "") == kept.note, f"note {kept.note!r} became {run.get('note')!r}"
    assert kept.name in (None, run["name"]), f"name {kept.name!r} became {run['name']!r}"
    histories = {_key_of(path): path for path in files if path.startswith("metrics/")}
    assert sorted(histories) == sorted(kept.points), f"metrics {list(kept.points)} became {list(histories)} in git"
    for key, path in histories.items():
        found = _parse_csv(repo.git("cat-file", "blob", files[path]))
        _check_points(f"metric {key!r} by git", kept.points[key], found)
    artifacts = {path.removeprefix("artifacts/"): path for path in files if path.startswith("artifacts/")}
    assert sorted(artifacts) == sorted(kept.artifacts), (
        f"artifacts {list(kept.artifacts)} became {list(artifacts)}"
    )
    for path, data in kept.artifacts.items():
        assert _read_blob(repo, files[artifacts[path]]) == data, f"artifact {path!r} became another"


def _check_command_line(repo: Repo, every: list[Kept], source: random.Random) -> list[str]:
    """All runs by ``ls --json``, some by ``show --json`` and the history of a metric in each."""
    losses, listed = [], {run["id"]: run for run in json.loads(run_command(repo.path, "ls", "--json"))}
    shown = source.sample(every, min(4, len(every)))
    for kept in every:
        try:
            _check_json(kept, listed[kept.run_id])
        except (AssertionError, KeyError) as error:
            losses.append(f"ls --json: {error}")
    for kept in shown:
        try:
            _check_json(kept, json.loads(run_command(repo.path, "show", kept.run_id, "--json")))
            for key in list(kept.points)[:1]:
                told = json.loads(run_command(repo.path, "show", kept.run_id, f"--metric={key}", "--json"))
                found = [(one["step"], one["timestamp"], float(one["value"])) for one in told]
                _check_points(f"metric {key!r} by show", kept.points[key], found)
        except AssertionError as error:
            losses.append(f"show --json: {error}")
    return losses


def _check_json(kept: Kept, told: dict[str, Any]) -> None:
    params = {key: _as_json(value) for key, value in kept.params.items()}
    _check_mapping(kept, "params by JSON", params, told["params"])
    _check_mapping(kept, "tags by JSON", kept.tags, told["tags"])
    assert (kept.name or told["name"], kept.note) == (told["name"], told["note"]), f"{kept.name!r}, {kept.note!r}"
    assert sorted(told["metrics"]) == sorted(kept.points)
    for key, points in kept.points.items():
        summary, values = told["metrics"][key], [value for _, _, value in points]
        assert summary["count"] == len(points), f"{key!r}: {summary}"
        assert _is_same(float(summary["first"]), values[0]), f"{key!r}: {summary}"


def _as_json(value: Any) -> Any:
    """JSON has no NaN and no infinities: they are texts there."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _check_mapping(kept: Kept, what: str, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    assert sorted(wanted) == sorted(found), f"{what} of {kept.run_id}: {sorted(wanted)} became {sorted(found)}"
    for key, value in wanted.items():
        assert _is_same(value, found[key]), f"{what} of {kept.run_id}: {key!r}: {value!r} became {found[key]!r}"[
            :600
        ]


def _check_points(
    what: str, wanted: list[tuple[int, int | None, float]], found: list[tuple[int, int, float]]
) -> None:
    assert len(wanted) == len(found), f"{what}: {wanted} became {found}"
    for (step, moment, value), (its_step, its_moment, its_value) in zip(wanted, found, strict=True):
        same = step == its_step and moment in (None, its_moment) and _is_same(value, its_value)
        assert same, f"{what}: {(step, moment, value)} became {(its_step, its_moment, its_value)}"


def _key_of(path: str) -> str:
    """The metric of a file, as `.gittrack-schema` tells: percent-encoded, long names in folders behind a '%'."""
    return unquote(path.removeprefix("metrics/").removesuffix(".csv").replace("%/", ""))


def _parse_csv(text: str) -> list[tuple[int, int, float]]:
    head, *rows = text.splitlines()
    assert head == "step,timestamp,value"
    cells = (row.split(",") for row in rows)
    return [(int(step), int(moment), float(value)) for step, moment, value in cells]


def _load_yaml(text: str) -> Any:
    return yaml.load(text, Loader=yaml.CSafeLoader) or {}


def _list_files(repo: Repo, commit: str) -> dict[str, str]:
    """Blob ids by path."""
    listed = repo.git("ls-tree", "-r", "-z", "--full-tree", commit)
    lines = (line.partition("\t") for line in listed.split("\0") if line)
    return {path: head.split(" ")[2] for head, _, path in lines}


def _read_csv(repo: Repo, name: str) -> str:
    """A file's text by its name in git; one behind a pointer from Git LFS's store."""
    return _follow(repo, _run_git(repo, "cat-file", "blob", name)).decode()


def _read_blob(repo: Repo, object_id: str) -> bytes:
    return _follow(repo, _run_git(repo, "cat-file", "blob", object_id))


def _run_git(repo: Repo, *words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=repo.path, capture_output=True, check=True).stdout


def _follow(repo: Repo, data: bytes) -> bytes:
    found = re.fullmatch(
        rb"version https://git-lfs.github.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize \d+\n", data
    )
    if found is None:
        return data
    oid = found[1].decode()
    return (repo.path / ".git/lfs/objects" / oid[:2] / oid[2:4] / oid).read_bytes()
