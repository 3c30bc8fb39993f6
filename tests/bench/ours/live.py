"""A loop that logs at a training's pace, with and without being shown to others, interleaved in one process.

Prints what a call takes in either, what starting a run takes, and what the process beside the run uses. The loop
waits between two calls as a training step does: the question is whether showing it disturbs the calls.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import gittrack
from gittrack.sharing import beside

_CALLS, _STEP_S = 20, 0.01


def time_loop(seconds: float) -> float:
    """Microseconds of one call."""
    spent, calls, step, end = 0.0, 0, 0, time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.perf_counter()
        for _ in range(_CALLS):
            gittrack.log({"loss": 1.0 / (step + 1), "acc": 0.5}, step=step)
            step += 1
        spent += time.perf_counter() - begun
        calls += _CALLS
        time.sleep(_STEP_S)
    return spent / calls * 1e6


def look_at_helper(seconds: float) -> dict[str, float]:
    """What the process beside the run has used so far: share of one core, bytes of its own."""
    (pid,) = beside._list_own()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    ticks = sum(int(fields[place]) for place in (11, 12, 13, 14))  # its own and its children's: proc(5)
    resident, shared = (int(word) for word in Path(f"/proc/{pid}/statm").read_text().split()[1:3])
    used_s = ticks / os.sysconf("SC_CLK_TCK")
    own = (resident - shared) * os.sysconf("SC_PAGE_SIZE")
    return {"cpu_percent": 100 * used_s / seconds, "own_bytes": own}


def main(seconds: float, rounds: int) -> None:
    found: dict[str, Any] = {"live": [], "plain": [], "start_live_ms": [], "start_plain_ms": []}
    with gittrack.start_run():
        gittrack.log({"warm": 1.0})
    for _ in range(rounds):
        for name, live in (("plain", None), ("live", "2s")):
            begun = time.perf_counter()
            run = gittrack.start_run(live=live)
            found[f"start_{name}_ms"].append((time.perf_counter() - begun) * 1e3)
            found[name].append(time_loop(seconds))
            if live:
                found.update(look_at_helper(seconds))
            run.end()
            gittrack.end_run()
            beside.wait_for_sharing()
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
