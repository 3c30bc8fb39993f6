"""What is done while a process is killed or its disk fails: each a script of calls, told before and after.

A script yields pairs: the steps that a call takes (`tests.proof.ledger`), and the call. Every script begins in a
world that was prepared by another script, whose steps are as acknowledged as its own.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gittrack as gt
from gittrack.tracking import settings
from tests.proof import ledger
from tests.proof.ledger import Step, artifact, begin, on, points, record, revision
from tests.proof.world import World, gittrack

Call = tuple[list[Step], Callable[[], Any]]
Script = Callable[[World], Iterator[Call]]

BIG = bytes(range(256)) * 10_240  # 2.5 MiB that are no text: three writes, then Git LFS
TEXT = "loss falls\n" * 40


@dataclass(frozen=True, slots=True)
class Scenario:
    """One script.

    Attributes:
        prepare: what stands already when it begins; without gittrack's own files where it is None.
        environment: variables that are set for it.
        is_training: its calls are those of a training loop, which no exception may reach.
    """

    name: str
    script: Script
    prepare: Script | None
    is_training: bool = True
    environment: tuple[tuple[str, str], ...] = ()


def start(name: str, **options: Any) -> Call:
    return on_begin(name), partial(gt.start_run, run_name=name, **options)


def on_begin(name: str, experiment: str = "Default") -> list[Step]:
    return [begin(name, experiment)]


def end(name: str, status: str = "FINISHED") -> Call:
    return on(name, ["end", status]), partial(gt.end_run, status)


def text(name: str, content: str, path: str) -> Call:
    return on(name, artifact(path, content.encode())), partial(gt.log_text, content, path)


def blob(name: str, data: bytes, path: str) -> Call:
    return on(name, artifact(path, data)), partial(gt.log_stream, io.BytesIO(data), path)


def metric(name: str, step: int, **values: float) -> Call:
    return on(name, record(step, **values)), partial(gt.log, values, step)


def params(name: str, /, **values: Any) -> Call:
    return (
        on(name, ["all", [["param", key, ledger.to_json(value)] for key, value in values.items()]]),
        partial(gt.log_params, values),
    )


def tag(name: str, key: str, value: str) -> Call:
    return on(name, ["tag", key, value]), partial(gt.set_tag, key, value)


def command(steps: list[Step], *words: str) -> Call:
    return steps, partial(gittrack, *words)


# -- what stands already -------------------------------------------------------------------------------------


def two_runs(world: World) -> Iterator[Call]:
    """Two finished runs, in two experiments; the branch of one is packed."""
    world.make_repository()
    yield from small_run("old")
    world.git("pack-refs", "--all")
    yield [["experiment", "vision/b", {"lifecycle": "active", "tags": {}}]], partial(gt.set_experiment, "vision/b")
    yield [begin("older", "vision/b")], partial(gt.start_run, run_name="older")
    yield metric("older", 0, loss=0.25)
    yield blob("older", BIG[:3000], "weights.bin")
    yield end("older")
    settings._Chosen.experiment = None


def small_run(name: str) -> Iterator[Call]:
    yield start(name)
    yield params(name, lr=0.1, layers=3, name="abc")
    yield metric(name, 0, loss=0.5, acc=0.1)
    yield metric(name, 1, loss=float("nan"), acc=-0.0)
    yield tag(name, "who", "ada")
    yield text(name, TEXT, "notes.txt")
    yield blob(name, BIG[:2000], "model/weights.bin")
    yield end(name)


def dead_runs(world: World) -> Iterator[Call]:
    """Beside the two, runs whose processes died: one at work, one in resuming, one at its end."""
    yield from two_runs(world)
    yield from _die(_in_flight("dead"))
    yield from _die(_in_resuming(world))
    yield from _die(_at_its_end("ended"))


def _die(calls: Iterator[Call]) -> Iterator[Call]:
    """Calls that a child makes that dies then."""
    listed = []
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        for _, call in calls:
            call()
        os.write(writing, b"x")
        os._exit(0)
    os.close(writing)
    assert os.read(reading, 1) == b"x"
    os.close(reading)
    os.waitpid(pid, 0)
    for steps, _ in calls:
        listed += steps
    yield listed, lambda: None


def _in_flight(name: str) -> Iterator[Call]:
    yield start(name)
    yield params(name, lr=0.2)
    for step in range(200):
        yield metric(name, step, loss=1 / (step + 1), acc=step / 7)
    yield tag(name, "who", "bob")
    yield text(name, TEXT, "notes.txt")
    yield blob(name, BIG, "weights.bin")


def _in_resuming(world: World) -> Iterator[Call]:
    run_id = find_id(world, "old")
    yield on("old", ["resume"]), partial(gt.start_run, run_id)
    yield metric("old", 2, loss=0.125, acc=0.5)
    yield text("old", "more", "more.txt")


def _at_its_end(name: str) -> Iterator[Call]:
    yield start(name)
    yield metric(name, 0, loss=0.5)

    def say_it_ends() -> None:
        run = gt.active_run()
        assert run is not None
        run._session.journal.append_event("end", {"status": "FAILED", "ended_at": 1_700_000_000_000, "error": ""})

    yield on(name, ["end", "FAILED"]), say_it_ends


def find_id(world: World, name: str) -> str:
    from tests.proof.world import open_store

    return open_store(world).resolve(name).record.id


def started(world: World) -> Iterator[Call]:
    """Beside the two, a run that commands log to."""
    yield from two_runs(world)
    yield command([begin("shared", shared=True)], "start", "--name", "shared")
    yield command(on("shared", points("loss", (0, 0.5))), "log", "metric", "loss=0.5")


# -- scripts -------------------------------------------------------------------------------------------------


def log(world: World) -> Iterator[Call]:
    """A run that grows its journal past two windows, by long params and by points, with tags between."""
    yield start("log")
    steps: list[Step] = []
    for turn in range(3):
        yield params("log", **{f"p{turn}": turn * 1.5, f"q{turn}": str(turn) * 45_000})
        steps, batch = [], []
        for at in range(80):
            step = turn * 80 + at
            values = {f"m{number}": step / (number + 3) for number in range(25)}
            steps += on("log", record(step, **values))
            batch.append((values, step))
        yield steps, lambda batch=batch: [gt.log(values, step) for values, step in batch]  # type: ignore[func-returns-value,misc]
        yield tag("log", "turn", str(turn))
    yield end("log")


def log_synced(world: World) -> Iterator[Call]:
    """Every record is written and synced before its call returns."""
    yield start("synced")
    for step in range(12):
        yield metric("synced", step, loss=step / 3, acc=float(step))
        if step % 4 == 0:
            yield params("synced", **{f"p{step}": step})
    yield text("synced", TEXT, "notes.txt")
    yield end("synced")


def finish(world: World) -> Iterator[Call]:
    yield from small_run("new")
    yield from small_run("newer")


def finish_failed(world: World) -> Iterator[Call]:
    """The exception of a with block ends the run as FAILED."""
    runs: list[gt.ActiveRun] = []
    yield [begin("failing")], lambda: runs.append(gt.start_run(run_name="failing"))
    yield metric("failing", 0, loss=1.5)

    def fail() -> None:
        try:
            with runs[0]:
                raise ZeroDivisionError("a bad batch")
        except ZeroDivisionError:
            pass

    yield on("failing", ["end", "FAILED"]), fail


def finish_long(world: World) -> Iterator[Call]:
    """A history over git's own limit goes to Git LFS."""
    yield start("long")
    rows = [(step, 1 / (step + 1)) for step in range(28_000)]
    yield on("long", points("loss", *rows)), lambda: [gt.log({"loss": value}, step) for step, value in rows]
    yield end("long")


