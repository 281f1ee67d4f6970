"""Bad days of VMs that are real process trees: what their guests notice, and what is left of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.cloud import compute_v1

from hydra_gce.local.chaos import day
from hydra_gce.local.chaos.scenario import read
from hydra_gce.local.compute.cloud import Notice
from hydra_gce.local.vm import Isolation, Machine
from tests.local.embedded import PROJECT, ZONE, Embedded, eventually
from tests.local.vm.test_lifecycle import DAEMON, processes_of

SPOT = compute_v1.Scheduling(
    provisioning_model="SPOT", instance_termination_action="STOP", automatic_restart=False
)
BEATS = DAEMON + "while :; do echo beat; sleep 0.05; done\n"
WATCHES = """
url=http://${GCE_METADATA_HOST:-metadata.google.internal}/computeMetadata/v1/instance
trap 'echo terminated, preempted $(curl -sf -H Metadata-Flavor:Google $url/preempted); exit' TERM
echo watching
while :; do sleep 0.02; done
"""


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Embedded]:
    (tmp_path / "local").mkdir()
    embedded = Embedded(tmp_path / "local", Machine)  # type: ignore[arg-type]
    try:
        yield embedded
    finally:
        embedded.close()
    assert embedded.server.broken == []


def begin(cloud: Embedded, *rules: dict[str, Any]) -> None:
    inner = cloud.server.cloud
    inner.bad_day = day.begin(read({"vms": list(rules)}), inner.store, inner.clock)


def an_hour_later(cloud: Embedded) -> None:
    cloud.server.cloud.clock = lambda: time.time() + 3600


def boot(cloud: Embedded, script: str, **fields: Any) -> Machine:
    metadata = compute_v1.Metadata(items=[compute_v1.Items(key="startup-script", value=script)])
    done = cloud.insert("vm", metadata=metadata, **fields)
    assert not done.error.errors
    return Machine(cloud.home.machines / str(cloud.get("vm").id))


def console(cloud: Embedded) -> str:
    output = cloud.instances.get_serial_port_output(project=PROJECT, zone=ZONE, instance="vm")
    return str(output.contents)


def says(machine: Machine, words: str) -> bool:
    return words.encode() in machine.serial_output()


def test_a_vm_that_hangs_is_running_for_the_api_and_is_deleted_at_the_limit(cloud: Embedded) -> None:
    begin(cloud, {"event": "hang", "after_s": 1000})
    machine = boot(cloud, BEATS)
    eventually(lambda: says(machine, "beat"))
    an_hour_later(cloud)
    eventually(lambda: cloud.server.cloud.store.list("instances")[0].private["mishaps"]["drawn"] == [])
    assert cloud.get("vm").status == "RUNNING"
    assert "startup-script: beat" in console(cloud)
    before = time.monotonic()
    cloud.call("delete", "vm")
    assert time.monotonic() - before >= 2  # the notice that guests have here
    assert processes_of(machine) == []
    assert not machine.directory.exists()


def test_a_kernel_that_panics_says_so_on_the_console_of_a_running_vm(cloud: Embedded) -> None:
    begin(cloud, {"event": "boot_failure"})
    boot(cloud, "echo started")
    eventually(lambda: "end Kernel panic" in console(cloud))
    assert cloud.get("vm").status == "RUNNING"
    assert "startup" not in console(cloud)


def test_a_guest_that_is_taken_back_can_tell_why_it_ends(cloud: Embedded) -> None:
    begin(cloud, {"event": "preempt", "after_s": 1000})
    machine = boot(cloud, WATCHES, scheduling=SPOT)
    eventually(lambda: says(machine, "watching"))
    an_hour_later(cloud)
    eventually(lambda: cloud.get("vm").status == "TERMINATED")
    assert says(machine, "startup-script: terminated, preempted TRUE")
    assert processes_of(machine) == []


def test_a_guest_that_is_stopped_hears_it_and_ends_when_it_likes(cloud: Embedded) -> None:
    cloud.server.cloud.notice = Notice(stop_s=60)
    machine = boot(cloud, WATCHES)
    eventually(lambda: says(machine, "watching"))
    before = time.monotonic()
    cloud.call("stop", "vm")
    assert time.monotonic() - before < 30
    assert says(machine, "startup-script: terminated, preempted FALSE")


def test_a_delete_takes_no_longer_than_the_guest(cloud: Embedded) -> None:
    cloud.server.cloud.notice = Notice(stop_s=60)
    machine = boot(cloud, WATCHES)
    eventually(lambda: says(machine, "watching"))
    before = time.monotonic()
    cloud.call("delete", "vm")
    assert time.monotonic() - before < 30
    assert processes_of(machine) == []


def test_a_full_disk_is_the_guests_trouble_alone(cloud: Embedded) -> None:
    begin(cloud, {"event": "disk_full"})
    machine = boot(
        cloud, "until ! head -c 9000 /dev/zero >> /root/probe; do sleep 0.02; done; echo full; sleep 1000"
    )
    if machine.isolation() is not Isolation.NAMESPACES:
        pytest.skip("a VM without namespaces has no file system of its own")
    eventually(lambda: says(machine, "startup-script: full"))
    assert says(machine, "No space left on device")
    assert cloud.get("vm").status == "RUNNING"
