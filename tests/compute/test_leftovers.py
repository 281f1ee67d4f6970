"""What a sweep has in a project is found by its label, whatever state it is in, and with what it costs."""

from __future__ import annotations

import time
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from google.cloud import compute_v1

from hydra_gce.compute.leftovers import QUEUED, Kind, Leftover, find, remove, sweep_of
from hydra_gce.errors import ConfigError
from tests.local.embedded import PROJECT, ZONE, eventually
from tests.quick_cloud import AnsweringProxy, QuickCloud

REGION = "projects/p/regions/us-central1"


def found(cloud: QuickCloud, sweep: str | None = "calm-otter", later_s: float = 0.0) -> dict[str, Leftover]:
    return {one.name: one for one in find(cloud.backend, sweep, time.time() + later_s).leftovers}


def test_vms_are_found_in_any_status_and_of_no_other_sweep(cloud: QuickCloud) -> None:
    cloud.make("calm-otter", 0)
    cloud.embedded.call("stop", cloud.make("calm-otter", 1))
    cloud.make("calm-otters", 0)
    cloud.make("calm-yak", 0)
    assert {name: one.status for name, one in found(cloud).items()} == {
        "hg-calm-otter-0": "RUNNING",
        "hg-calm-otter-1": "TERMINATED",
    }
    assert len(found(cloud, None)) == 4


def test_a_vm_whose_insert_is_stuck_is_found(cloud: QuickCloud) -> None:
    cloud.machines.booting.clear()
    name = cloud.make("calm-otter", wait=False)
    assert found(cloud)[name].status in ("PROVISIONING", "STAGING")


def test_a_stopped_vm_costs_what_its_disk_does(cloud: QuickCloud) -> None:
    name = cloud.make("calm-otter")
    running = found(cloud, later_s=3600)[name]
    cloud.embedded.call("stop", name)
    stopped = found(cloud, later_s=3600)[name]
    assert running.hourly is not None and running.spent is not None
    assert stopped.hourly is not None and stopped.spent is not None
    assert abs(running.spent - running.hourly) < running.hourly / 100
    assert stopped.hourly == Decimal("0.000548")  # 10 GB of pd-standard at $0.04 a month
    assert stopped.hourly < stopped.spent < running.spent / 2


def test_a_disk_that_outlived_its_vm_is_found_by_its_label_or_its_name(cloud: QuickCloud) -> None:
    cloud.leave_its_disk(cloud.make("calm-otter", 0))
    name = cloud.make("calm-otter", 1, labels={})
    cloud.embedded.call("set_disk_auto_delete", name, auto_delete=False, device_name="persistent-disk-0")
    cloud.embedded.call("delete", name)
    cloud.make("calm-otter", 2)
    disks = [one.name for one in found(cloud).values() if one.kind is Kind.DISK]
    assert disks == ["hg-calm-otter-0", "hg-calm-otter-1"]


@pytest.mark.parametrize("name", ["hg-team-archive-1", "hg-calm-otter", "my-hg-calm-otter-1", "data"])
def test_somebody_elses_disk_is_never_taken_for_ours(cloud: QuickCloud, name: str) -> None:
    disk = compute_v1.Disk(name=name, size_gb=10)
    cloud.embedded.wait(cloud.embedded.disks.insert_unary(project=PROJECT, zone=ZONE, disk_resource=disk))
    assert found(cloud, None) == {}
    assert found(cloud, "calm-otter") == {}


def test_a_disk_that_is_in_use_stays_with_who_uses_it(cloud: QuickCloud) -> None:
    name = cloud.make("calm-otter")
    (vm,) = found(cloud).values()
    refused = remove(cloud.backend, replace(vm, kind=Kind.DISK))
    assert "is already being used by" in refused
    assert cloud.disks() == [name]


def test_deletion_protection_is_taken_off(cloud: QuickCloud) -> None:
    cloud.make("calm-otter", deletion_protection=True)
    (vm,) = found(cloud).values()
    assert vm.protected
    assert remove(cloud.backend, vm) == ""
    eventually(lambda: not found(cloud))


def test_what_is_gone_already_needs_no_deletion(cloud: QuickCloud) -> None:
    cloud.make("calm-otter")
    (vm,) = found(cloud).values()
    for kind in (Kind.DISK, Kind.VM):
        assert remove(cloud.backend, replace(vm, name="hg-calm-otter-9", kind=kind)) == ""


def test_addresses_are_found_and_deleted(cloud: QuickCloud, proxy: AnsweringProxy) -> None:
    address: dict[str, Any] = {
        "name": "hg-address",
        "address": "34.1.2.3",
        "addressType": "EXTERNAL",
        "status": "RESERVED",
        "region": REGION,
        "labels": {"hydra-gce-sweep": "calm-otter"},
    }
    items = {"regions/us-central1": {"addresses": [address]}}
    proxy.answers["GET", "/aggregated/addresses"] = lambda: {"items": items}
    proxy.answers["DELETE", "/regions/us-central1/addresses/hg-address"] = lambda: {"status": "DONE"}
    (one,) = find(cloud.through(proxy), "calm-otter", time.time()).leftovers
    assert (one.kind, one.where, one.what, one.hourly) == (
        Kind.ADDRESS,
        "us-central1",
        "34.1.2.3",
        Decimal("0.01"),
    )
    assert remove(cloud.through(proxy), one) == ""
    assert proxy.seen[-1][0] == "DELETE"


def test_an_insert_that_waits_its_turn_is_a_vm_to_come(cloud: QuickCloud, proxy: AnsweringProxy) -> None:
    links = [f"projects/p/zones/us-east1-b/instances/{name}" for name in ("hg-calm-otter-3-a2", "mine")]
    inserts = [{"name": "operation", "operationType": "insert", "targetLink": link} for link in links]
    items = {"zones/us-east1-b": {"operations": inserts}}
    proxy.answers["GET", "/aggregated/operations"] = lambda: {"items": items}
    (one,) = find(cloud.through(proxy), "calm-otter", time.time()).leftovers
    assert (one.name, one.where, one.status, one.leaving) == (
        "hg-calm-otter-3-a2",
        "us-east1-b",
        QUEUED,
        True,
    )


def test_zones_that_do_not_answer_are_named(cloud: QuickCloud, proxy: AnsweringProxy) -> None:
    proxy.answers["GET", "/aggregated/instances"] = lambda: {"unreachables": ["projects/p/zones/us-east1-b"]}
    assert find(cloud.through(proxy), None, time.time()).silent == ["us-east1-b"]


@pytest.mark.parametrize("name", ['x" OR name:*', "Calm-Otter", ""])
def test_what_cannot_be_a_sweeps_name_is_no_filter(cloud: QuickCloud, name: str) -> None:
    with pytest.raises(ConfigError, match="no sweep's name"):
        find(cloud.backend, name, time.time())


@pytest.mark.parametrize(
    ("name", "sweep"),
    [
        ("hg-calm-otter-0", "calm-otter"),
        ("hg-calm-otter-12-a2", "calm-otter"),
        ("hg-calm-otter-12-a2-1", "calm-otter"),
        ("hg-calm-otter", None),
        ("web-1", None),
    ],
)
def test_a_name_tells_its_sweep(name: str, sweep: str | None) -> None:
    assert sweep_of(name) == sweep
