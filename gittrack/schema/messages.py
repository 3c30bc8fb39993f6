"""Commit messages: a subject that makes ``git log --oneline`` a leaderboard, and trailers that make it a table.

``git log --format='%(trailers:key=Gittrack-Run,valueonly)'`` reads them; `git-interpret-trailers(1)`
is the source of their form. Nothing that a user wrote stands in the last paragraph.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from gittrack.schema.names import FORMAT_NUMBER, is_run_id, one_line
from gittrack.schema.records import ExperimentRecord, RunRecord

RUN_TRAILER = "Gittrack-Run"
REVISION_TRAILER = "Gittrack-Revision"
STATUS_TRAILER = "Gittrack-Status"
EXPERIMENT_TRAILER = "Gittrack-Experiment"
JOURNAL_TRAILER = "Gittrack-Journal"
SCHEMA_TRAILER = "Gittrack-Schema"
CHECKPOINT_TRAILER = "Gittrack-Checkpoint"

_NO_CI = "[skip ci]"  # forges would start a pipeline for a branch that holds no code to build
_METRICS_SHOWN = 4
_TRAILER = re.compile(r"([A-Za-z][A-Za-z0-9-]*): (.*)")


def format_run_message(run: RunRecord, what: str, journal: Mapping[str, int]) -> str:
    """The message of a run's revision.

    Args:
        run: the record. what: what this revision changed, one line; empty for the first.
        journal: bytes taken from each journal stream by its nonce, so that none is taken twice.
    """
    trailers = _run_trailers(run)
    trailers += [f"{JOURNAL_TRAILER}: {nonce}:{taken}" for nonce, taken in sorted(journal.items())]
    body = f"{_NO_CI} {one_line(what)}".rstrip()
    return _assemble(_run_subject(run), body, trailers)


def format_checkpoint_message(run: RunRecord, due_s: int) -> str:
    """The message of a checkpoint of a run in flight; the next one is due within so many seconds."""
    trailers = [*_run_trailers(run), f"{CHECKPOINT_TRAILER}: {due_s}"]
    return _assemble(_run_subject(run), f"{_NO_CI} checkpoint", trailers)


def format_experiment_message(experiment: ExperimentRecord, what: str) -> str:
    """The message of an experiment's revision."""
    trailers = [
        f"{EXPERIMENT_TRAILER}: {experiment.id}",
        f"{REVISION_TRAILER}: {experiment.revision}",
    ]
    return _assemble(
        f"experiment {one_line(experiment.name, 100)}", f"{_NO_CI} {one_line(what)}".rstrip(), trailers
    )


def format_join_message() -> str:
    """The message of a commit that joins two histories: the same for the same two, wherever they are joined."""
    return _assemble("join histories made apart", _NO_CI, [])


def parse_trailers(message: str) -> dict[str, list[str]]:
    """The trailers of a message's last paragraph, values by key in their order; empty where there are none."""
    last = message.rstrip("\n").rpartition("\n\n")[2]
    found: dict[str, list[str]] = {}
    for line in last.split("\n"):
        match = _TRAILER.fullmatch(line)
        if match is None:
            return {}
        found.setdefault(match[1], []).append(match[2])
    return found


def parse_run_trailers(message: str) -> tuple[str, int] | None:
    """The run id and the revision that a message names, or None when it is of no run."""
    trailers = parse_trailers(message)
    ids, revisions = trailers.get(RUN_TRAILER, []), trailers.get(REVISION_TRAILER, [])
    if len(ids) != 1 or len(revisions) != 1 or not is_run_id(ids[0]) or not _is_count(revisions[0]):
        return None
    return ids[0], int(revisions[0])


def parse_experiment_trailers(message: str) -> tuple[str, int] | None:
    """The experiment id and the revision that a message names, or None."""
    trailers = parse_trailers(message)
    ids, revisions = trailers.get(EXPERIMENT_TRAILER, []), trailers.get(REVISION_TRAILER, [])
    if len(ids) != 1 or len(revisions) != 1 or RUN_TRAILER in trailers or not _is_count(revisions[0]):
        return None
    return ids[0], int(revisions[0])


def parse_checkpoint_trailer(message: str) -> int | None:
    """Within how many seconds a checkpoint's next one is due; None where the message is of none."""
    values = parse_trailers(message).get(CHECKPOINT_TRAILER, [])
    return int(values[0]) if len(values) == 1 and _is_count(values[0]) else None


def parse_journal_trailers(message: str) -> dict[str, int]:
    """Bytes taken from each journal stream, by its nonce."""
    taken = {}
    for value in parse_trailers(message).get(JOURNAL_TRAILER, []):
        nonce, _, count = value.partition(":")
        if _is_count(count):
            taken[nonce] = int(count)
    return taken


def format_value(value: float) -> str:
    """A metric for a person's eye: five significant digits."""
    return f"{value:.5g}"


def _run_trailers(run: RunRecord) -> list[str]:
    return [
        f"{RUN_TRAILER}: {run.id}",
        f"{REVISION_TRAILER}: {run.revision}",
        f"{STATUS_TRAILER}: {run.status}",
    ]


def _run_subject(run: RunRecord) -> str:
    shown = [key for key in run.metrics if not key.startswith("system/")][:_METRICS_SHOWN]
    parts = [one_line(run.name, 60)]
    parts += [f"{one_line(key, 40)}={format_value(run.metrics[key].last)}" for key in shown]
    if run.lifecycle == "deleted":
        parts.append("(deleted)")
    elif run.status != "FINISHED":
        parts.append(f"({run.status})")
    return " ".join(parts)


def _assemble(subject: str, body: str, trailers: Iterable[str]) -> str:
    lines = "\n".join([*trailers, f"{SCHEMA_TRAILER}: {FORMAT_NUMBER}"])
    return f"{subject.strip() or 'run'}\n\n{body}\n\n{lines}\n"


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18
