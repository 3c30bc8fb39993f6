"""Floor 2, store: runs at rest and in flight.

It may import `gittrack.git` and `gittrack.schema`. Modules: `journal` (the stream one process appends to),
`streams` (reading such streams), `live` (the folder of a running run, and whether its writers live),
`artifacts` (files by content, in Git LFS's own store), `folding` (a journal becomes a commit), `runs` (runs as
they stand, from git and the journals), `checkpoints` and `thinning` (a run in flight as a commit for others),
`records` (many of them at once), `run_views` (a run described for comparing), `experiments` (their records),
`joining` (histories made apart, together), of which `conflicts` says what both had edited; `verification` (what is
damaged), `purging` (taking a run out for good), and `store`, which ties them together.

Searching, in the order of its route: `search` (a question and what it finds), `opened_runs` (the index and the
runs in flight beside it), `index` (a file that may vanish), `learning` (how it is brought up to date),
`index_tables` (what it keeps), `search_sql`, `search_conditions` and `search_keys` (a question as SQL),
`search_rows` (what was found), `naming` (the run that a person means).

Decided: a value is safe when its record lies in a memory-mapped file, with no system call in the loop.
Rejected: one write(2) a value (three times slower), SQLite (a thousand times), buffering (lost on kill -9).
Decided for the index: SQLite in the user's cache, asked to decide nothing. Rejected: a column a key (there are
thousands), and other processes to read faster (whoever embeds Python may have none to start).
"""
