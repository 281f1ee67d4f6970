"""What a VM does with what it has: processors, memory, disk, GPUs. Written by its agent, shown by ``hydra-gce top``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class GPU:
    """``busy`` is the share of the time in which it computed, 0 to 1; memory in bytes."""

    busy: float
    used: int
    total: int


@dataclass(frozen=True)
class Usage:
    """``cpu`` is the share of all ``cores`` together, 0 to 1; memory and disk in bytes."""

    cpu: float
    cores: int
    memory_used: int
    memory_total: int
    disk_used: int
    disk_total: int
    gpus: Sequence[GPU] = ()

    def to_text(self) -> str:
        """For an object's metadata, which has little room."""
        gpus = [[round(gpu.busy, 2), gpu.used, gpu.total] for gpu in self.gpus]
        memory, disk = [self.memory_used, self.memory_total], [self.disk_used, self.disk_total]
        return json.dumps([round(self.cpu, 3), self.cores, memory, disk, gpus], separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Usage | None:
        """None where there is nothing, or what another version has written."""
        try:
            cpu, cores, (memory, memory_total), (disk, disk_total), gpus = json.loads(text)
            found = tuple(GPU(*gpu) for gpu in gpus)
            return cls(cpu, cores, memory, memory_total, disk, disk_total, found)
        except (ValueError, TypeError):
            return None
