"""Which artifacts a person means by patterns: ``<experiment>/<run>/<path>``, where ``*`` is anything, '/' too."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from gittrack.errors import NotFoundError
from gittrack.schema.records import Artifact, RunRecord
from gittrack.store.artifacts import Content
from gittrack.store.store import Store


def find_contents(store: Store, patterns: Sequence[str]) -> list[Content]:
    """The objects of all artifacts that a pattern fits, each once; a run goes by its name or its id's beginning.

    What git itself holds is here anyway, and left out.

    Raises:
        NotFoundError: a pattern fits no run's artifact.
    """
    found: dict[str, Content] = {}
    fitting = set[str]()
    runs = [stored for stored in store.list_runs().runs if stored.record.lifecycle == "active"]
    for stored in runs:
        wanted = [pattern for pattern in patterns if _may_fit(pattern, stored.record)]
        for artifact in store.list_artifacts(stored) if wanted else ():
            fits = [pattern for pattern in wanted if _fits(pattern, stored.record, artifact)]
            fitting.update(fits)
            if fits and not artifact.inline:
                found[artifact.oid] = Content(artifact.oid, artifact.size_bytes, False)
    for pattern in patterns:
        if pattern not in fitting:
            raise NotFoundError(
                f"no artifact fits {pattern!r}", "as in: 'exp/*', 'exp/run-1/*.bin', '*/*/model/*'"
            )
    return [found[oid] for oid in sorted(found)]


def _may_fit(pattern: str, run: RunRecord) -> bool:
    """Whether some artifact of a run may be meant, by its experiment; spares looking into all the others."""
    experiment = pattern.split("/")[0]
    return fnmatch.fnmatchcase(run.experiment, experiment) or "*" in experiment or "/" in run.experiment


def _fits(pattern: str, run: RunRecord, artifact: Artifact) -> bool:
    whole = pattern if "/" in pattern else f"{pattern}/*"
    places = (f"{run.experiment}/{name}/{artifact.path}" for name in (run.name, run.id))
    if any(fnmatch.fnmatchcase(place, whole) for place in places):
        return True
    experiment, _, rest = whole.partition("/")
    run_part, _, path = rest.partition("/")
    is_run = len(run_part) > 3 and run.id.startswith(run_part)  # an id's beginning
    return (
        is_run
        and fnmatch.fnmatchcase(run.experiment, experiment)
        and fnmatch.fnmatchcase(artifact.path, path or "*")
    )
