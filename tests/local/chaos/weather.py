"""Bring bad days to an embedded Compute Engine, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra_gce.local.launch import call
from tests.local.embedded import Embedded
from tests.local.fake_machine import FakeMachines


def bring(cloud: Embedded, scenario: dict[str, Any] | None) -> None:
    """Begin the scenario; end the one that is on for None."""
    verb = "DELETE" if scenario is None else "POST"
    code, answer = call(cloud.server.running, verb, "chaos", scenario)
    assert code == 200, answer


def happened(cloud: Embedded, part: str) -> list[int]:
    """How often each rule of a part has happened."""
    counts: list[int] = call(cloud.server.running, "GET", "chaos")[1]["happened"][part]
    return counts


@contextmanager
def running(home: Path, machines: FakeMachines) -> Iterator[Embedded]:
    """A server at `home/local`; ended without the VMs, as by a crash that leaves them."""
    (home / "local").mkdir(exist_ok=True)
    cloud = Embedded(home / "local", machines)
    try:
        yield cloud
    finally:
        cloud.close(power_off=False)
    assert cloud.server.broken == []
