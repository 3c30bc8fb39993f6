"""The system monitor logs what the machine does, ends at once, and never harms the training beside it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections import namedtuple
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import psutil
import pytest

from gittrack.errors import InvalidValueError, MissingToolError
from gittrack.tracking.monitor import SystemMonitor

WAIT_S = 10.0
LONG_S = 3600.0
ALWAYS = {
    "system/system_memory_usage_megabytes",
    "system/system_memory_usage_percentage",
    "system/disk_usage_megabytes",
    "system/disk_usage_percentage",
    "system/disk_available_megabytes",
    "system/network_receive_megabytes",
    "system/network_transmit_megabytes",
    "system/process_cpu_percentage",
    "system/process_memory_megabytes",
}
CPU = "system/cpu_utilization_percentage"
Memory = namedtuple("Memory", "used total")
Disk = namedtuple("Disk", "used free percent")
Network = namedtuple("Network", "bytes_recv bytes_sent")


class Received:
    """A log callback that keeps what it gets, and tells when it has `wanted` of them."""

    def __init__(self, wanted: int = 1) -> None:
        self.calls: list[tuple[dict[str, float], int]] = []
        self.wanted = wanted
        self.enough = threading.Event()

    def __call__(self, values: dict[str, float], step: int) -> None:
        self.calls.append((values, step))
        if len(self.calls) >= self.wanted:
            self.enough.set()

    @property
    def steps(self) -> list[int]:
        return [step for _, step in self.calls]


@pytest.fixture(autouse=True)
def no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)


@pytest.fixture
def fixed_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """psutil tells: 10, 20, 30 … MB used of 200 MB, and 1 MB more from the network at each call."""
    counter: Iterator[int] = iter(range(1, 1_000_000))
    network: Iterator[int] = iter(range(1_000_000))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(next(counter) * 10e6, 200e6))
    monkeypatch.setattr(psutil, "net_io_counters", lambda: Network(next(network) * 1e6, 0))
    monkeypatch.setattr(psutil, "disk_usage", lambda _: Disk(50e6, 150e6, 25.0))


def run_until(received: Received, monitor: SystemMonitor) -> None:
    monitor.start()
    assert received.enough.wait(WAIT_S)
    monitor.stop()


def test_it_logs_the_machine_and_the_process() -> None:
    received = Received()
    run_until(received, SystemMonitor(received, interval_s=0.05))
    assert set(received.calls[0][0]) - {CPU} == ALWAYS


def test_the_cpus_share_is_of_all_cores_since_the_last_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    times = namedtuple("times", "user system idle iowait guest")
    readings = iter([times(10, 5, 100, 5, 10), times(12, 6, 104, 8, 12)])
    monkeypatch.setattr(psutil, "cpu_times", lambda: next(readings))
    received = Received()
    monitor = SystemMonitor(received, LONG_S)
    monitor.start()
    monitor.stop()
    assert received.calls[0][0][CPU] == 30.0


def test_a_sample_within_one_tick_has_no_cpu_share(monkeypatch: pytest.MonkeyPatch) -> None:
    same = psutil.cpu_times()
    monkeypatch.setattr(psutil, "cpu_times", lambda: same)
    received = Received()
    monitor = SystemMonitor(received, LONG_S)
    monitor.start()
    monitor.stop()
    assert set(received.calls[0][0]) == ALWAYS


def test_steps_count_up_from_the_first_step() -> None:
    received = Received(wanted=3)
    run_until(received, SystemMonitor(received, interval_s=0.001, first_step=5))
    assert received.steps[:3] == [5, 6, 7]


@pytest.mark.usefixtures("fixed_machine")
def test_means_of_samples_are_logged_and_the_last_of_a_counter() -> None:
    received = Received()
    run_until(received, SystemMonitor(received, interval_s=0.001, samples_before_logging=3))
    values = received.calls[0][0]
    assert {key: values[key] for key in sorted(ALWAYS) if "process" not in key} == {
        "system/disk_available_megabytes": 150.0,
        "system/disk_usage_megabytes": 50.0,
        "system/disk_usage_percentage": 25.0,
        "system/network_receive_megabytes": 3.0,
        "system/network_transmit_megabytes": 0.0,
        "system/system_memory_usage_megabytes": 20.0,
        "system/system_memory_usage_percentage": 10.0,
    }


def test_a_short_run_has_one_sample() -> None:
    received = Received()
    monitor = SystemMonitor(received, LONG_S, samples_before_logging=5)
    monitor.start()
    monitor.stop()
    assert received.steps == [0]


def test_stop_wakes_the_thread_at_once() -> None:
    monitor = SystemMonitor(Received(), LONG_S)
    monitor.start()
    began = time.monotonic()
    monitor.stop()
    assert (time.monotonic() - began < 0.5, monitor_threads()) == (True, [])


def test_stop_waits_no_longer_than_a_second_for_a_callback_that_hangs() -> None:
    entered, leave = threading.Event(), threading.Event()

    def hang(values: dict[str, float], step: int) -> None:
        entered.set()
        leave.wait(WAIT_S)

    monitor = SystemMonitor(hang, interval_s=0.001)
    monitor.start()
    assert entered.wait(WAIT_S)
    began = time.monotonic()
    monitor.stop()
    took_s = time.monotonic() - began
    leave.set()
    for thread in monitor_threads():
        thread.join(WAIT_S)
    assert 0.9 < took_s < 2.0


def test_stop_without_start_and_a_second_stop_do_nothing() -> None:
    received = Received()
    monitor = SystemMonitor(received, LONG_S)
    monitor.stop()
    monitor.start()
    monitor.stop()
    monitor.stop()
    assert received.steps == [0]


def test_a_second_start_makes_no_second_thread() -> None:
    monitor = SystemMonitor(Received(), LONG_S)
    monitor.start()
    monitor.start()
    running = len(monitor_threads())
    monitor.stop()
    assert running == 1


def test_a_failing_group_is_dropped_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(path: str) -> None:
        raise OSError("disk is gone")

    monkeypatch.setattr(psutil, "disk_usage", fail)
    received = Received(wanted=3)
    run_until(received, SystemMonitor(received, interval_s=0.001))
    kept = {key for key in ALWAYS if "disk" not in key}
    assert [set(values) - {CPU} for values, _ in received.calls[:3]] == [kept] * 3
    assert caplog.record_tuples == [
        ("gittrack", logging.WARNING, "system metrics: disk left out from now on: OSError: disk is gone")
    ]


def test_a_group_that_fails_at_construction_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(psutil, "net_io_counters")
    received = Received()
    monitor = SystemMonitor(received, LONG_S)
    monitor.start()
    monitor.stop()
    assert set(received.calls[0][0]) - {CPU} == {key for key in ALWAYS if "network" not in key}
    assert len(caplog.record_tuples) == 1


def test_a_callback_that_fails_ends_the_monitor_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    called = threading.Event()

    def fail(values: dict[str, float], step: int) -> None:
        called.set()
        raise OSError("disk full")

    monitor = SystemMonitor(fail, interval_s=0.001)
    monitor.start()
    assert called.wait(WAIT_S)
    for thread in monitor_threads():
        thread.join(WAIT_S)
    monitor.stop()
    assert [text for *_, text in caplog.record_tuples] == [
        "system metrics: stopped, as logging failed: OSError: disk full"
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_stop_in_a_forked_child_neither_hangs_nor_logs() -> None:
    received = Received()
    monitor = SystemMonitor(received, LONG_S)
    monitor.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later: fork beside threads
        child = os.fork()
    if child == 0:
        signal.alarm(int(WAIT_S))  # a child that hangs is killed, and its status tells
        monitor.stop()
        os._exit(len(received.calls))
    _, status = os.waitpid(child, 0)
    monitor.stop()
    assert (status, received.steps) == (0, [0])


def fake_nvml(**changes: object) -> ModuleType:
    calls = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=40 + handle),
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(used=1e9, total=4e9),
        "nvmlDeviceGetPowerUsage": lambda handle: 65_500,
    }
    module = ModuleType("pynvml")
    module.__dict__.update(calls | changes)
    return module


def gpu_metrics(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> dict[str, float]:
    monkeypatch.setitem(sys.modules, "pynvml", module)
    received = Received()
    monitor = SystemMonitor(received, LONG_S)
    monitor.start()
    monitor.stop()
    return {key: value for key, value in received.calls[0][0].items() if "gpu" in key}


def test_each_gpu_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_metrics(monkeypatch, fake_nvml()) == {
        "system/gpu_0_utilization_percentage": 40.0,
        "system/gpu_0_memory_usage_megabytes": 1000.0,
        "system/gpu_0_memory_usage_percentage": 25.0,
        "system/gpu_0_power_usage_watts": 65.5,
        "system/gpu_1_utilization_percentage": 41.0,
        "system/gpu_1_memory_usage_megabytes": 1000.0,
        "system/gpu_1_memory_usage_percentage": 25.0,
        "system/gpu_1_power_usage_watts": 65.5,
    }


def test_a_gpu_without_a_power_sensor_still_tells_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    module = fake_nvml(nvmlDeviceGetCount=lambda: 1)
    del module.nvmlDeviceGetPowerUsage
    assert gpu_metrics(monkeypatch, module) == {
        "system/gpu_0_utilization_percentage": 40.0,
        "system/gpu_0_memory_usage_megabytes": 1000.0,
        "system/gpu_0_memory_usage_percentage": 25.0,
    }


def test_without_a_driver_there_are_no_gpus_and_no_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("NVML Shared Library Not Found")

    assert (gpu_metrics(monkeypatch, fake_nvml(nvmlInit=fail)), caplog.records) == ({}, [])


def test_without_psutil_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(MissingToolError, match=r"pip install 'gittrack\[system\]'"):
        SystemMonitor(Received())


@pytest.mark.parametrize("interval_s", [0.0, -1.0, float("nan"), float("inf")])
def test_an_interval_must_be_above_zero(interval_s: float) -> None:
    with pytest.raises(InvalidValueError, match="seconds above 0"):
        SystemMonitor(Received(), interval_s)


def test_a_mean_needs_a_sample() -> None:
    with pytest.raises(InvalidValueError, match="must be 1 or more, not 0"):
        SystemMonitor(Received(), samples_before_logging=0)


def monitor_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "gittrack-system-monitor"]
