"""One scalar call, the thing that a training loop does most; against one bare ``os.write`` of a CSV line."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from places import Bench
from processes import ScriptError, run_script
from samples import Sample
from table import Row, Target

NAME = "scalar"

_ROWS = (
    ("log", "log({one: v}, step=i)", Target("ratio", 0.5)),
    ("log_metric", "log_metric(key, v, step=i)", None),
    ("ten", "log(ten, made before)", Target("ratio", 1.0)),
    ("ten_literal", "log({ten: v, …}) literal", Target("ratio", 1.0)),
)
_PEERS = (
    ("trackio.log", "scalar_trackio.py", ()),
    ("tensorboardX", "scalar_tensorboardx.py", ()),
    ("mlflow file", "scalar_mlflow.py", ("file",)),
    ("mlflow sqlite", "scalar_mlflow.py", ("sqlite",)),
)


def measure(bench: Bench) -> Iterator[Row]:
    place = bench.make_repository("project")
    calls, repetitions = bench.choose(300_000, 20_000), bench.choose(5, 3)
    found = run_script(
        sys.executable, "ours/scalar.py", calls, repetitions, cwd=place, environment=bench.environment
    )
    write = Sample.of(found["write"])
    for name, what, target in _ROWS:
        ours = Sample.of(found[name])
        yield Row(benchmark=NAME, what=what, unit="µs", ours=ours, peer=write, peer_name="os.write", target=target)
    if bench.peers_python:
        yield from _measure_peers(bench, bench.peers_python, Sample.of(found["log"]))


def _measure_peers(bench: Bench, python: str, ours: Sample) -> Iterator[Row]:
    for name, script, words in _PEERS:
        peer, note = None, ""
        folder = bench.folder / name.replace(" ", "-")
        folder.mkdir()
        try:
            words_and_counts = (*words, bench.choose(400, 100), 5)
            found = run_script(
                python, f"theirs/{script}", *words_and_counts, cwd=folder, environment=bench.environment
            )
            peer = Sample.of(found["us"])
        except ScriptError as error:
            note = str(error)
        yield Row(
            benchmark=NAME, what=f"log vs {name}", unit="µs", ours=ours, peer=peer, peer_name=name, note=note
        )
