"""A VM without a hypervisor: what the API server sees of one, kept in memory, for tests of the API alone."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Any

from hydra_gce.local.vm import Exit, ExitReason, MachineSpec, SerialOutput


class FakeMachines:
    """Makes and remembers them by directory, as hypervisors outlive the server that made them."""

    def __init__(self) -> None:
        self.by_directory: dict[Path, FakeMachine] = {}
        self.booting = threading.Event()  # clear it, and a VM that is powered on waits for it
        self.booting.set()
        self._guard = threading.Lock()

    def __call__(self, directory: Path) -> FakeMachine:
        with self._guard:
            return self.by_directory.setdefault(directory, FakeMachine(directory, self))

    def named(self, name: str) -> FakeMachine:
        with self._guard:
            return next(one for one in self.by_directory.values() if one.spec and one.spec.name == name)


class FakeMachine:
    def __init__(self, directory: Path, machines: FakeMachines) -> None:
        self.directory = directory
        self.spec: MachineSpec | None = None
        self.metadata: dict[str, Any] = {}
        self.published: list[dict[str, Any]] = []
        self.orders: list[str] = []
        self.console = b""
        self._machines = machines
        self._on = False
        self._exit: Exit | None = None

    def create(self, spec: MachineSpec) -> None:
        self.directory.mkdir(parents=True)
        self.spec, self.metadata = spec, spec.metadata

    def change(self, spec: MachineSpec) -> None:
        self.spec, self.metadata = spec, spec.metadata

    def power_on(self) -> None:
        assert self._machines.booting.wait(30)
        self._on, self._exit = True, None
        self.console += b"booted\n"

    def shut_down(self, grace_s: float) -> None:
        self.orders.append(f"shut-down {grace_s:g}")
        if self._on:
            self.end(ExitReason.SHUT_DOWN)

    def power_off(self) -> None:
        self.orders.append("power-off")
        if self._on:
            self.end(ExitReason.POWER_OFF)

    def reset(self) -> None:
        self.orders.append("reset")
        self.console += b"booted\n"

    def freeze(self) -> None:
        self.orders.append("freeze")

    def fill_disk(self) -> None:
        self.orders.append("fill-disk")

    def slow_metadata(self, delay_s: float) -> None:
        self.orders.append(f"slow-metadata {delay_s:g}")

    def running(self) -> bool:
        return self._on

    def exit(self) -> Exit | None:
        return self._exit

    def set_metadata(self, tree: dict[str, Any]) -> None:
        self.metadata = tree
        self.published.append(tree)

    def serial(self, start: int = 0) -> SerialOutput:
        return SerialOutput(start, self.console[start:], len(self.console))

    def delete(self) -> None:
        self._on = False
        shutil.rmtree(self.directory, ignore_errors=True)

    def end(self, reason: ExitReason) -> None:
        """The guest or the hypervisor ends the VM."""
        self._on, self._exit = False, Exit(reason, time.time())
