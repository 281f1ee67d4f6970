"""What a bad day does to VMs, as Google's client and the VMs' hypervisors see it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from google.cloud import compute_v1

from hydra_gce.local.chaos import day
from hydra_gce.local.chaos.scenario import read
from tests.local.embedded import PROJECT, ZONE, Embedded, eventually
from tests.local.fake_machine import FakeMachines

SPOT = compute_v1.Scheduling(
    provisioning_model="SPOT", instance_termination_action="DELETE", automatic_restart=False
)
ENDS = compute_v1.Scheduling(on_host_maintenance="TERMINATE")


def begin(cloud: Embedded, *rules: dict[str, Any], **more: Any) -> None:
    """A bad day with these rules for VMs."""
    inner = cloud.server.cloud
    inner.bad_day = day.begin(read({"vms": list(rules), **more}), inner.store, inner.clock)


def happened(cloud: Embedded) -> list[int]:
    assert cloud.server.cloud.bad_day is not None
    found: list[int] = cloud.server.cloud.bad_day.happened()["vms"]
    return found


def types(cloud: Embedded) -> list[str]:
    return [one.operation_type for one in cloud.operations.list(project=PROJECT, zone=ZONE)]


def test_a_spot_vm_is_taken_back_as_google_does_it(cloud: Embedded) -> None:
    begin(cloud, {"event": "preempt"})
    cloud.insert("vm", scheduling=SPOT)
    machine = cloud.machines.named("vm")
    eventually(lambda: cloud.names() == [])
    assert machine.orders == ["shut-down 1"]
    assert machine.published[-1]["instance"]["preempted"] == "TRUE"
    told = next(
        one
        for one in cloud.operations.list(project=PROJECT, zone=ZONE)
        if one.operation_type == "compute.instances.preempted"
    )
    assert (told.user, told.status_message) == ("system", "Instance was preempted.")
    assert happened(cloud) == [1]


def test_nobody_takes_a_standard_vm_back(cloud: Embedded) -> None:
    begin(cloud, {"event": "preempt"}, {"event": "hang"})
    cloud.insert("vm")
    machine = cloud.machines.named("vm")
    eventually(lambda: machine.orders == ["freeze"])
    assert happened(cloud) == [0, 1]


def test_a_vm_that_must_end_for_maintenance_is_told_before_and_started_again(cloud: Embedded) -> None:
    begin(cloud, {"event": "maintain", "times": 1})
    cloud.insert("vm", scheduling=ENDS)
    machine = cloud.machines.named("vm")
    eventually(lambda: "compute.instances.automaticRestart" in types(cloud))
    eventually(lambda: cloud.get("vm").status == "RUNNING")
    assert machine.published[0]["instance"]["maintenanceEvent"] == "TERMINATE_ON_HOST_MAINTENANCE"
    assert machine.metadata["instance"]["maintenanceEvent"] == "NONE"
    assert machine.orders == ["shut-down 2"]


def test_a_vm_that_may_migrate_does_and_runs_on(cloud: Embedded) -> None:
    begin(cloud, {"event": "maintain"})
    cloud.insert("vm")
    machine = cloud.machines.named("vm")
    eventually(lambda: "compute.instances.migrateOnHostMaintenance" in types(cloud))
    seen = [tree["instance"]["maintenanceEvent"] for tree in machine.published]
    assert seen == ["MIGRATE_ON_HOST_MAINTENANCE", "NONE"]
    assert machine.orders == []


def test_a_vm_can_be_deleted_while_its_maintenance_is_announced(cloud: Embedded) -> None:
    begin(cloud, {"event": "maintain"})
    gpu = compute_v1.AcceleratorConfig(
        accelerator_count=1,
        accelerator_type=f"projects/{PROJECT}/zones/{ZONE}/acceleratorTypes/nvidia-tesla-t4",
    )
    cloud.insert("vm", "n1-standard-1", scheduling=ENDS, guest_accelerators=[gpu])
    machine = cloud.machines.named("vm")
    eventually(lambda: machine.published)
    cloud.call("delete", "vm")
    assert cloud.names() == []


def test_a_host_error_ends_a_vm_at_once(cloud: Embedded) -> None:
    begin(cloud, {"event": "host_error"})
    cloud.insert("vm")
    machine = cloud.machines.named("vm")
    eventually(lambda: cloud.get("vm").status == "TERMINATED")
    assert machine.orders == ["power-off"]
    assert "compute.instances.hostError" in types(cloud)


def test_somebody_deletes_a_vm(cloud: Embedded) -> None:
    begin(cloud, {"event": "delete"})
    cloud.insert("vm")
    eventually(lambda: cloud.names() == [])
    assert "delete" in types(cloud)


@pytest.mark.parametrize(
    ("rule", "order"),
    [
        ({"event": "hang"}, "freeze"),
        ({"event": "disk_full"}, "fill-disk"),
        ({"event": "slow_metadata", "delay_s": 2}, "slow-metadata 2"),
    ],
)
def test_the_hypervisor_is_told_and_the_vm_stays_running(
    cloud: Embedded, rule: dict[str, Any], order: str
) -> None:
    begin(cloud, rule)
    cloud.insert("vm")
    machine = cloud.machines.named("vm")
    eventually(lambda: machine.orders == [order])
    assert cloud.get("vm").status == "RUNNING"
    assert machine.spec is not None
    assert machine.spec.disk_in_memory is (order == "fill-disk")


def test_a_boot_failure_is_of_that_boot_only(cloud: Embedded) -> None:
    begin(cloud, {"event": "boot_failure"})
    cloud.insert("vm")
    machine = cloud.machines.named("vm")
    assert machine.spec is not None
    assert machine.spec.panics
    cloud.call("stop", "vm")
    cloud.call("start", "vm")
    assert not machine.spec.panics
    assert happened(cloud) == [1]


def test_rules_say_which_vms_how_many_and_how_often(cloud: Embedded) -> None:
    begin(
        cloud,
        {"event": "hang", "names": "worker-*", "times": 2},
        {"event": "disk_full", "machines": "e2-small"},
        {"event": "delete", "zones": "europe-*"},
        {"event": "delete", "share": 0},
    )
    for name in ("worker-1", "worker-2", "worker-3", "other"):
        cloud.insert(name)
    assert happened(cloud) == [2, 0, 0, 0]


def test_what_has_not_happened_to_a_vm_that_is_gone_does_not_count(cloud: Embedded) -> None:
    begin(cloud, {"event": "hang", "after_s": 1000, "times": 1})
    cloud.insert("first")
    assert happened(cloud) == [1]
    cloud.call("delete", "first")
    assert happened(cloud) == [0]
    cloud.insert("second")
    assert happened(cloud) == [1]


def an_hour_later(cloud: Embedded) -> None:
    cloud.server.cloud.clock = lambda: time.time() + 3600


def test_nothing_happens_any_more_when_the_day_is_over(cloud: Embedded) -> None:
    begin(cloud, {"event": "hang", "after_s": 1000})
    cloud.insert("vm")
    begin(cloud, {"event": "slow_metadata", "delay_s": 1, "after_s": 1000})
    cloud.insert("vm2")
    an_hour_later(cloud)
    eventually(lambda: cloud.machines.named("vm2").orders)
    assert cloud.machines.named("vm").orders == []


def test_an_event_outlives_the_server(tmp_path: Path, machines: FakeMachines) -> None:
    home = tmp_path / "local"
    home.mkdir()
    first = Embedded(home, machines)
    begin(first, {"event": "hang", "after_s": [1000, 2000]})
    first.insert("vm")
    first.close(power_off=False)
    assert machines.named("vm").orders == []
    second = Embedded(home, machines)
    try:
        inner = second.server.cloud
        inner.bad_day = day.resume(inner.store, inner.clock)
        an_hour_later(second)
        eventually(lambda: machines.named("vm").orders == ["freeze"])
    finally:
        second.close()
