"""How busy this VM is, looked at every few seconds beside the job, so that a driver that hangs holds nothing up."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from hydra_gce.usage import GPU, Usage

log = logging.getLogger(__name__)

_EVERY_S = 3.0
_KTHREADD = "kthreadd"


class Gauge:
    """``last`` is what was seen last, None before the second look: processors are measured from one to the next."""

    def __init__(
        self,
        directory: Path,
        proc: Path = Path("/proc"),
        gpus: Callable[[], Sequence[GPU]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        every_s: float = _EVERY_S,
    ) -> None:
        """``directory`` lies on the disk that is looked at."""
        self._directory = directory
        self._proc = proc
        self._gpus = gpus
        self._clock = clock
        self._every_s = every_s
        self._cores = os.cpu_count() or 1
        self._before: tuple[float, float] | None = None
        self._stop = threading.Event()
        self.last: Usage | None = None

    def start(self) -> None:
        threading.Thread(target=self._work, name="gauge", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def look(self) -> None:
        now, busy_s = self._clock(), _busy_s(self._proc)
        before, self._before = self._before, (now, busy_s)
        if before is None or now <= before[0]:
            return
        share = (busy_s - before[1]) / (now - before[0]) / self._cores
        disk = os.statvfs(self._directory)
        self.last = Usage(
            cpu=min(1.0, max(0.0, share)),
            cores=self._cores,
            memory_used=_memory_used(self._proc),
            memory_total=_meminfo(self._proc).get("MemTotal", 0),
            disk_used=(disk.f_blocks - disk.f_bfree) * disk.f_frsize,
            disk_total=disk.f_blocks * disk.f_frsize,
            gpus=tuple(self._gpus() if self._gpus else ()),
        )

    def _work(self) -> None:
        try:
            if self._gpus is None:
                self._gpus = nvidia()
            while True:
                self.look()
                if self._stop.wait(self._every_s):
                    return
        except Exception as error:  # a figure less on somebody's screen: no more than that
            log.warning("how busy this VM is will not be known: %s: %s", type(error).__name__, error)
            self.last = None


def nvidia() -> Callable[[], Sequence[GPU]]:
    """How to ask NVIDIA's driver; it has nothing to say where there is none."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(at) for at in range(pynvml.nvmlDeviceGetCount())]
    except Exception:  # no module, no driver, no GPU
        return tuple

    def look() -> list[GPU]:
        found = []
        for handle in handles:
            with suppress(pynvml.NVMLError):
                memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
                busy = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu
                found.append(GPU(busy / 100, int(memory.used), int(memory.total)))
        return found

    return look


def _is_whole_machine(proc: Path) -> bool:
    """Whether all processes of the machine are seen: a container sees its own, beside the whole machine's sums."""
    try:
        return (proc / "2" / "comm").read_text().strip() == _KTHREADD
    except OSError:
        return False


def _busy_s(proc: Path) -> float:
    """Processor seconds of all cores since some moment."""
    if _is_whole_machine(proc):
        # user nice system idle iowait irq softirq steal: https://man7.org/linux/man-pages/man5/proc_stat.5.html
        ticks = [int(field) for field in (proc / "stat").read_text().split("\n", 1)[0].split()[1:9]]
        busy = sum(ticks) - ticks[3] - ticks[4]
    else:
        # utime stime cutime cstime, fields 14 to 17: those of children that have ended are in them.
        busy = sum(sum(int(field) for field in fields[11:15]) for fields in _processes(proc))
    return float(busy) / os.sysconf("SC_CLK_TCK")


def _memory_used(proc: Path) -> int:
    """Bytes."""
    if _is_whole_machine(proc):
        known = _meminfo(proc)
        return known.get("MemTotal", 0) - known.get("MemAvailable", 0)
    pages = 0
    for path in _directories(proc):
        with suppress(OSError, ValueError, IndexError):
            resident, shared = (path / "statm").read_text().split()[1:3]
            pages += int(resident) - int(shared)
    return pages * os.sysconf("SC_PAGE_SIZE")


def _meminfo(proc: Path) -> dict[str, int]:
    found = {}
    for line in (proc / "meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            found[name] = int(value.split()[0]) * 1024
    return found


def _processes(proc: Path) -> Iterator[list[str]]:
    """What stands behind the name in each process's ``stat``."""
    for path in _directories(proc):
        with suppress(OSError):  # it has ended meanwhile
            yield (path / "stat").read_text(errors="replace").rpartition(")")[2].split()


def _directories(proc: Path) -> Iterator[Path]:
    for name in os.listdir(proc):
        if name.isdigit():
            yield proc / name
