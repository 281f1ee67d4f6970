"""Google's client in a process of its own: the same answers, the same errors, and it never outlives its launcher."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from dataclasses import replace

import psutil
import pytest

from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import HereCompute
from hydra_gce.compute.process import ComputeProcess
from hydra_gce.errors import ConfigError, Unreachable
from hydra_gce.refusals import Reach
from tests.compute_stub import Failed, Made, stubbed_compute
from tests.fleet.lab import in_turn
from tests.patience import wait_until

ZONE = "europe-west4-a"


def body(name: str, backend: Backend) -> dict[str, object]:
    return {
        "name": name,
        "machineType": f"zones/{ZONE}/machineTypes/e2-micro",
        "labels": {"hydra-gce-sweep": name},
        "disks": [{"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": backend.image}}],
        "networkInterfaces": [{"network": "global/networks/default"}],
    }


def test_it_makes_lists_and_deletes_as_the_client_here_does(embedded: Backend) -> None:
    name = f"beside-{uuid.uuid4().hex[:8]}"
    with ComputeProcess() as beside:
        compute = beside.use(embedded)
        assert compute.insert(ZONE, body(name, embedded), str(uuid.uuid4())) is None
        (listed,) = compute.instances(name)
        assert listed == HereCompute(embedded).instances(name, [ZONE])[0]
        assert (listed.name, listed.zone, listed.machine_type, listed.sweep) == (name, ZONE, "e2-micro", name)
        compute.delete(ZONE, name)
        wait_until(lambda: not compute.instances(name), "the VM is gone")
        compute.delete(ZONE, name)  # again: no error


def test_a_refusal_and_a_wrong_field_come_back(embedded: Backend) -> None:
    with ComputeProcess() as beside:
        compute = beside.use(embedded)
        wrong = body("beside-wrong", embedded) | {"machineType": f"zones/{ZONE}/machineTypes/e2-enormous"}
        refusal = compute.insert(ZONE, wrong, str(uuid.uuid4()))
        assert refusal is not None and "e2-enormous" in refusal.message
        with pytest.raises(ConfigError, match="noSuchField"):
            compute.insert(ZONE, body("beside-field", embedded) | {"noSuchField": 1}, str(uuid.uuid4()))


def test_all_that_is_asked_of_it_is_answered_as_here() -> None:
    with stubbed_compute() as stub, ComputeProcess() as beside:
        compute, here = beside.use(stub.backend), HereCompute(stub.backend)
        stub.decide = in_turn(Made(), Failed("ZONE_RESOURCE_POOL_EXHAUSTED"), Made())
        assert compute.insert(ZONE, body("vm-0", stub.backend), "id-0") is None
        refusal = compute.insert(ZONE, body("vm-1", stub.backend), "id-1")
        assert refusal is not None and refusal.reach is Reach.ZONE
        assert refusal == here.insert(
            ZONE, body("vm-1", stub.backend), "id-1"
        )  # the same answer for the same number
        stub.consoles["vm-0"] = "login:"
        stub.preempted.add("vm-1")
        found = compute.find(ZONE, "vm-0")
        assert found is not None and found == here.find(ZONE, "vm-0")
        assert compute.find(ZONE, "vm-1") is None
        assert compute.console(ZONE, "vm-0") == "login:"
        assert (compute.was_preempted(ZONE, "vm-0"), compute.was_preempted(ZONE, "vm-1")) == (False, True)


def test_quotas_are_read_there(embedded: Backend) -> None:
    with ComputeProcess() as beside:
        assert beside.use(embedded).quotas() == HereCompute(embedded).quotas()


def test_a_compute_engine_out_of_reach_is_said_so(embedded: Backend) -> None:
    nowhere = replace(embedded, compute_endpoint="http://127.0.0.1:9")
    with ComputeProcess() as beside, pytest.raises(Unreachable):
        beside.use(nowhere).insert(ZONE, body("nowhere", embedded), str(uuid.uuid4()))


def test_it_ends_with_its_launcher_even_when_that_is_killed() -> None:
    program = (
        "import sys, time; from hydra_gce.compute.process import ComputeProcess\n"
        "process = ComputeProcess(); print(process._process.pid, flush=True); time.sleep(600)\n"
    )
    launcher = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    beside = psutil.Process(int(launcher.stdout.readline()))
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    launcher.stdout.close()
    wait_until(lambda: not beside.is_running() or beside.status() == psutil.STATUS_ZOMBIE, "it has ended")
