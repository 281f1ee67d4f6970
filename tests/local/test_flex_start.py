"""Flex-start VMs wait as PENDING until there is room, in the order of their requests, and no longer than they said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, NotFound
from google.cloud import compute_v1

from hydra_gce.local.host import Host
from tests.local.chaos.weather import bring, happened, running
from tests.local.embedded import PROJECT, ZONE, Embedded, eventually, instance
from tests.local.fake_machine import FakeMachines

TYPE = "n1-standard-1"
SOLD_OUT = {"stock": [{"zones": ZONE, "models": "FLEX_START"}]}
DETAILED = "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"


def flexible(wait_s: int | None = 600, **fields: Any) -> dict[str, Any]:
    """What a flex-start VM with a T4 is asked for by."""
    kind = f"projects/{PROJECT}/zones/{ZONE}/acceleratorTypes/nvidia-tesla-t4"
    scheduling: dict[str, Any] = {
        "provisioning_model": "FLEX_START",
        "instance_termination_action": "DELETE",
        "max_run_duration": {"seconds": 3600},
        "automatic_restart": False,
        "on_host_maintenance": "TERMINATE",
    }
    scheduling |= fields.pop("scheduling", {})
    asked: dict[str, Any] = {
        "guest_accelerators": [compute_v1.AcceleratorConfig(accelerator_type=kind, accelerator_count=1)],
        "scheduling": compute_v1.Scheduling(**scheduling),
        "reservation_affinity": {"consume_reservation_type": "NO_RESERVATION"},
    }
    if wait_s is not None:
        asked["params"] = {"request_valid_for_duration": {"seconds": wait_s}}
    return {**asked, **fields}


def ask(cloud: Embedded, name: str, machine_type: str = TYPE, **fields: Any) -> compute_v1.Operation:
    """Its insert, begun."""
    resource = instance(name, machine_type, **flexible(**fields))
    return cloud.instances.insert_unary(project=PROJECT, zone=ZONE, instance_resource=resource)


def still(cloud: Embedded, operation: compute_v1.Operation) -> compute_v1.Operation:
    return cloud.operations.get(project=PROJECT, zone=ZONE, operation=operation.name)


def waits(cloud: Embedded, name: str) -> bool:
    return cloud.get(name).status == "PENDING"


def is_tried(cloud: Embedded, times: int = 1) -> bool:
    return happened(cloud, "stock") == [times]


def pass_time(cloud: Embedded, seconds: float) -> None:
    before = cloud.server.cloud.clock
    cloud.server.cloud.clock = lambda: before() + seconds


def test_it_waits_until_the_zone_has_room(cloud: Embedded) -> None:
    bring(cloud, SOLD_OUT)
    asked = ask(cloud, "vm")
    eventually(lambda: is_tried(cloud))
    waiting = cloud.get("vm")
    assert waiting.status == "PENDING"
    assert waiting.last_start_timestamp == ""
    assert still(cloud, asked).status == compute_v1.Operation.Status.RUNNING
    bring(cloud, None)
    assert cloud.codes(cloud.wait(asked)) == []
    assert cloud.get("vm").status == "RUNNING"


def test_it_waits_for_the_room_of_this_host(cloud: Embedded) -> None:
    cloud.insert("a", "e2-standard-2")
    cloud.insert("b", "e2-standard-2")
    asked = ask(cloud, "vm")
    eventually(lambda: still(cloud, asked).status == compute_v1.Operation.Status.RUNNING)
    assert waits(cloud, "vm")
    cloud.call("delete", "a")
    assert cloud.codes(cloud.wait(asked)) == []
    assert cloud.get("vm").status == "RUNNING"


def test_short_of_quota_it_waits_too(cloud: Embedded) -> None:
    """Preemptible quota where the project has some of it, standard quota where it has none."""
    quotas = [{"region": "us-central1", "metric": "PREEMPTIBLE_NVIDIA_T4_GPUS", "limit": 1}]
    bring(cloud, {"quotas": quotas})
    first, second = ask(cloud, "first"), ask(cloud, "second")
    assert cloud.codes(cloud.wait(first)) == []
    assert waits(cloud, "second")
    quotas[0]["limit"] = 0
    bring(cloud, {"quotas": quotas})  # the standard ones have room
    assert cloud.codes(cloud.wait(second)) == []


@pytest.mark.parametrize(
    ("scenario", "code"),
    [
        (SOLD_OUT, DETAILED),
        (
            {
                "quotas": [
                    {"region": "us-central1", "metric": "NVIDIA_T4_GPUS", "limit": 0},
                    {"region": "us-central1", "metric": "PREEMPTIBLE_NVIDIA_T4_GPUS", "limit": 0},
                ]
            },
            "QUOTA_EXCEEDED",
        ),
    ],
)
def test_when_its_time_is_over_the_request_fails_and_the_vm_is_deleted(
    cloud: Embedded, scenario: dict[str, Any], code: str
) -> None:
    bring(cloud, scenario)
    asked = ask(cloud, "vm", wait_s=90)
    assert waits(cloud, "vm")
    pass_time(cloud, 91)
    assert cloud.codes(cloud.wait(asked)) == [code]
    with pytest.raises(NotFound):
        cloud.get("vm")
    assert list(cloud.disks.list(project=PROJECT, zone=ZONE)) == []


def test_without_a_wait_time_it_is_refused_at_once(cloud: Embedded) -> None:
    bring(cloud, SOLD_OUT)
    for wait_s in (None, 0):
        assert cloud.codes(cloud.wait(ask(cloud, "vm", wait_s=wait_s))) == [DETAILED]


def test_who_asked_first_is_given_room_first(cloud: Embedded) -> None:
    bring(cloud, SOLD_OUT)
    asked = [ask(cloud, f"vm-{number}") for number in range(4)]
    for room in range(1, 4):
        bring(cloud, {"stock": [{"zones": ZONE, "models": "FLEX_START", "vms": room}]})
        cloud.wait(asked[room - 1])
        running = [number for number in range(4) if cloud.get(f"vm-{number}").status == "RUNNING"]
        assert running == list(range(room))
    cloud.call("delete", "vm-1")
    cloud.wait(asked[3])
    assert sorted(cloud.names()) == ["vm-0", "vm-2", "vm-3"]


def test_of_another_kind_it_does_not_wait_behind_others(cloud: Embedded) -> None:
    bring(cloud, {"stock": [{"zones": ZONE, "machines": TYPE}]})
    ask(cloud, "first")
    other = ask(cloud, "other", "n1-standard-2")
    assert cloud.codes(cloud.wait(other)) == []
    assert waits(cloud, "first")


def test_it_can_be_deleted_while_it_waits(cloud: Embedded) -> None:
    bring(cloud, SOLD_OUT)
    first, second = ask(cloud, "first"), ask(cloud, "second")
    cloud.call("delete", "first")
    assert cloud.codes(cloud.wait(first)) == ["OPERATION_CANCELED_BY_USER"]
    assert cloud.names() == ["second"]
    bring(cloud, None)
    assert cloud.codes(cloud.wait(second)) == []


def test_it_can_be_nothing_else_while_it_waits(cloud: Embedded) -> None:
    bring(cloud, SOLD_OUT)
    ask(cloud, "vm")
    for method in ("stop", "start", "reset"):
        with pytest.raises(BadRequest, match="is not ready"):
            cloud.call(method, "vm")


def test_it_goes_on_waiting_after_a_restart_of_the_server(tmp_path: Path, machines: FakeMachines) -> None:
    with running(tmp_path, machines) as cloud:
        bring(cloud, SOLD_OUT)
        asked = [ask(cloud, f"vm-{number}") for number in range(2)]
        eventually(lambda: is_tried(cloud))
    with running(tmp_path, machines) as cloud:
        assert waits(cloud, "vm-0") and waits(cloud, "vm-1")
        bring(cloud, {"stock": [{"zones": ZONE, "models": "FLEX_START", "vms": 1}]})
        assert cloud.codes(cloud.wait(asked[0])) == []
        assert waits(cloud, "vm-1")
        pass_time(cloud, 601)  # of its time counts what it waited before
        assert cloud.codes(cloud.wait(asked[1])) == [DETAILED]


def test_a_cloud_that_closes_leaves_it_waiting(tmp_path: Path, machines: FakeMachines) -> None:
    (tmp_path / "local").mkdir()
    cloud = Embedded(tmp_path / "local", machines)
    bring(cloud, SOLD_OUT)
    ask(cloud, "vm")
    cloud.close(power_off=True)
    with running(tmp_path, machines) as again:
        assert waits(again, "vm")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"wait_s": 89}, "params.requestValidForDuration': '89s'. Must be 0 seconds, or between 90"),
        ({"wait_s": 7201}, "params.requestValidForDuration': '7201s'"),
        ({"scheduling": {"max_run_duration": {"seconds": 599}}}, "maxRunDuration.seconds': '599'"),
        ({"scheduling": {"max_run_duration": {"seconds": 604801}}}, "maxRunDuration.seconds': '604801'"),
        ({"scheduling": {"provisioning_model": "SPOT"}}, "Only VMs with the FLEX_START provisioning model"),
        ({"guest_accelerators": []}, "n1-standard-1 is not supported with the FLEX_START"),
        ({"reservation_affinity": {}}, "consumeReservationType"),
    ],
)
def test_what_google_does_not_take_is_refused(cloud: Embedded, asked: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequest) as refused:
        ask(cloud, "vm", **asked)
    assert says in refused.value.message


@pytest.mark.parametrize("machine_type", ["g2-standard-4", "a2-highgpu-1g"])
def test_accelerator_optimized_machines_are_taken(
    tmp_path: Path, machines: FakeMachines, machine_type: str
) -> None:
    (tmp_path / "local").mkdir()
    cloud = Embedded(tmp_path / "local", machines, Host(cores=64, memory_bytes=1 << 40))
    try:
        assert cloud.codes(cloud.wait(ask(cloud, "vm", machine_type, guest_accelerators=[]))) == []
    finally:
        cloud.close()
    assert cloud.server.broken == []
