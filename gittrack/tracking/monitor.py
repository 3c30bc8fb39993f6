"""Samples the machine beside a run: CPU, memory, disk, network, GPUs, and the process itself.

`SystemMonitor` is one daemon thread that hands `{metric: value}` and a step to a callback. Anything on the
tracking floor may import it; it imports only the errors, and psutil and pynvml once one is built. The run
that starts it, and the switches (`enable_system_metrics_logging` and the like), live elsewhere on this floor.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from gittrack.errors import InvalidValueError, MissingToolError

_PREFIX = "system/"
_JOIN_S = 1.0
_MEGABYTE = 1e6
_DECIMALS = 3
# Counters since the start: their latest value is logged, since a mean of a counter says nothing.
_COUNTERS = frozenset({"network_receive_megabytes", "network_transmit_megabytes"})

_log = logging.getLogger("gittrack")

_Values = dict[str, float]
_Probe = Callable[[], _Values]


class SystemMonitor:
    """Logs system metrics every `interval_s * samples_before_logging` seconds, from `start` to `stop`.

    Nothing that goes wrong while sampling reaches the caller: a group that fails is left out from then on,
    with one warning. Measured: 0.6 ms of CPU a sample without GPUs.

    Args:
        log: called from the monitor's thread (for a short run once from `stop`) with the metrics, by names
            such as `system/cpu_utilization_percentage`, and the step.
        interval_s: seconds from one sample to the next.
        samples_before_logging: how many samples make one logged mean.
        first_step: the first step; each logging takes the next.

    Raises:
        MissingToolError: psutil is not installed.
        InvalidValueError: an interval that is not above 0, or fewer samples than 1.
    """

    def __init__(
        self,
        log: Callable[[dict[str, float], int], None],
        interval_s: float = 10.0,
        samples_before_logging: int = 1,
        first_step: int = 0,
    ) -> None:
        if not 0 < interval_s <= threading.TIMEOUT_MAX:
            raise InvalidValueError(f"a sampling interval must be seconds above 0, not {interval_s!r}")
        if samples_before_logging < 1:
            raise InvalidValueError(f"samples before logging must be 1 or more, not {samples_before_logging!r}")
        self._log_values = log
        self._interval_s = interval_s
        self._samples_before_logging = samples_before_logging
        self._first_step = self._step = first_step
        self._probes = _all_probes(_import_psutil())
        self._samples: list[_Values] = []
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def start(self) -> None:
        """Starts sampling; the first sample comes after one interval. Does nothing when it runs already."""
        if self._thread is not None:
            return
        self._pid = os.getpid()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gittrack-system-monitor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends sampling within a second and logs what was not logged yet, so that a short run has one sample.

        In a forked child, where the thread does not exist, it does nothing.
        """
        thread, self._thread = self._thread, None
        # The event's lock may have been held at the fork, by a thread that is not here to let it go.
        if thread is None or os.getpid() != self._pid:
            return
        self._wake.set()
        thread.join(_JOIN_S)
        if not thread.is_alive():
            self._flush()

    def _run(self) -> None:
        while not self._wake.wait(self._interval_s):
            self._sample()
            if len(self._samples) >= self._samples_before_logging:
                self._emit()

    def _flush(self) -> None:
        if self._step == self._first_step and not self._samples:
            self._sample()
        if self._samples:
            self._emit()

    def _sample(self) -> None:
        sample: _Values = {}
        for name, probe in list(self._probes.items()):
            try:
                sample.update(probe())
            except Exception as error:  # drivers and /proc fail in many ways, and none may stop training
                del self._probes[name]
                _log.warning("system metrics: %s left out from now on: %s: %s", name, type(error).__name__, error)
        self._samples.append(sample)

    def _emit(self) -> None:
        samples, self._samples = self._samples, []
        values = _summary(samples)
        if not values:
            return
        step, self._step = self._step, self._step + 1
        try:
            self._log_values(values, step)
        except Exception as error:  # the same: a full disk is the journal's to report, not a reason to stop
            self._wake.set()
            _log.warning("system metrics: stopped, as logging failed: %s: %s", type(error).__name__, error)


def _summary(samples: list[_Values]) -> dict[str, float]:
    """The means of the samples, or the last of a counter, under their full names."""
    found: dict[str, list[float]] = {}
    for sample in samples:
        for key, value in sample.items():
            found.setdefault(key, []).append(value)
    return {
        f"{_PREFIX}{key}": round(values[-1] if key in _COUNTERS else sum(values) / len(values), _DECIMALS)
        for key, values in found.items()
    }


# --------------------------------------------------------------------------------------------------- probes


def _import_psutil() -> Any:
    try:
        import psutil
    except ImportError as error:
        raise MissingToolError("psutil is needed for system metrics", "pip install 'gittrack[system]'") from error
    return psutil