def nested(world: World) -> Iterator[Call]:
    yield start("outer")
    yield metric("outer", 0, loss=1.0)
    yield start("inner", nested=True)
    yield metric("inner", 0, loss=2.0)
    yield end("inner")
    yield metric("outer", 1, loss=0.5)
    yield end("outer")


def resume(world: World) -> Iterator[Call]:
    run_id = find_id(world, "old")
    yield on("old", ["resume"]), partial(gt.start_run, run_id)
    yield metric("old", 7, loss=0.0625, extra=3.0)
    yield text("old", "changed", "notes.txt")
    yield end("old")


def artifacts(world: World) -> Iterator[Call]:
    folder = world.folder / "given"
    (folder / "deep").mkdir(parents=True, exist_ok=True)
    (folder / "a.txt").write_text("a")
    (folder / "deep/b.bin").write_bytes(BIG[:70_000])
    (folder / "deep/run.sh").write_text("#!/bin/sh\n")
    (folder / "deep/run.sh").chmod(0o755)
    (folder / "link").unlink(missing_ok=True)
    (folder / "link").symlink_to("a.txt")
    yield start("files")
    yield text("files", TEXT, "texts/notes.txt")
    yield blob("files", BIG, "big/weights.bin")
    listed = [
        artifact("given/a.txt", b"a"),
        artifact("given/deep/b.bin", BIG[:70_000]),
        artifact("given/deep/run.sh", b"#!/bin/sh\n", 0o100755),
        artifact("given/link", b"a.txt", 0o120000),
    ]
    order = {found.path: number for number, found in enumerate(_walk(folder))}
    listed.sort(key=lambda step: order[step[1].removeprefix("given/")])
    yield on("files", *listed), partial(gt.log_artifact, str(folder))
    yield text("files", "another text", "texts/notes.txt")
    yield end("files")


