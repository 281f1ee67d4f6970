"""Maintenance of the host that ends a VM: its program hears of it at once, and its job goes on in another."""

from __future__ import annotations

import re
import time

import pytest

from hydra_gce.bucket import SweepNames
from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import HereCompute
from tests.e2e.project import Project, eventually

SAVES_WHEN_TOLD = """
    import signal, sys

    told = out / "told.txt"
    if told.exists():
        return float(told.read_text())

    def save(number, frame):
        told.write_text(str(time.time()))
        sys.exit(0)

    signal.signal(signal.SIGTERM, save)
    (out / "running.txt").touch()
    time.sleep(1000)
"""


@pytest.mark.slow  # the embedded Compute Engine deletes nothing in the minute before it ends a VM
def test_a_program_is_told_of_host_maintenance_at_once_and_goes_on_elsewhere(
    project: Project, engine: Backend
) -> None:
    project.program(SAVES_WHEN_TOLD)
    ends = "++hydra.launcher.vm.instance.scheduling.onHostMaintenance=TERMINATE"  # as for a VM with GPUs
    running = project.start("+x=1", ends)
    names = SweepNames(running.sweep())
    bucket = engine.bucket(None)
    eventually(
        lambda: any(entry.name.endswith("/running.txt") for entry in bucket.list(names.output(0, 1))),
        "the program never ran",
    )
    (vm,) = HereCompute(engine).instances(names.sweep)
    asked = time.time()
    engine.instances.simulate_maintenance_event_unary(
        project=engine.project, zone=vm.zone.rpartition("/")[2], instance=vm.name
    )
    ended = running.end()
    assert ended.code == 0, ended.said
    assert re.search(r"job 0  COMPLETED.*attempt 2", ended.out), ended.out
    assert "host maintenance" in ended.out
    told_s = float((project.sweep_dir / "0/told.txt").read_text()) - asked
    print(f"{told_s:.3f} s from the request for a maintenance event to SIGTERM")
    assert told_s < 5, "the aim is 1 s on a quiet machine"
    assert not HereCompute(engine).instances(names.sweep), "a VM that was told of maintenance deletes itself"
    records = {entry.name.rpartition("/")[2]: entry.metadata for entry in bucket.list(names.vm(""))}
    first = records[vm.name]
    assert asked - 60 < float(first["booted"]) <= float(first["agent_started"]) < asked
    assert asked < float(first["ended"]) < time.time()
    assert (first["spot"], first["zone"]) == ("false", vm.zone.rpartition("/")[2])
    assert len(records) == 2
