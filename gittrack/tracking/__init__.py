"""Floor 4, tracking: what a training script holds.

It may import `gittrack.store` and below. Modules: `current` and `by_id` (the module-level calls), `active`
(`ActiveRun`, the same calls on one run), `client` (runs by id), `run_search` and `frames` (runs by a filter, as a
DataFrame), `experiment_search`, `session` (a run that this process writes
to), `settings` (which repository, which experiment), `signals` (how a run ends that nobody ends), `provenance`,
`monitor`, `datasets`, `rendering` and `tables` (objects to files), `entities` and `run_lists` (what is
handed out), `html` (how a notebook shows it), `histories` (all points of many metrics), `artifacts` (getting files
back).

Decided: names, arguments and defaults are MLflow's, so that a script moves by changing its import.
Rejected: a process-wide lock around logging; the journal needs none.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """`MlflowClient`, under the name that scripts import from here."""
    if name in ("Client", "MlflowClient"):
        from gittrack.tracking.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
