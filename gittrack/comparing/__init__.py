"""Floor 4, comparing: understanding the differences between runs.

It may import `gittrack.tracking` and below. Modules: `curves` (metric histories made ready to draw), `charts`
(drawing them to files and figures).
"""
