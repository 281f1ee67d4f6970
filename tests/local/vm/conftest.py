"""Guests to boot in tests: each with a startup script, read by what it says on its serial console."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hydra_gce.local.vm import Isolation, Machine, MachineSpec
from hydra_gce.local.vm.isolation import SWITCH

WITHIN_S = 60.0


def wait_until(condition: Callable[[], Any], what: str = "the condition") -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {WITHIN_S} s"
        time.sleep(0.01)


class Guests:
    """Boots guests, each in a directory of its own, and leaves none when the test is over."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.machines: list[Machine] = []

    def create(self, script: str = "", *, name: str = "guest", **changes: Any) -> Machine:
        attributes = {"startup-script": script, **changes.pop("attributes", {})}
        tree = {
            "instance": {"attributes": attributes, "name": name, **changes.pop("instance", {})},
            "project": {"projectId": "hydra-gce-local", "attributes": {}},
        }
        settings: dict[str, Any] = {
            "cpus": 1,
            "memory_bytes": 2 << 30,
            "python": None,
            "metadata": tree,
            **changes,
        }
        machine = Machine(self.directory / f"{name}-{len(self.machines)}")
        self.machines.append(machine)
        machine.create(MachineSpec(name=name, **settings))
        return machine

    def boot(self, script: str = "", **changes: Any) -> Machine:
        machine = self.create(script, **changes)
        machine.power_on()
        return machine

    wait_until = staticmethod(wait_until)

    def says(self, machine: Machine, words: str) -> str:
        """The console, once it shows these words."""
        wait_until(
            lambda: words in machine.serial_output().decode() or not machine.running(),
            f"{words!r} on the console of {machine.directory}",
        )
        wait_until(lambda: machine.running() or machine.exit() is not None)
        console = machine.serial_output().decode()
        assert words in console, f"the VM is off; its console said:\n{console}"
        return console

    def output(self, script: str, **changes: Any) -> list[str]:
        """The lines that a startup script prints until its end."""
        console = self.says(self.boot(script, **changes), "Finished running startup scripts")
        return [
            line.split("startup-script: ", 1)[1].rstrip("\r")
            for line in console.split("\n")
            if "]: startup-script: " in line
        ]


@pytest.fixture
def guests(tmp_path: Path) -> Iterator[Guests]:
    made = Guests(tmp_path / "machines")
    yield made
    for machine in made.machines:
        machine.delete()


@pytest.fixture(scope="session")
def namespaces_refused(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Why this machine does not let us have namespaces; empty if it does."""
    made = Guests(tmp_path_factory.mktemp("probe"))
    machine = made.boot("")
    refused = "" if machine.isolation() is Isolation.NAMESPACES else machine.serial_output().decode()
    machine.delete()
    return refused


@pytest.fixture(params=["namespaces", "environment"])
def isolation(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, namespaces_refused: str
) -> Isolation:
    """The test runs once in each kind of isolation."""
    kind = Isolation(request.param)
    if kind is Isolation.NAMESPACES and namespaces_refused:
        pytest.skip(namespaces_refused)
    monkeypatch.setenv(SWITCH, kind.value)
    return kind


@pytest.fixture
def namespaces(monkeypatch: pytest.MonkeyPatch, namespaces_refused: str) -> None:
    """The test is about guests in namespaces."""
    if namespaces_refused:
        pytest.skip(namespaces_refused)
    monkeypatch.setenv(SWITCH, "namespaces")


@pytest.fixture
def python() -> str:
    return sys.executable
