"""A VM is got where there is one, for the money that there is, and what is said on the way can be read."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import Request, urlopen

import pytest

from hydra_gce.bucket import SweepNames
from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import GONE, HereCompute
from tests.e2e.project import Project

HERE = "hydra.launcher.vm.zones=[us-central1-a,us-east1-b]"
RETURNS_X = "return cfg.x"

Weather = Callable[..., None]


@pytest.fixture
def weather(engine: Backend) -> Iterator[Weather]:
    """Begins a scenario of the embedded Compute Engine; good weather again after the test."""
    url = f"{engine.compute_endpoint}/hydra-gce/chaos"

    def bring(**scenario: Any) -> None:
        content = json.dumps(scenario).encode()
        headers = {"Content-Type": "application/json"}
        urlopen(Request(url, content, headers), timeout=60).close()

    yield bring
    urlopen(Request(url, method="DELETE"), timeout=60).close()


def test_where_nothing_is_left_a_table_says_what_was_tried_and_what_would_help(
    project: Project, weather: Weather, engine: Backend
) -> None:
    weather(
        stock=[{"zones": "us-central1-a", "vms": 0}],
        quotas=[{"region": "us-east1", "metric": "CPUS", "limit": 0}],
    )
    project.program(RETURNS_X)
    ended = project.launch("+x=1", HERE, "hydra.launcher.wait_for_room_minutes=0")

    assert ended.code != 0
    table = ended.said.partition("No e2-small could be had for job 0: 1 zone asked, 1 without quota")[2]
    assert re.search(r"us-central1-a +has no e2-small left", table), ended.said
    assert re.search(r"us-east1 +quota CPUS is 0, 2 needed: not asked", table)
    assert "https://console.cloud.google.com/" in ended.said
    assert "Nothing was started; nothing is charged" in ended.said
    assert "Traceback" not in ended.said
    assert not HereCompute(engine).instances(ended.sweep)


def test_a_standard_vm_is_taken_where_no_spot_one_is_left(project: Project, weather: Weather) -> None:
    weather(stock=[{"zones": "*", "models": "SPOT", "vms": 0}])
    project.program(RETURNS_X)
    ended = project.launch("+x=7", HERE, "hydra.launcher.vm.provisioning=spot_else_standard")

    assert ended.code == 0, ended.said
    assert re.search(r"us-central1-a has no spot e2-small left; trying us-east1-b", ended.said), ended.said
    assert re.search(r"us-east1-b has no spot e2-small left; trying standard in us-central1-a", ended.said)
    assert (project.sweep_dir / "0").is_dir()


def test_jobs_wait_where_the_budget_does_not_allow_another_vm(project: Project, engine: Backend) -> None:
    """Each can cost 1.6 tenths of a cent: 72 seconds and the time to go. Two of them fit at once."""
    project.program("time.sleep(2); return cfg.x")
    over = threading.Event()
    most = [0]

    def look() -> None:
        while not over.wait(0.1):
            alive = [vm for vm in HereCompute(engine).instances() if vm.status not in GONE]
            most[0] = max(most[0], len(alive))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        ended = project.launch(
            "+x=1,2,3,4", HERE, "hydra.launcher.budget_usd=0.0042", "hydra.launcher.vm.max_run_hours=0.02"
        )
    finally:
        over.set()
        thread.join()

    assert ended.code == 0, ended.said
    assert most[0] == 2
    assert "budget_usd=0.0042 is spent" in ended.said


def test_a_budget_that_not_even_one_vm_fits_starts_nothing(
    project: Project, no_vm_was_asked_for: None
) -> None:
    project.program(RETURNS_X)
    ended = project.launch("+x=1", HERE, "hydra.launcher.budget_usd=0.01")

    assert ended.code != 0
    assert "hydra.launcher.budget_usd=0.01" in ended.said
    assert "vm.max_run_hours=" in ended.said
    assert "Traceback" not in ended.said


def test_a_dry_run_shows_what_would_be_asked_for_and_asks_for_nothing(
    project: Project, no_vm_was_asked_for: None
) -> None:
    project.program(RETURNS_X)
    ended = project.launch("+x=1,2", HERE, "hydra.launcher.dry_run=true")

    assert ended.code == 0, ended.said
    assert "/instances" in ended.out
    assert '"machineType": "zones/us-central1-a/machineTypes/e2-small"' in ended.out
    assert "$" in ended.out
    assert "hydra-gce-key" not in re.sub(r'"hydra-gce-key",\s*"value": "[^0-9a-f]', "", ended.out)


def test_a_vm_that_hangs_is_replaced_and_its_console_kept(
    project: Project, weather: Weather, engine: Backend
) -> None:
    weather(vms=[{"event": "hang", "times": 1, "after_s": 4}])
    project.program("time.sleep(8); return cfg.x")
    # Spot: a VM that does not hear of its shutdown is cut off after 30 seconds, not 90.
    ended = project.launch(
        "+x=5", HERE, "hydra.launcher.heartbeat_timeout_s=15", "hydra.launcher.vm.provisioning=spot"
    )

    assert ended.code == 0, ended.said
    assert re.search(r"VM hg-\S+-0 of job 0 has not been heard of for \d+ s; it is replaced", ended.said), (
        ended.said
    )
    assert re.search(r"job 0  COMPLETED.*attempt 2", ended.out)
    names = SweepNames(ended.sweep)
    assert b"hydra-gce" in engine.bucket(None).read(names.console(f"hg-{ended.sweep}-0"))
    assert not HereCompute(engine).instances(ended.sweep)
