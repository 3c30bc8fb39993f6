"""Runs to compare, made as a script makes them."""

from __future__ import annotations

from typing import Any

import gittrack
from gittrack.comparing.diffing import Comparison, compare
from gittrack.schema.differences import COUNTED
from tests.harness import Repo


def make(name: str, *, experiment: str = "d", status: str = "FINISHED", **logged: Any) -> str:
    """A committed run's id; ``logged`` are params, and in ``metrics``, ``tags``, ``texts`` what they say."""
    gittrack.set_experiment(experiment)
    run = gittrack.start_run(run_name=name)
    gittrack.log(logged.pop("metrics", {}), step=1)
    gittrack.set_tags(logged.pop("tags", {}))
    for path, text in logged.pop("texts", {}).items():
        gittrack.log_text(text, path)
    gittrack.log_params(logged)
    gittrack.end_run(status)
    return run.info.run_id


def compared(repo: Repo, *runs: str, **options: Any) -> Comparison:
    return compare(repo.store, runs, **options)


def differing(found: Comparison) -> dict[str, list[str]]:
    """The names of what differs, by part."""
    return {part: getattr(found, part).names for part in COUNTED if getattr(found, part)}
