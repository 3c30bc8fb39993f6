"""Floor 5, comparing: understanding the differences between runs.

It may import `gittrack.tracking` and below. Modules: `curves` (metric histories made ready to draw), `charts`
(drawing them to files and figures); `diffing` (`diff`: two runs or more, or the work tree, to one
`Comparison`), `worktree` (the work tree as it is now, as a side of one), `tables` (a comparison as tables of
cells, which `text`, `markdown` and `web_page` write out), `plain_data` (the same for JSON); `conditions` (what
fails a gate, as a person writes it), `baselines` (which runs a gate compares) and `gate` (its verdict);
`why` (what can explain a change, from a repository), `causes` (the same of rows), `factors` (what a result may
hang on), `command_lines` (what a recorded command tells, and how to vary it), `effects` (what runs measure of a
factor), `design` (which effects runs can tell apart), `trials` (runs to try), `explanation` (the answer);
`importance` (which params matter over many runs); `bisecting` (where a metric crossed a threshold), `bisection`
(what to judge next), `trying` (a command run at a commit); `asking` (rows by what a person calls them).

Decided: a comparison is read from the runs themselves, never from the index, so that no answer is stale; text is
compared here and not by git, whose attributes could start a stranger's programs. What is told of a cause is
measured between runs that differ in one thing, so that a reader can check it; what no pair measures is said to be
unmeasured.
Rejected: pandas for tables of ten rows; a difference in id, times or the commit's name as a difference; a model
fitted to all runs to explain two of them, which would always have an answer.
"""
