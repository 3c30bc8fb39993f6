"""Floor 9, cli: the command line, the only floor that prints, asks the terminal and exits.

It may import everything below. Modules: `app` (the commands' table and the one place that maps errors to exit
codes), `setting_up`, `listing`, `reading`, `running`, `comparing`, `explaining`, `bisecting`, `editing`,
`upkeep`, `plotting` (the commands), `hooking` (what git's hooks call), `opening` (the repository of a command),
`run_table` (columns of runs), `describing` (a run as JSON), `output` (tables, TSV, JSON, colour, pager),
`terminal_chart` (a chart as text).

Decided: data on stdout, everything else on stderr; a pipe gets TSV that is never cut.
Rejected: rich tables, which cut a pipe's lines at 80 columns.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line; never returns."""
    from gittrack.cli.app import run

    run()
