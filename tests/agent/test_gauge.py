"""How busy a VM is: as its kernel counts, of a machine of its own and within a container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hydra_gce.agent.gauge import Gauge, nvidia
from hydra_gce.usage import GPU
from tests.patience import wait_until

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
CORES = os.cpu_count() or 1


class Proc:
    """A /proc of the test's own."""

    def __init__(self, directory: Path, whole: bool) -> None:
        self.path = directory / "proc"
        self.write(
            "meminfo", "MemTotal:  16000 kB\nMemFree: 1 kB\nMemAvailable:  12000 kB\nHugePages_Total: 0\n"
        )
        self.write("stat", "cpu  0 0 0 0 0 0 0 0 0 0\n")
        if whole:
            self.write("2/comm", "kthreadd\n")

    def write(self, name: str, text: str) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def machine(self, busy_s: float, idle_s: float) -> None:
        self.write("stat", f"cpu  {busy_s * TICKS:.0f} 0 0 {idle_s * TICKS:.0f} 50 0 0 0 7 7\ncpu0 1 2 3\n")

    def process(self, pid: int, busy_s: float, pages: int = 0) -> None:
        fields = ["S", *["0"] * 10, f"{busy_s * TICKS:.0f}", "0", "0", "0", *["0"] * 30]
        self.write(f"{pid}/stat", f"{pid} (a (strange) name) {' '.join(fields)}\n")
        self.write(f"{pid}/statm", f"{pages * 10} {pages + 5} 5 0 0 0 0\n")


@pytest.fixture
def moments() -> list[float]:
    return [100.0, 110.0]


def gauge(proc: Proc, directory: Path, moments: list[float]) -> Gauge:
    times = iter(moments)
    return Gauge(directory, proc.path, gpus=lambda: [GPU(0.5, 1, 2)], clock=lambda: next(times))


def test_a_machine_of_its_own_counts_as_its_kernel_does(tmp_path: Path, moments: list[float]) -> None:
    proc = Proc(tmp_path, whole=True)
    made = gauge(proc, tmp_path, moments)
    made.look()
    assert made.last is None
    proc.machine(busy_s=5.0 * CORES, idle_s=5.0 * CORES)
    made.look()
    assert made.last is not None
    assert made.last.cpu == pytest.approx(0.5, abs=0.01)
    assert (made.last.memory_used, made.last.memory_total) == (4000 * 1024, 16000 * 1024)
    assert made.last.gpus == (GPU(0.5, 1, 2),)
    assert 0 < made.last.disk_used <= made.last.disk_total


def test_within_a_container_only_its_own_processes_count(tmp_path: Path, moments: list[float]) -> None:
    proc = Proc(tmp_path, whole=False)
    proc.process(1, 1.0)
    proc.process(17, 3.0, pages=100)
    made = gauge(proc, tmp_path, moments)
    made.look()
    proc.machine(busy_s=10.0 * CORES, idle_s=0.0)  # what others do
    proc.process(17, 3.0 + 2.5 * CORES, pages=300)
    made.look()
    assert made.last is not None
    assert made.last.cpu == pytest.approx(0.25, abs=0.01)
    assert made.last.memory_used == 300 * PAGE


def test_processes_that_end_meanwhile_are_no_error(tmp_path: Path, moments: list[float]) -> None:
    proc = Proc(tmp_path, whole=False)
    proc.process(17, 30.0)
    made = gauge(proc, tmp_path, moments)
    made.look()
    (proc.path / "17" / "stat").unlink()
    made.look()
    assert made.last is not None
    assert made.last.cpu == 0.0


def test_this_machine_can_be_looked_at(tmp_path: Path) -> None:
    made = Gauge(tmp_path)
    made.look()
    made.look()
    assert made.last is not None
    assert 0.0 <= made.last.cpu <= 1.0
    assert 0 < made.last.memory_used < made.last.memory_total


def test_where_it_cannot_be_known_nothing_is_said_and_nothing_ends(tmp_path: Path) -> None:
    made = Gauge(tmp_path, proc=tmp_path / "none")
    made.start()
    made.stop()
    assert made.last is None


def test_it_looks_again_and_again(tmp_path: Path) -> None:
    looks = 0

    def gpus() -> list[GPU]:
        nonlocal looks
        looks += 1
        return []

    made = Gauge(tmp_path, gpus=gpus, every_s=0.01)
    made.start()
    wait_until(lambda: looks >= 3, "three looks")
    made.stop()


def test_without_a_driver_there_are_no_gpus() -> None:
    assert isinstance(list(nvidia()()), list)
