"""Quota and stock follow the host."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.cloud import compute_v1

from hydra_gce.local.host import Host, this_host
from tests.local.embedded import PROJECT, ZONE, Embedded

T4 = compute_v1.AcceleratorConfig(
    accelerator_type=f"projects/{PROJECT}/zones/{ZONE}/acceleratorTypes/nvidia-tesla-t4", accelerator_count=4
)
TERMINATE = compute_v1.Scheduling(on_host_maintenance="TERMINATE")


def quota(cloud: Embedded, metric: str) -> tuple[float, float]:
    quotas = cloud.regions.get(project=PROJECT, region="us-central1").quotas
    return next((one.usage, one.limit) for one in quotas if one.metric == metric)


def test_a_vm_beyond_the_host_can_never_be_had(cloud: Embedded) -> None:
    operation = cloud.insert("vm", "e2-standard-32")
    (error,) = operation.error.errors
    assert error.code == "ZONE_RESOURCE_POOL_EXHAUSTED"
    assert error.message == (
        f"The zone 'projects/{PROJECT}/zones/{ZONE}' does not have enough resources available to fulfill the request."
        "  Try a different zone, or try again later."
    )
    assert operation.http_error_status_code == 503
    assert cloud.names() == []
    assert list(cloud.disks.list(project=PROJECT, zone=ZONE)) == []


def test_a_full_stock_is_free_again_when_a_vm_goes(cloud: Embedded) -> None:
    cloud.insert("a", "e2-standard-2")
    cloud.insert("b", "e2-standard-2")
    assert cloud.codes(cloud.insert("c", "e2-micro")) == ["ZONE_RESOURCE_POOL_EXHAUSTED"]
    cloud.call("delete", "a")
    assert cloud.codes(cloud.insert("c", "e2-micro")) == []


def test_memory_is_never_lent_twice(cloud: Embedded) -> None:
    cloud.insert("a", "custom-1-6656")
    cloud.insert("b", "custom-1-6656")
    assert cloud.codes(cloud.insert("c", "custom-1-6656")) == ["ZONE_RESOURCE_POOL_EXHAUSTED"]


def test_shared_cores_demand_their_sustained_fraction(cloud: Embedded) -> None:
    for number in range(4):
        assert cloud.codes(cloud.insert(f"vm-{number}", "e2-micro")) == []
    assert quota(cloud, "CPUS") == (8.0, 8.0)


def test_a_full_quota_says_which_and_how_much(cloud: Embedded) -> None:
    for number in range(4):
        cloud.insert(f"vm-{number}", "e2-micro")
    operation = cloud.insert("one-more", "e2-micro")
    (error,) = operation.error.errors
    assert error.code == "QUOTA_EXCEEDED"
    assert error.message == "Quota 'CPUS' exceeded.  Limit: 8.0 in region us-central1."
    (detail,) = error.error_details
    assert detail.quota_info.metric_name == "compute.googleapis.com/cpus"
    assert detail.quota_info.limit_name == "CPUS-per-project-region"
    assert detail.quota_info.dimensions == {"region": "us-central1"}
    assert operation.http_error_status_code == 403


def test_gpus_are_counted_by_googles_names(cloud: Embedded) -> None:
    for name in ("a", "b"):
        cloud.insert(name, "custom-1-1024", guest_accelerators=[T4], scheduling=TERMINATE)
    assert quota(cloud, "NVIDIA_T4_GPUS") == (8.0, 8.0)
    third = cloud.insert("c", "custom-1-1024", guest_accelerators=[T4], scheduling=TERMINATE)
    assert third.error.errors[0].message.startswith("Quota 'NVIDIA_T4_GPUS' exceeded.")


def test_a_stopped_vm_holds_no_cores_and_may_find_none_at_its_start(cloud: Embedded) -> None:
    cloud.insert("a", "e2-standard-4")
    cloud.call("stop", "a")
    assert quota(cloud, "CPUS")[0] == 0
    cloud.insert("b", "e2-standard-4")
    assert cloud.codes(cloud.call("start", "a")) == ["ZONE_RESOURCE_POOL_EXHAUSTED"]
    assert cloud.get("a").status == "TERMINATED"


def test_the_host_is_as_large_as_its_control_group(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/box\n")
    (tmp_path / "sys/fs/cgroup/box").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/box/memory.max").write_text(f"{1 << 30}\n")
    assert this_host(tmp_path).memory_bytes == 1 << 30
    (tmp_path / "sys/fs/cgroup/box/memory.max").write_text("max\n")
    assert this_host(tmp_path).memory_bytes > 1 << 30


@pytest.mark.parametrize(("cores", "stock", "limit"), [(2, 4.0, 8.0), (16, 32.0, 64.0)])
def test_stock_and_quota_grow_with_the_cores(cores: int, stock: float, limit: float) -> None:
    host = Host(cores, 10 << 30)
    assert (host.demand_stock, host.cpu_quota, host.memory_stock) == (stock, limit, 8 << 30)
