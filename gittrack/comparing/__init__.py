"""Floor 4, comparing: understanding the differences between runs.

It may import `gittrack.tracking` and below. Modules: `curves` (metric histories made ready to draw), `charts`
(drawing them to files and figures); `diffing` (`diff`: two runs or more, or the work tree, to one
`Comparison`), `worktree` (the work tree as it is now, as a side of one), `tables` (a comparison as tables of
cells, which `text`, `markdown` and `web_page` write out), `plain_data` (the same for JSON); `conditions` (what
fails a gate, as a person writes it), `baselines` (which runs a gate compares) and `gate` (its verdict).

Decided: a comparison is read from the runs themselves, never from the index, so that no answer is stale; text is
compared here and not by git, whose attributes could start a stranger's programs.
Rejected: pandas for tables of ten rows; a difference in id, times or the commit's name as a difference.
"""
