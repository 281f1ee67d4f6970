"""CPU and memory of a VM are limited where control groups can be written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hydra_gce.local.vm import Isolation, Machine, limits


@pytest.fixture(scope="module")
def control_groups() -> list[str]:
    """The controllers that can be had here."""
    probe = limits.impose("probe", 1, 1 << 30)
    settings = [name for group in probe.groups for name in os.listdir(group)]
    probe.remove()
    return settings


def groups_of(machine: Machine) -> list[Path]:
    return [Path(group) for group in json.loads((machine.directory / "state.json").read_text())["groups"]]


def test_a_guest_that_takes_more_memory_than_it_has_is_killed_and_the_vm_lives(
    guests: Any, isolation: Isolation, control_groups: list[str]
) -> None:
    if not {"memory.max", "memory.limit_in_bytes"} & set(control_groups):
        pytest.skip("no memory control group can be written here")
    machine = guests.boot(
        "python3 -c 'x = bytearray(400 << 20); print(len(x))'; echo exit=$?", memory_bytes=128 << 20
    )
    console = guests.says(machine, "startup-script: exit=")
    assert "exit=137" in console
    assert machine.running()


def test_processors_are_shared_out_as_the_machine_type_says(
    guests: Any, isolation: Isolation, control_groups: list[str]
) -> None:
    if not {"cpu.max", "cpu.cfs_quota_us"} & set(control_groups):
        pytest.skip("no cpu control group can be written here")
    machine = guests.boot("sleep 1000", cpus=0.5)
    quotas = [
        (group / name).read_text().split()[0]
        for group in groups_of(machine)
        for name in ("cpu.max", "cpu.cfs_quota_us")
        if (group / name).exists()
    ]
    assert quotas == ["50000"]


def test_control_groups_go_with_the_vm(guests: Any, isolation: Isolation) -> None:
    machine = guests.boot("sleep 1000")
    groups = groups_of(machine)
    assert all(group.exists() for group in groups)
    machine.delete()
    assert not any(group.exists() for group in groups)
