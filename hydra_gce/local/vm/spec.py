"""What travels between the API server and a VM: what it is to be, how it ended, what it printed."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class MachineSpec:
    """A VM as it is to be.

    name: the instance's name, and the guest's host name.
    cpus: processors, fractions allowed; memory_bytes: RAM. Enforced where cgroups can be written.
    python: executable of the Python environment that the image carries; None = a bare image.
    metadata: the tree in the form that Google's server answers `?recursive=true` with: camelCase keys, below
        "attributes" the user's own, `{"instance": {...}, "project": {...}}`. See metadata.py.
    services: environment variables of the guest that name its cloud; 127.0.0.1 addresses in them work inside.
    max_run_s: seconds from power_on to the end, kept by the hypervisor alone; None = no limit.
    shutdown_grace_s: seconds that processes have after SIGTERM when the guest or max_run_s ends the VM.
    panics: the kernel panics at boot: no startup script runs, and nothing in the guest reacts any more.
    disk_in_memory: the guest has its disk as a copy in memory, whose room `fill_disk` can take away; what it writes
        there is lost when the VM is off. Needs namespaces.
    """

    name: str
    cpus: float
    memory_bytes: int
    python: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    services: dict[str, str] = field(default_factory=dict)
    max_run_s: float | None = None
    shutdown_grace_s: float = 30.0
    panics: bool = False
    disk_in_memory: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> MachineSpec:
        return cls(**document)


class ExitReason(str, enum.Enum):
    """Why a VM is off."""

    GUEST_SHUTDOWN = "guest-shutdown"
    SHUT_DOWN = "shut-down"
    POWER_OFF = "power-off"
    MAX_RUN_DURATION = "max-run-duration"
    CRASHED = "crashed"


@dataclass(frozen=True)
class Exit:
    """at: seconds since the epoch."""

    reason: ExitReason
    at: float


@dataclass(frozen=True)
class SerialOutput:
    """A piece of the serial console, in Google's terms: offsets count all bytes ever written.

    start: offset of the first byte of contents, later than asked for where the console had to forget;
    next: where to go on reading.
    """

    start: int
    contents: bytes
    next: int
