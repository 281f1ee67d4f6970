"""``vm.provisioning=flex_start``: a sweep waits in Google's queue, and runs when its zone has stock."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from urllib.request import Request, urlopen

import pytest

from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import HereCompute
from tests.e2e.project import Project, eventually

FLEXIBLE = (
    "hydra.launcher.vm.provisioning=flex_start",
    "hydra.launcher.vm.queue_minutes=30",
    "hydra.launcher.vm.gpu=T4",
    "hydra.launcher.vm.machine_type=n1-standard-1",
    "hydra.launcher.vm.zones=[us-central1-a]",
)
WAITS = r"waits in Google's queue in us-central1-a \(up to 30 min\)"

Stock = Callable[[int], None]


@pytest.fixture
def stock(engine: Backend) -> Iterator[Stock]:
    """How many flex-start VMs the zones have room for; good weather again after the test."""
    url = f"{engine.compute_endpoint}/hydra-gce/chaos"

    def bring(vms: int) -> None:
        scenario = {"stock": [{"zones": "*", "models": "FLEX_START", "vms": vms}]}
        headers = {"Content-Type": "application/json"}
        urlopen(Request(url, json.dumps(scenario).encode(), headers), timeout=60).close()

    yield bring
    urlopen(Request(url, method="DELETE"), timeout=60).close()


def statuses(engine: Backend, sweep: str) -> list[str]:
    return sorted(vm.status for vm in HereCompute(engine).instances(sweep))


def test_a_sweep_waits_in_the_queue_and_runs_when_there_is_stock(
    project: Project, stock: Stock, engine: Backend
) -> None:
    stock(0)
    project.program("return cfg.x * 2")
    launch = project.start("+x=1,2", *FLEXIBLE)
    sweep = launch.sweep()
    eventually(lambda: statuses(engine, sweep) == ["PENDING"] * 2, "two VMs wait", lambda: launch.out)
    launch.until(WAITS)
    stock(2)
    ended = launch.end()

    assert ended.code == 0, ended.said
    assert ended.out.count("COMPLETED") == 2
    assert "is gone" not in ended.said
    assert statuses(engine, sweep) == []


def test_ctrl_c_takes_back_what_waits_in_the_queue(project: Project, stock: Stock, engine: Backend) -> None:
    stock(0)
    project.program("return cfg.x")
    launch = project.start("+x=1,2", *FLEXIBLE, "hydra.launcher.on_interrupt=cancel")
    sweep = launch.sweep()
    eventually(lambda: statuses(engine, sweep) == ["PENDING"] * 2, "two VMs wait", lambda: launch.out)
    launch.process.send_signal(signal.SIGINT)
    ended = launch.end()

    assert ended.code == 130, ended.said
    assert "no VM is left" in ended.said
    assert statuses(engine, sweep) == []
