"""Floor 0, schema: what is written, as pure data: no git, no disk, no clock.

Modules: `names` (keys, paths, refs and their limits), `records` (a run, an experiment and their parts),
`canonical` (the narrow YAML that is written, the limited YAML that is read), `codec` (records to files and
back), `values` (what is taken as a number), `points` (metric histories as CSV), `events` (what a journal
says, and the one fold that makes a run of it), `messages` (subjects and trailers), `packages` (what a run was
made with), `diff` (what differs between runs), `differences` (how that is told), `text_diff` (patches),
`directions` (which way a metric is better), `query`, `query_fields` and `query_values` (the search language),
`statement` (the format's written statement).

Decided: one `key: scalar` a line with quoted strings, so that reading in bulk needs no YAML parser.
Rejected: YAML as PyYAML writes it (``no`` is false, dates appear, 113 µs a file).
"""
