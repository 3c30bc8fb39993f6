"""Searching in the repository here; a worker: ``searching.py`` reads what to do, prints the seconds that it took.

1: the index is built from nothing. 2: one more run is logged (not timed), then the newest 100 are asked for.
3: six filters with an order, 100 rows each. 4: all runs to a DataFrame.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial

import gittrack
from gittrack.git.repository import discover_repository
from gittrack.store.index import drop_index
from gittrack.store.search import RunQuestion, search

QUESTIONS = (
    ("metrics.val/f1 > 0.9 and params.optimizer = 'adam'", "metrics.val/auc desc"),
    ("metrics.val/f1 > 0.1", "metrics.val/auc desc"),
    ("params.lr > 0.01", "start_time desc"),
    ("params.lr > 0.01 or metrics.val/f1 > 0.5", "metrics.val/f1 desc"),
    ("tags.team like 'vis%' and not params.optimizer = 'sgd'", "metrics.train/loss"),
    ("status = 'FINISHED' and metrics.train/loss < 0.5 and metrics.val/loss < 0.5", "metrics.val/accuracy desc"),
)
REPOSITORY = discover_repository(".")
assert REPOSITORY is not None


def build() -> None:
    drop_index(REPOSITORY)
    search(REPOSITORY, RunQuestion(limit=1))


def ask_newest() -> None:
    assert len(search(REPOSITORY, RunQuestion(limit=100)).rows) == 100


def frame() -> None:
    assert len(gittrack.search_runs()) >= 100


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


for line in sys.stdin:
    asked = int(line)
    if asked == 2:
        with gittrack.start_run():
            gittrack.log({"val/f1": 0.5})
    if asked == 3:
        found = [timed(partial(gittrack.search_runs, None, text, 1, 100, [order])) for text, order in QUESTIONS]
    else:
        found = [timed({1: build, 2: ask_newest, 4: frame}[asked])]
    print(json.dumps(found), flush=True)