def _all_probes(psutil: Any) -> dict[str, _Probe]:
    makers: dict[str, Callable[[Any], _Probe]] = {
        "CPU": _cpu_probe,
        "memory": _memory_probe,
        "disk": _disk_probe,
        "network": _network_probe,
        "process": _process_probe,
    }
    probes: dict[str, _Probe] = {}
    for name, make in makers.items():
        try:
            probes[name] = make(psutil)
        except Exception as error:  # see SystemMonitor._sample
            _log.warning("system metrics: %s left out: %s: %s", name, type(error).__name__, error)
    return probes | _gpu_probes()


def _cpu_probe(psutil: Any) -> _Probe:
    # psutil.cpu_percent keeps its last reading per thread and for all callers: the script's own calls would
    # shorten our interval, and the sample that stop() takes would have none.
    last = _cpu_seconds(psutil)

    def probe() -> _Values:
        nonlocal last
        (busy_before, total_before), last = last, _cpu_seconds(psutil)
        elapsed = last[1] - total_before
        # Less than a tick of the kernel's clock ago there is nothing to divide by; and its I/O wait may fall.
        share = min(max((last[0] - busy_before) / elapsed, 0.0), 1.0) if elapsed > 0 else None
        return {} if share is None else {"cpu_utilization_percentage": 100 * share}

    return probe


def _cpu_seconds(psutil: Any) -> tuple[float, float]:
    """Seconds that all cores were busy, and that passed on all cores, since the machine's start."""
    times = psutil.cpu_times()._asdict()
    # Linux counts guests in user and nice already.
    total = sum(value for key, value in times.items() if key not in ("guest", "guest_nice"))
    return total - times["idle"] - times.get("iowait", 0.0), total


def _memory_probe(psutil: Any) -> _Probe:
    def probe() -> _Values:
        memory = psutil.virtual_memory()
        return {
            "system_memory_usage_megabytes": memory.used / _MEGABYTE,
            "system_memory_usage_percentage": 100 * memory.used / memory.total,
        }

    return probe


def _disk_probe(psutil: Any) -> _Probe:
    def probe() -> _Values:
        disk = psutil.disk_usage(os.sep)
        return {
            "disk_usage_megabytes": disk.used / _MEGABYTE,
            "disk_usage_percentage": disk.percent,
            "disk_available_megabytes": disk.free / _MEGABYTE,
        }

    return probe


def _network_probe(psutil: Any) -> _Probe:
    first = psutil.net_io_counters()

    def probe() -> _Values:
        now = psutil.net_io_counters()
        return {
            "network_receive_megabytes": (now.bytes_recv - first.bytes_recv) / _MEGABYTE,
            "network_transmit_megabytes": (now.bytes_sent - first.bytes_sent) / _MEGABYTE,
        }

    return probe


def _process_probe(psutil: Any) -> _Probe:
    """This process alone, without its children; 100 % is one core."""
    process = psutil.Process()
    last = (time.process_time(), time.monotonic())

    def probe() -> _Values:
        nonlocal last
        before, last = last, (time.process_time(), time.monotonic())
        share = (last[0] - before[0]) / max(last[1] - before[1], 1e-9)
        return {
            "process_cpu_percentage": 100 * share,
            "process_memory_megabytes": process.memory_info().rss / _MEGABYTE,
        }

    return probe


def _gpu_probes() -> dict[str, _Probe]:
    """One probe a GPU and quantity, so that a card without a power sensor still tells its memory."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    except Exception:  # no package, no driver or no card: the usual case, and no news
        return {}
    probes: dict[str, _Probe] = {}
    for index, handle in enumerate(handles):
        for quantity, make in _GPU_QUANTITIES.items():
            probes[f"GPU {index} {quantity}"] = make(pynvml, handle, f"gpu_{index}")
    return probes


def _gpu_utilization(pynvml: Any, handle: Any, name: str) -> _Probe:
    return lambda: {f"{name}_utilization_percentage": float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)}


def _gpu_memory(pynvml: Any, handle: Any, name: str) -> _Probe:
    def probe() -> _Values:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        return {
            f"{name}_memory_usage_megabytes": memory.used / _MEGABYTE,
            f"{name}_memory_usage_percentage": 100 * memory.used / memory.total,
        }

    return probe


def _gpu_power(pynvml: Any, handle: Any, name: str) -> _Probe:
    return lambda: {f"{name}_power_usage_watts": pynvml.nvmlDeviceGetPowerUsage(handle) / 1000}


_GPU_QUANTITIES: dict[str, Callable[[Any, Any, str], _Probe]] = {
    "utilization": _gpu_utilization,
    "memory": _gpu_memory,
    "power": _gpu_power,
}
