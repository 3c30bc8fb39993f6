"""Floor 2, store: runs at rest and in flight.

It may import `gittrack.git` and `gittrack.schema`. Modules: `journal` (the stream one process appends to),
`streams` (reading such streams), `live` (the folder of a running run, and whether its writers live),
`artifacts` (files by content, in Git LFS's own store), `folding` (a journal becomes a commit), `runs` (reading,
finding and editing runs), `run_views` (a run described for comparing), `experiments` (their records),
`verification` (what is damaged), `purging` (taking a run out for good), and `store`, whose `Store.open` ties
them together.

Decided: a value is safe when its record lies in a memory-mapped file, with no system call in the loop.
Rejected: one write(2) a value (three times slower), SQLite (a thousand times), buffering (lost on kill -9).
"""
