"""Benchmarks of gittrack against its targets and its peers: one command, one table; no time is ever asserted.

``python tests/bench/run.py [--quick] [--only NAME ...] [--json FILE] [--plot FILE]
[--no-peers | --peers-python PATH]``

A module a benchmark, listed in `BENCHMARKS`; what runs in a process of its own stands in ``ours/`` (this
interpreter, which has gittrack) and ``theirs/`` (an interpreter with the peers, see `peers`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import crowd
import curves
import growth
import histories
import live
import long_run
import pushing
import scalar
import searching
import small_run
import startup
import uploading
from drawing import draw_curves
from machine import OtherWork, load_average
from peers import find_peers, list_versions
from places import Bench, is_in_memory, make_work_folder, remove_work_folder
from processes import ScriptError
from table import Row, encode_row, format_table

BENCHMARKS = {
    module.NAME: module
    for module in (
        scalar,
        small_run,
        startup,
        long_run,
        growth,
        crowd,
        curves,
        histories,
        searching,
        pushing,
        live,
        uploading,
    )
}
_BUSY_CPUS = 0.3  # other work beyond this shows in the figures


def main() -> int:
    options = _parse_options()
    peers_python = _choose_peers(options)
    versions = list_versions(peers_python) if peers_python else {}
    work = make_work_folder(options.workdir)
    if is_in_memory(work):
        print(
            "the work folder is in memory: durable writes look free; choose another by --workdir", file=sys.stderr
        )
    rows: list[Row] = []
    others: dict[str, float | None] = {}
    try:
        for name in options.only or BENCHMARKS:
            print(f"{name} …", file=sys.stderr, flush=True)
            watch = OtherWork()
            rows += _measure(name, work, options.quick, peers_python)
            others[name] = watch.cpus()
    finally:
        remove_work_folder(work)
    print(_heading(versions, options.quick))
    print(format_table(rows))
    print(_footing(rows, others))
    if options.plot:
        draw_curves(rows, Path(options.plot))
    if options.json:
        found = {
            "about": _about(versions, options.quick),
            "other_cpus": others,
            "rows": list(map(encode_row, rows)),
        }
        Path(options.json).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return int(any(row.what == "failed" for row in rows))


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Benchmarks of gittrack: one table.")
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it works, not how fast it is")
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", metavar="FILE", help="keep every figure with its spread")
    parser.add_argument(
        "--workdir", metavar="DIR", help="where to work, on a real disk (default: the user's cache)"
    )
    parser.add_argument("--plot", metavar="FILE", help="draw the growth curves: .png, .svg or .pdf")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--no-peers", action="store_true", help="compare with nobody; installs nothing")
    group.add_argument(
        "--peers-python", metavar="PATH", help="an interpreter that has mlflow, trackio, tensorboardX"
    )
    return parser.parse_args()


def _choose_peers(options: argparse.Namespace) -> str | None:
    if options.no_peers:
        return None
    try:
        return find_peers(options.peers_python)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"no peers: they could not be installed ({error})", file=sys.stderr)
        return None


def _measure(name: str, work: Path, is_quick: bool, peers_python: str | None) -> list[Row]:
    """The rows of one benchmark, in a folder of its own that goes when it is done."""
    folder = work / name
    folder.mkdir()
    rows: list[Row] = []
    try:
        rows.extend(BENCHMARKS[name].measure(Bench(folder, is_quick, peers_python)))
    except (ScriptError, OSError, subprocess.CalledProcessError) as error:
        rows.append(Row(benchmark=name, what="failed", unit="", ours=None, note=str(error)))
    finally:
        remove_work_folder(folder)
    return rows


def _about(versions: dict[str, str], is_quick: bool) -> dict[str, Any]:
    git = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "git": git,
        "peers": versions,
        "quick": is_quick,
        "load_at_end": load_average(),
    }


def _heading(versions: dict[str, str], is_quick: bool) -> str:
    about = _about(versions, is_quick)
    parts = [f"python {about['python']}", f"git {about['git']}", f"{about['cpus']} CPUs", about["system"]]
    parts += [f"{name} {version}" for name, version in versions.items()]
    size = "quick: sizes are too small for the targets to mean much\n" if is_quick else ""
    return f"{', '.join(parts)}; medians\n{size}"


def _footing(rows: list[Row], others: dict[str, float | None]) -> str:
    lines = [f"{row.benchmark}, {row.what}: {row.note}" for row in rows if row.note]
    known = {name: cpus for name, cpus in others.items() if cpus is not None}
    lines.append("CPUs busy with other work: " + ", ".join(f"{name} {cpus:.2f}" for name, cpus in known.items()))
    if any(cpus > _BUSY_CPUS for cpus in known.values()):
        lines.append("the machine was not quiet: repeat what is marked above 0.3")
    return "\n".join(["", *dict.fromkeys(lines)])


if __name__ == "__main__":
    sys.exit(main())
