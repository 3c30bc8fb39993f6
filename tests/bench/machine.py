"""How busy the machine was with other work while something was measured. Linux; elsewhere it is unknown."""

from __future__ import annotations

import os
import resource
import time


class OtherWork:
    """CPUs that other processes kept busy from when this was made: all busy time, less ours and our children's.

    Source: the first line of ``/proc/stat``, proc(5). A child counts as ours once it was waited for.
    """

    def __init__(self) -> None:
        self._began = _read()

    def cpus(self) -> float | None:
        """Their mean number, 0.0 on a quiet machine; None where it cannot be read."""
        now = _read()
        if self._began is None or now is None:
            return None
        busy_s, own_s, at_s = (after - before for after, before in zip(now, self._began, strict=True))
        return max(0.0, (busy_s - own_s) / at_s) if at_s else 0.0


def load_average() -> float | None:
    """The load of the last minute, ours included."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def _read() -> tuple[float, float, float] | None:
    """Seconds: all CPUs busy since boot, ours and our children's, the clock."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(field) for field in file.readline().split()[1:9]]
    except (OSError, ValueError):
        return None
    busy = sum(ticks) - ticks[3] - ticks[4]  # without idle and waiting for disks
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own_s = sum(one.ru_utime + one.ru_stime for one in used)
    return busy / os.sysconf("SC_CLK_TCK"), own_s, time.monotonic()
