"""What this machine can lend to VMs: the stock of its zones, and the quotas of its regions."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_MEMORY_SHARE = 0.8
_DEMAND_PER_CORE = 2.0
_QUOTA_PER_CORE = 4.0


@dataclass(frozen=True)
class Host:
    """Cores and memory of the machine that plays the cloud.

    Stock is counted in *demand*: the cores that a VM keeps busy in the long run. A shared-core type demands its
    sustained fraction, every other type its vCPUs, and a core carries two of them, so that hyper-threads come out as
    they do at Google. Memory is never lent twice.
    """

    cores: int
    memory_bytes: int

    @property
    def demand_stock(self) -> float:
        """vCPU demand that all VMs together may have."""
        return _DEMAND_PER_CORE * self.cores

    @property
    def memory_stock(self) -> int:
        """Bytes that all VMs together may have."""
        return int(_MEMORY_SHARE * self.memory_bytes)

    @property
    def cpu_quota(self) -> float:
        """vCPUs of one family that a project may have in one region."""
        return _QUOTA_PER_CORE * self.cores


def this_host(root: Path = Path("/")) -> Host:
    """The machine we run on, as far as our control group lets us have it."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _cgroup_memory_limit(root)
    return Host(cores, memory if limit is None else min(memory, limit))


def _cgroup_memory_limit(root: Path) -> int | None:
    """The tightest limit on the way from our control group up to the root; None where there is no limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    limits: list[int] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        mount = root / "sys/fs/cgroup" / controllers
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        group = mount / path.lstrip("/")
        for directory in (group, *group.parents):
            limit = _number(directory / name)
            if limit is not None:
                limits.append(limit)
            if directory == mount:
                break
    return min(limits, default=None)


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
