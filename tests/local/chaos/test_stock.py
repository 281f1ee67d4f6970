"""Zones that are sold out, quotas that are small: what exists counts, and refusals read like Google's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.cloud import compute_v1

from hydra_gce.local.chaos.day import BadDay
from hydra_gce.local.chaos.draws import Rule
from hydra_gce.local.chaos.scenario import read
from hydra_gce.local.chaos.stock import Kind, sold_out
from hydra_gce.local.host import Host
from hydra_gce.local.store import Store
from tests.local.chaos.weather import bring, happened, running
from tests.local.embedded import PROJECT, ZONE, Embedded, instance
from tests.local.fake_machine import FakeMachines

T4 = compute_v1.AcceleratorConfig(
    accelerator_type=f"projects/{PROJECT}/zones/{ZONE}/acceleratorTypes/nvidia-tesla-t4", accelerator_count=1
)
WITH_T4: dict[str, Any] = {
    "guest_accelerators": [T4],
    "scheduling": compute_v1.Scheduling(on_host_maintenance="TERMINATE"),
}
SPOT: dict[str, Any] = {"scheduling": compute_v1.Scheduling(provisioning_model="SPOT")}
PLAIN, DETAILED = "ZONE_RESOURCE_POOL_EXHAUSTED", "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"


def quota(cloud: Embedded, metric: str, region: str = "us-central1") -> tuple[float, float]:
    quotas = cloud.regions.get(project=PROJECT, region=region).quotas
    return next((one.usage, one.limit) for one in quotas if one.metric == metric)


def test_a_sold_out_zone_says_so_and_leaves_nothing(cloud: Embedded) -> None:
    bring(cloud, {"stock": [{"zones": ZONE}]})
    operation = cloud.insert("vm")
    (error,) = operation.error.errors
    assert error.code == PLAIN
    assert error.message.endswith("  Try a different zone, or try again later.")
    assert operation.http_error_status_code == 503
    info = error.error_details[2].error_info
    assert info.metadatas["zonesAvailable"] == "us-central1-b,us-central1-c,us-central1-f"
    assert cloud.names() == []
    assert happened(cloud, "stock") == [1]


@pytest.mark.parametrize(("machine", "asked"), [("e2-micro", SPOT), ("n1-standard-1", WITH_T4)])
def test_spot_and_gpus_are_refused_with_details(cloud: Embedded, machine: str, asked: dict[str, Any]) -> None:
    bring(cloud, {"stock": [{"zones": "us-*"}]})
    (error,) = cloud.insert("vm", machine, **asked).error.errors
    assert error.code == DETAILED
    assert error.message.endswith("(state:STOCKOUT, sub-state:STOCKOUT, resource type:compute)'.")
    assert error.error_details[2].error_info.metadatas["zonesAvailable"] == ""


def test_stock_counts_the_vms_that_exist(cloud: Embedded) -> None:
    assert not cloud.codes(cloud.insert("before"))
    bring(cloud, {"stock": [{"zones": ZONE, "machines": "e2-*", "vms": 2}]})
    assert not cloud.codes(cloud.insert("a"))
    assert cloud.codes(cloud.insert("b")) == [PLAIN]
    cloud.call("stop", "before")  # TERMINATED, it holds nothing
    assert not cloud.codes(cloud.insert("b"))
    assert cloud.codes(cloud.call("start", "before")) == [PLAIN]
    cloud.call("delete", "a")
    assert not cloud.codes(cloud.call("start", "before"))


def test_the_first_entry_that_fits_decides(cloud: Embedded) -> None:
    spot = {"zones": ZONE, "models": "SPOT", "vms": 0}
    t4 = {"zones": ZONE, "machines": "nvidia-tesla-t4", "vms": 1}
    bring(cloud, {"stock": [spot, t4, {"zones": "*", "machines": ["c3-*", "n2-*"]}]})
    assert cloud.codes(cloud.insert("spot", **SPOT)) == [DETAILED]
    assert not cloud.codes(cloud.insert("plain"))
    assert not cloud.codes(cloud.insert("t4", "n1-standard-1", **WITH_T4))
    assert cloud.codes(cloud.insert("t4-2", "n1-standard-1", **WITH_T4)) == [DETAILED]
    assert cloud.codes(cloud.insert("n2", "n2-standard-2")) == [PLAIN]
    assert happened(cloud, "stock") == [1, 1, 1]


def test_stock_comes_and_goes_with_time(tmp_path: Path) -> None:
    scenario = read({"stock": [{"until_s": 60}, {"vms": 1, "from_s": 60, "until_s": 120}]})
    now = 1000.0
    day = BadDay(scenario, now, Store(tmp_path / "state.sqlite"), lambda: now)
    vm = Kind(ZONE, ("e2-micro",), "STANDARD")
    assert sold_out(day, vm, []) == Rule("stock", 0)
    now += 60
    assert sold_out(day, vm, []) is None
    assert sold_out(day, vm, [vm]) == Rule("stock", 1)
    now += 60
    assert sold_out(day, vm, [vm]) is None


def test_the_host_is_no_larger_than_it_is(tmp_path: Path, machines: FakeMachines) -> None:
    (tmp_path / "local").mkdir()
    cloud = Embedded(tmp_path / "local", machines, Host(cores=1, memory_bytes=4 << 30))
    try:
        bring(cloud, {"stock": [{"vms": 100}]})
        assert cloud.codes(cloud.insert("vm", "e2-standard-8")) == [PLAIN]
        assert happened(cloud, "stock") == [0]
    finally:
        cloud.close()


def test_a_small_quota_is_shown_and_enforced(cloud: Embedded) -> None:
    bring(cloud, {"quotas": [{"region": "us-central1", "metric": "CPUS", "limit": 3}]})
    assert not cloud.codes(cloud.insert("a"))
    (error,) = cloud.insert("b").error.errors
    assert error.code == "QUOTA_EXCEEDED"
    assert error.message == "Quota 'CPUS' exceeded.  Limit: 3.0 in region us-central1."
    assert quota(cloud, "CPUS") == (2.0, 3.0)
    assert quota(cloud, "CPUS", "us-east1")[1] == 8.0
    bring(cloud, None)
    assert quota(cloud, "CPUS") == (2.0, 8.0)


def test_a_projects_quota_reaches_every_region(cloud: Embedded) -> None:
    bring(cloud, {"quotas": [{"region": "global", "metric": "GPUS_ALL_REGIONS", "limit": 0}]})
    (error,) = cloud.insert("t4", "n1-standard-1", **WITH_T4).error.errors
    assert error.message == "Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: 0.0 globally."
    shown = cloud.projects.get(project=PROJECT).quotas
    assert [one.limit for one in shown if one.metric == "GPUS_ALL_REGIONS"] == [0.0]


def test_disks_have_a_quota(cloud: Embedded) -> None:
    bring(cloud, {"quotas": [{"region": "us-central1", "metric": "SSD_TOTAL_GB", "limit": 45}]})
    ssd: dict[str, Any] = {"disks": [boot_disk("pd-balanced", 20)]}
    assert not cloud.codes(cloud.insert("a", **ssd))
    assert not cloud.codes(cloud.insert("b", **ssd))
    assert cloud.codes(cloud.insert("c", **ssd)) == ["QUOTA_EXCEEDED"]
    assert quota(cloud, "SSD_TOTAL_GB") == (40.0, 45.0)
    assert not cloud.codes(cloud.insert("d", disks=[boot_disk("pd-standard", 20)]))


def test_spot_has_vcpus_of_its_own_where_it_was_granted_any(cloud: Embedded) -> None:
    bring(cloud, {"quotas": [{"region": "us-central1", "metric": "PREEMPTIBLE_CPUS", "limit": 2}]})
    assert not cloud.codes(cloud.insert("a", **SPOT))
    assert (quota(cloud, "PREEMPTIBLE_CPUS"), quota(cloud, "CPUS")[0]) == ((2.0, 2.0), 0.0)
    (error,) = cloud.insert("b", **SPOT).error.errors
    assert error.message.startswith("Quota 'PREEMPTIBLE_CPUS' exceeded.")


def test_stock_and_quota_outlive_the_server(tmp_path: Path, machines: FakeMachines) -> None:
    quotas = [{"region": "us-central1", "metric": "CPUS", "limit": 2}]
    with running(tmp_path, machines) as first:
        bring(first, {"stock": [{"machines": "n2-*"}], "quotas": quotas})
        assert first.codes(first.insert("n2", "n2-standard-2")) == [PLAIN]
    with running(tmp_path, machines) as second:
        assert second.codes(second.insert("n2", "n2-standard-2")) == [PLAIN]
        assert not second.codes(second.insert("a"))
        assert second.codes(second.insert("b")) == ["QUOTA_EXCEEDED"]
        assert happened(second, "stock") == [2]


def boot_disk(kind: str, size_gb: int) -> compute_v1.AttachedDisk:
    disk = instance("any").disks[0]
    disk.initialize_params.disk_size_gb = size_gb
    disk.initialize_params.disk_type = f"zones/{ZONE}/diskTypes/{kind}"
    return disk
