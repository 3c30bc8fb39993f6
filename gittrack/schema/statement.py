"""The format's written statement: `.gittrack-schema` in the project's root, and the blob in every run.

It is made of the tables that the codec reads and writes by, so that the two cannot part.
"""

from __future__ import annotations

import functools

from gittrack.schema.codec import EXPERIMENT_FIELDS, INPUT_FIELDS, METRIC_FIELDS, RUN_FIELDS, SOURCE_FIELDS
from gittrack.schema.names import FORMAT_NUMBER, INLINE_BYTES_MAX, KEY_CHARS_MAX, NAME_CHARS_MAX

_HEAD = f"""\
# How gittrack keeps machine-learning runs in git. Every run carries this file.
# Times are ISO 8601 in UTC with milliseconds. A '?' marks a field that may be left out.
format: "gittrack"
number: {FORMAT_NUMBER}
unknown_fields: "kept, and written back by every edit"
yaml: "block mappings, one 'key: scalar' a line, two blanks a level, strings double-quoted as in JSON; \\
  floats as the shortest text with the same bits, .nan .inf -.inf; same record, same bytes"

refs:
  experiment: "refs/heads/gittrack/<name as made>, what git refuses and '/' percent-encoded; over 120 bytes: \\
    cut, '+', 16 hex digits of the name's sha256"
  readers: "the union of refs/heads/gittrack/* and refs/remotes/*/gittrack/*"
  live: "refs/gittrack/live/<run id> on a remote, fetched as refs/gittrack/remotes/<remote>/live/<run id>: a \\
    checkpoint of a run in flight; a commit without parents, never on a branch, gone when the run is pushed"
commits:
  one_parent_or_none: "one revision of one run (trailer Gittrack-Run) or of the experiment's record \\
    (trailer Gittrack-Experiment); its tree holds that alone"
  two_parents: "joins histories; its tree says nothing"
  winner: "the greatest by revision, then committer time, then commit id"
trailers:
  Gittrack-Run: "run id"
  Gittrack-Experiment: "experiment id"
  Gittrack-Revision: "integer from 1; in a checkpoint that of the run's last commit, 0 where there is none"
  Gittrack-Status: "status of the run"
  Gittrack-Journal: "<stream>:<bytes> taken from a live run's journal; of use while it is being recovered"
  Gittrack-Checkpoint: "in a checkpoint alone: seconds within which the next one is due; its histories may be \\
    thinned, and it has neither code nor files that would be pointers"
  Gittrack-Schema: "number of this format"
tags:
  version: "<model>@v<major>.<minor>.<patch>"
  stage: "<model>#<stage>#<n>; '<stage>!' takes it back"
  deprecated: "<model>@deprecated#<n>"
limits:
  key_characters: {KEY_CHARS_MAX}
  name_characters: {NAME_CHARS_MAX}
  inline_bytes: {INLINE_BYTES_MAX}

tree:
  .gittrack-schema: "this file"
  .gitattributes: "only where files are pointers: the LFS filter for exactly those paths"
  run.yaml: "fields below: run"
  params.yaml: "flat mapping; values keep their type: string, integer, float, boolean, null"
  metrics.yaml: "by key, fields below: metric"
  metrics/<key>.csv: "full history; '/' in a key makes folders; names that file systems refuse percent-encoded; \\
    over inline_bytes a Git LFS pointer"
  artifacts/<path>: "text up to inline_bytes as it is, all else a Git LFS pointer (v1); symlinks as links"
  code/: "the work tree as it ran; a clean tree is HEAD's own tree"
  environment/requirements.txt: "pinned packages, one name==version a line"
  experiment.yaml: "in an experiment's commit alone; fields below: experiment"
"""

_COLUMNS = """\
csv:
  step: "integer, -2^63 to 2^63-1"
  timestamp: "integer, milliseconds since 1970-01-01 UTC"
  value: "float64 as the shortest decimal text with the same bits; nan, inf, -inf"
"""


@functools.cache
def statement() -> bytes:
    """The statement's bytes: the same in every run that this format number writes."""
    tables = (
        ("run", RUN_FIELDS),
        ("source", SOURCE_FIELDS),
        ("input", INPUT_FIELDS),
        ("metric", METRIC_FIELDS),
        ("experiment", EXPERIMENT_FIELDS),
    )
    parts = [_HEAD, "\n"]
    for name, table in tables:
        parts.append(f"{name}:\n")
        parts += [f'  "{field}": "{kind}; {meaning}"\n' for field, kind, meaning in table]
    return "".join([*parts, "\n", _COLUMNS]).encode()