def _walk(folder: Path) -> Iterator[Any]:
    from gittrack.tracking.folders import walk_folder

    return walk_folder(str(folder))


def edit_by_api(world: World) -> Iterator[Call]:
    client, run_id, other = gt.Client(), find_id(world, "old"), find_id(world, "older")
    yield revision("old", ["tag", "stage", "best"]), partial(client.set_tag, run_id, "stage", "best")
    yield revision("old", ["note", "# good"]), partial(client.set_note, run_id, "# good")
    yield revision("old", ["untag", "who"]), partial(client.delete_tag, run_id, "who")
    yield [["renamed", "older", "oldest"]], partial(client.update_run, other, name="oldest")
    yield revision("old", ["lifecycle", "deleted"]), partial(client.delete_run, run_id)
    yield revision("old", ["lifecycle", "active"]), partial(client.restore_run, run_id)
    yield revision("oldest", ["status", "FAILED"]), partial(client.set_terminated, other, "FAILED")


def log_to_ended(world: World) -> Iterator[Call]:
    """Calls by id on a run that has ended: a revision each."""
    client, run_id = gt.Client(), find_id(world, "old")
    yield (
        revision("old", points("late", (3, 0.75))),
        partial(client.log_metric, run_id, "late", 0.75, step=3),
    )
    yield (
        revision("old", artifact("late.bin", BIG[:5000])),
        lambda: client.log_stream(run_id, io.BytesIO(BIG[:5000]), "late.bin"),
    )
    yield revision("old", ["param", "late", ["int", 1]]), partial(client.log_param, run_id, "late", 1)


def edit_by_command(world: World) -> Iterator[Call]:
    run_id, other = find_id(world, "old"), find_id(world, "older")
    yield command(revision("old", ["tag", "a", "1"], ["tag", "b", "2"]), "tag", run_id, "a=1", "b=2")
    yield command(revision("old", ["untag", "a"]), "tag", run_id, "-d", "a")
    yield command(revision("old", ["note", "better"]), "note", run_id, "better")
    yield command([["renamed", "older", "oldest"]], "rename", other, "oldest")
    deleted = ["lifecycle", "deleted"]
    yield command([*revision("old", deleted), *revision("oldest", deleted)], "rm", run_id, other)
    active = ["lifecycle", "active"]
    yield command([*revision("old", active), *revision("oldest", active)], "restore", run_id, other)


