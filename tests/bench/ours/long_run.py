"""A run of very many points of one metric: how long logging and finishing take, and how much memory finishing.

Prints seconds and bytes. Memory is seen twice: ``getrusage``, the greatest there ever was, loop included; and a
thread that reads ``/proc/self/statm`` while the run is finished, pages of files apart from the process's own.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time

import gittrack

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


class MemoryWatch:
    """The greatest resident memory while the context lasts, in bytes; 0 where ``/proc`` is not there."""

    def __init__(self) -> None:
        self.peak = self.own_peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            resident, shared = read_resident()
            self.peak = max(self.peak, resident)
            self.own_peak = max(self.own_peak, resident - shared)


def read_resident() -> tuple[int, int]:
    """Bytes resident, and those of them that are pages of files."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            fields = file.read().split()
    except OSError:
        return 0, 0
    return int(fields[1]) * _PAGE, int(fields[2]) * _PAGE


def read_max_resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def main(points: int) -> None:
    before = read_resident()[0] or read_max_resident()
    begun = time.perf_counter()
    gittrack.start_run()
    started = time.perf_counter()
    for step in range(points):
        gittrack.log({"loss": 1.0 / (step + 1)}, step=step)
    logged = time.perf_counter()
    max_before_finish = read_max_resident()
    with MemoryWatch() as memory:
        finishing = time.perf_counter()
        gittrack.end_run()
        finished = time.perf_counter()
    found = {
        "start_s": started - begun,
        "loop_s": logged - started,
        "finish_s": finished - finishing,
        "before_bytes": before,
        "max_before_finish_bytes": max_before_finish,
        "max_bytes": read_max_resident(),
        "sampled_bytes": memory.peak,
        "sampled_own_bytes": memory.own_peak,
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
