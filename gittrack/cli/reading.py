"""Commands that read: show, experiments, artifacts."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gittrack.cli import output
from gittrack.cli.describing import run_json
from gittrack.cli.opening import open_reading

if TYPE_CHECKING:
    from gittrack.schema.records import Artifact
    from gittrack.store.runs import StoredRun
    from gittrack.store.store import Store

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Run = Annotated[str, typer.Argument(help="Run: id or its beginning, name, commit, <experiment>~N, @last.")]

artifacts_app = typer.Typer(help="List and fetch a run's files.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands to the table."""
    app.command("show")(show_run)
    app.command("experiments")(list_experiments)
    app.add_typer(artifacts_app, name="artifacts")


def show_run(
    run: _Run,
    history: Annotated[
        str | None, typer.Option("--metric", "-m", help="Print this metric's whole history.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Show one run: what it was, what it logged, how it was made."""
    store = open_reading()
    stored = store.resolve(run)
    if history:
        _show_history(store, stored, history, as_json=as_json)
        return
    artifacts = store.list_artifacts(stored)
    if as_json:
        files = [_artifact_json(artifact) for artifact in artifacts]
        output.print_json({**run_json(stored), "artifacts": files})
        return
    output.show(_page_of(stored, artifacts))


def list_experiments(
    everything: Annotated[bool, typer.Option("--all", "-a", help="Show deleted ones too.")] = False,
    as_json: _Json = False,
) -> None:
    """List experiments with how many runs each has."""
    from gittrack.store import experiments
    from gittrack.store.index_answers import count_runs

    store = open_reading()
    records = experiments.list_experiments(store.repository)
    shown = [record for record in records if everything or record.lifecycle == "active"]
    counts = count_runs(store.repository, output.tell_reading)
    if as_json:
        output.print_json([{**asdict(record), "runs": counts.get(record.id, 0)} for record in shown])
        return
    rows = [
        (
            record.name,
            counts.get(record.id, 0),
            record.id,
            record.lifecycle,
            output.format_moment(record.updated_at or None),
        )
        for record in shown
    ]
    output.print_table(("name", "runs", "id", "state", "changed"), rows)


@artifacts_app.command("ls")
def list_artifacts(run: _Run, as_json: _Json = False) -> None:
    """List a run's files."""
    store = open_reading()
    artifacts = store.list_artifacts(store.resolve(run))
    if as_json:
        output.print_json([_artifact_json(artifact) for artifact in artifacts])
        return
    rows = [
        (artifact.path, output.size_cell(artifact.size_bytes), artifact.oid[:12], _kept(artifact))
        for artifact in artifacts
    ]
    size = "size" if output.is_terminal() else "size_bytes"
    output.print_table(("path", size, "sha256", "kept"), rows, "the run has no artifacts")


@artifacts_app.command("get")
def get_artifacts(
    run: _Run,
    path: Annotated[
        str | None, typer.Argument(help="File, folder or pattern ('*.bin'); all where none is given.")
    ] = None,
    to: Annotated[str, typer.Option("--to", "-o", help="Folder to write to; '-' prints one file.")] = ".",
) -> None:
    """Write a run's files here, fetched where they are not on this machine; each is checked against its hash."""
    from gittrack.tracking.artifacts import check_out, find_artifacts

    store = open_reading()
    stored = store.resolve(run)
    artifacts = find_artifacts(store, stored, (path or "").strip("/") or None)
    if to == "-":
        _print_artifact(store, stored, artifacts, path or "")
        return
    for place in check_out(store, stored, artifacts, to):
        print(place)


def _page_of(stored: StoredRun, artifacts: list[Artifact]) -> str:
    record, source = stored.record, stored.record.source
    head = [
        ("id", record.id),
        ("experiment", record.experiment),
        ("status", record.status + (" (deleted)" if record.lifecycle == "deleted" else "")),
        ("last heard", _told_ago(stored.heard_at)),
        ("started", output.format_moment(record.started_at)),
        ("took", output.format_duration(record.started_at, record.ended_at)),
        ("by", f"{record.user} on {record.host}" if record.user else ""),
        ("parent", record.parent),
        ("revision", record.revision if record.revision > 1 else None),
        ("commit", stored.commit.id[:12] if stored.commit else "(running: not committed yet)"),
    ]
    parts = [output.paint(output.format_cell(record.name), "1") + "\n", output.print_fields("", head)]
    if record.note:
        parts.append("\n" + "".join(f"  {output.format_cell(line)}\n" for line in record.note.splitlines()))
    parts.append(output.print_fields("params", list(record.params.items())))
    parts.append(output.print_fields("metrics", [(key, _summary(found)) for key, found in record.metrics.items()]))
    parts.append(output.print_fields("tags", list(record.tags.items())))
    parts.append(
        output.print_fields("artifacts", [(item.path, output.format_size(item.size_bytes)) for item in artifacts])
    )
    parts.append(
        output.print_fields("data", [(data.name, f"{data.context} {data.digest}") for data in record.inputs])
    )
    if source is not None:
        place = f"{source.commit[:12]}{' + changes' if source.dirty else ''}" if source.commit else ""
        made = [("script", source.name), ("command", source.command), ("code", place), ("branch", source.branch)]
        made += [("remote", source.remote), ("python", source.python), ("platform", source.platform)]
        parts.append(output.print_fields("made by", made))
    if record.error:
        parts.append(
            output.paint("error", "31")
            + "\n"
            + "".join(f"  {output.format_cell(line)}\n" for line in record.error.splitlines())
        )
    return "\n".join(part for part in parts if part)


def _told_ago(heard_at: int | None) -> str:
    """How long ago another machine told of a run that is in flight there; empty for all others."""
    if heard_at is None:
        return ""
    return f"{output.format_duration(heard_at, round(time.time() * 1000))} ago, by what was fetched"


def _summary(summary: Any) -> str:
    last, low, high = (output.format_cell(value) for value in (summary.last, summary.min, summary.max))
    if summary.count == 1:
        return last
    return f"{last}  (step {summary.last_step}; min {low}, max {high}, {summary.count} points)"


def _show_history(store: Store, stored: StoredRun, key: str, *, as_json: bool) -> None:
    from gittrack.errors import NotFoundError

    if key not in stored.record.metrics:
        known = ", ".join(stored.record.metrics) or "none"
        raise NotFoundError(f"run {stored.record.id[:8]} has no metric {key!r}", f"it has: {known}")
    points = store.read_history(stored, key)
    if as_json:
        output.print_json([point._asdict() for point in points])
    else:
        output.print_rows(("step", "timestamp", "value"), points)


def _artifact_json(artifact: Artifact) -> dict[str, Any]:
    return {
        "path": artifact.path,
        "oid": artifact.oid,
        "size_bytes": artifact.size_bytes,
        "mode": f"{artifact.mode:o}",
        "inline": artifact.inline,
    }


def _kept(artifact: Artifact) -> str:
    return "link" if artifact.mode == 0o120000 else "git" if artifact.inline else "lfs"


def _print_artifact(store: Store, stored: StoredRun, artifacts: list[Artifact], path: str) -> None:
    from gittrack.errors import InvalidValueError

    if len(artifacts) != 1:
        raise InvalidValueError(f"{path or 'the run'!r} is no single file", "give the path of one")
    for chunk in store.read_artifact(stored, artifacts[0]):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