def experiment(world: World) -> Iterator[Call]:
    client = gt.Client()

    def stands(name: str, lifecycle: str = "active", **tags: str) -> Step:
        return ["experiment", name, {"lifecycle": lifecycle, "tags": tags}]

    made: list[str] = []
    yield (
        [stands("new one", team="a")],
        lambda: made.append(client.create_experiment("new one", tags={"team": "a"})),
    )
    from gittrack.schema.names import experiment_id

    number = experiment_id("new one")
    yield (
        [stands("new one", team="a", kind="b")],
        partial(client.set_experiment_tag, number, "kind", "b"),
    )
    yield [stands("new one", "deleted", team="a", kind="b")], partial(client.delete_experiment, number)
    yield [stands("new one", team="a", kind="b")], partial(client.restore_experiment, number)


def train_in_new_experiment(world: World) -> Iterator[Call]:
    yield (
        [["experiment", "nlp/ä b", {"lifecycle": "active", "tags": {}}]],
        partial(gt.set_experiment, "nlp/ä b"),
    )
    yield [begin("there", "nlp/ä b")], partial(gt.start_run, run_name="there")
    yield metric("there", 0, loss=1.0)
    yield end("there")


def recover(world: World) -> Iterator[Call]:
    yield command([], "recover")


def recover_by_starting(world: World) -> Iterator[Call]:
    yield from small_run("next")


def shared(world: World) -> Iterator[Call]:
    begun = [begin("by hand", shared=True), *on("by hand", ["note", "n"])]
    yield command(begun, "start", "--name", "by hand", "--note", "n")
    yield command(
        on("by hand", record(0, loss=0.5, acc=0.25)), "log", "metric", "loss=0.5", "acc=0.25", "--run", "by hand"
    )
    yield command(
        on("by hand", ["param", "lr", ["float", (0.1).hex()]]), "log", "param", "lr=0.1", "--run", "by hand"
    )
    yield command(on("by hand", ["tag", "a", "b"]), "log", "tag", "a=b", "--run", "by hand")
    path = world.folder / "weights.bin"
    path.write_bytes(BIG[:9000])
    yield command(
        on("by hand", artifact("weights.bin", BIG[:9000])), "log", "artifact", str(path), "--run", "by hand"
    )
    yield command(on("by hand", ["end", "FAILED"]), "finish", "--run", "by hand", "--status", "FAILED")


def shared_goes_on(world: World) -> Iterator[Call]:
    for step in range(1, 4):
        yield command(on("shared", points("loss", (step, step / 8))), "log", "metric", f"loss={step / 8}")
    yield command(on("shared", ["end", "FINISHED"]), "finish")


def purge(world: World) -> Iterator[Call]:
    run_id = find_id(world, "old")
    yield command([["gone", "old"]], "purge", run_id, "--yes")


def first_run(world: World) -> Iterator[Call]:
    """Where no repository is around, the first run makes one."""
    yield from small_run("first")


def init(world: World) -> Iterator[Call]:
    yield command([], "init")
    yield from small_run("first")


def nothing(world: World) -> Iterator[Call]:
    yield [], lambda: None


SCENARIOS = (
    Scenario("log", log, two_runs),
    Scenario("log synced", log_synced, two_runs, environment=(("GITTRACK_SYNC", "1"),)),
    Scenario("finish", finish, two_runs),
    Scenario("finish failed", finish_failed, two_runs),
    Scenario("finish long", finish_long, two_runs),
    Scenario("nested", nested, two_runs),
    Scenario("resume", resume, two_runs),
    Scenario("artifacts", artifacts, two_runs),
    Scenario("train in a new experiment", train_in_new_experiment, two_runs),
    Scenario("recover by starting", recover_by_starting, dead_runs),
    # that no repository can be made is told at once, before there is any training
    Scenario("first run", first_run, nothing, is_training=False),
    Scenario("init", init, nothing, is_training=False),
    Scenario("log to an ended run", log_to_ended, two_runs),
    Scenario("edit by API", edit_by_api, two_runs, is_training=False),
    Scenario("edit by command", edit_by_command, two_runs, is_training=False),
    Scenario("experiment", experiment, two_runs, is_training=False),
    Scenario("recover", recover, dead_runs, is_training=False),
    Scenario("shared", shared, two_runs, is_training=False),
    Scenario("shared goes on", shared_goes_on, started, is_training=False),
    Scenario("purge", purge, two_runs, is_training=False),
)
