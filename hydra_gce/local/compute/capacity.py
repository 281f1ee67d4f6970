"""Quota and stock: what a project may have, and what this host can lend. Usage is counted from the instances."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from hydra_gce.local.chaos import stock
from hydra_gce.local.compute import firewalls
from hydra_gce.local.compute.catalog import MachineType
from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.errors import Json, OperationError, quota_exceeded, zone_exhausted, zone_stockout
from hydra_gce.local.compute.flex_start import is_flex_start
from hydra_gce.local.compute.names import last, region_of
from hydra_gce.local.store import Resource

if TYPE_CHECKING:
    from hydra_gce.local.chaos.day import BadDay

_FAMILY_CPUS = {
    "a2": "A2_CPUS", "c2": "C2_CPUS", "c2d": "C2D_CPUS", "c3": "C3_CPUS", "m1": "M1_CPUS", "m2": "M2_CPUS",
    "m3": "M3_CPUS", "n2": "N2_CPUS", "n2d": "N2D_CPUS", "t2a": "T2A_CPUS", "t2d": "T2D_CPUS",
}  # fmt: skip
# Families whose vCPUs are granted with their GPUs, or by another kind of quota that regions do not show.
_NO_CPU_QUOTA = ("a3", "a4", "a4x", "g4")
_GPUS = {
    "nvidia-a100-80gb": "NVIDIA_A100_80GB_GPUS",
    "nvidia-l4": "NVIDIA_L4_GPUS",
    "nvidia-tesla-a100": "NVIDIA_A100_GPUS",
    "nvidia-tesla-p100": "NVIDIA_P100_GPUS",
    "nvidia-tesla-p100-vws": "NVIDIA_P100_VWS_GPUS",
    "nvidia-tesla-p4": "NVIDIA_P4_GPUS",
    "nvidia-tesla-p4-vws": "NVIDIA_P4_VWS_GPUS",
    "nvidia-tesla-t4": "NVIDIA_T4_GPUS",
    "nvidia-tesla-t4-vws": "NVIDIA_T4_VWS_GPUS",
    "nvidia-tesla-v100": "NVIDIA_V100_GPUS",
}
_SPOT_ONLY = {"nvidia-h100-80gb": "PREEMPTIBLE_NVIDIA_H100_GPUS"}
_GPU_LIMIT = 8.0
_GLOBAL_GPU_LIMIT = 64.0
_ROOM = {
    "DISKS_TOTAL_GB": 102_400.0, "IN_USE_ADDRESSES": 575.0, "INSTANCES": 6_000.0, "LOCAL_SSD_TOTAL_GB": 96_000.0,
    "SSD_TOTAL_GB": 102_400.0, "STATIC_ADDRESSES": 175.0, "PREEMPTIBLE_CPUS": 0.0,
}  # fmt: skip
_GLOBAL_ROOM = {
    "FIREWALLS": 1_000.0,
    "IMAGES": 2_000.0,
    "NETWORKS": 15.0,
    "SNAPSHOTS": 5_000.0,
    "SUBNETWORKS": 275.0,
}


def machine_type(cloud: Cloud, instance: Resource) -> MachineType:
    """The type that an instance has; it was checked when the instance was made."""
    kind = cloud.catalog.machine_type(last(instance.scope), last(instance.body["machineType"]))
    assert kind is not None
    return kind


def claim(cloud: Cloud, instance: Resource, *, again: bool = False) -> None:
    """Take the instance's share of quota and stock, or raise the `OperationError` that Google would end with.

    `again`: it has been refused before, which counts once for the bad day.
    """
    kind = machine_type(cloud, instance)
    zone = last(instance.scope)
    exhausted = zone_exhausted(instance.project, zone, kind.name, _attachment(instance))
    memory = kind.memory_mb << 20
    if kind.demand > cloud.host.demand_stock or memory > cloud.host.memory_stock:
        raise exhausted
    with cloud.lock:
        others = [one for one in _claimed(cloud) if one.body["id"] != instance.body["id"]]
        over_quota = _over_quota(cloud, instance, others)
        if over_quota is not None:
            raise over_quota
        if cloud.bad_day is not None:
            _check_stock(cloud, cloud.bad_day, instance, others, count=not again)
        kinds = [machine_type(cloud, one) for one in others]
        demand = math.fsum(one.demand for one in kinds) + kind.demand
        if (
            demand > cloud.host.demand_stock
            or sum(one.memory_mb << 20 for one in kinds) + memory > cloud.host.memory_stock
        ):
            raise exhausted
        cloud.change(instance, {}, {"claimed": True})


def release(cloud: Cloud, instance: Resource) -> None:
    """Give the share back."""
    cloud.change(instance, {}, {"claimed": False})


def region_quotas(cloud: Cloud, project: str, region: str) -> list[Json]:
    """`quotas` of a region: limits and what is used of them."""
    used = _usage(cloud, [one for one in _claimed(cloud) if _in(one, project, region)])
    used.update(_disk_usage(cloud, project, region))
    return _shown(_region_limits(cloud, region), used)


def project_quotas(cloud: Cloud, project: str) -> list[Json]:
    """`quotas` of a project."""
    used = _usage(cloud, [one for one in _claimed(cloud) if one.project == project])
    used["IMAGES"] = len(cloud.store.list("images", project))
    used["FIREWALLS"] = firewalls.count(cloud, project)
    return _shown(_global_limits(cloud), used)


def _check_stock(
    cloud: Cloud, day: BadDay, instance: Resource, others: list[Resource], *, count: bool
) -> None:
    """Raises where the scenario's stock has no room for the instance; the host's own comes on top."""
    wanted, existing = _kind(instance), [_kind(one) for one in others]
    entry = stock.sold_out(day, wanted, existing)
    if entry is None:
        return
    if count:
        day.draws.count(entry)
    region = cloud.catalog.regions[region_of(wanted.zone)]
    elsewhere = [
        replace(wanted, zone=zone) for zone in region if zone != wanted.zone and _offers(cloud, zone, wanted)
    ]
    raise zone_stockout(
        instance.project,
        wanted.zone,
        last(instance.body["machineType"]),
        _attachment(instance),
        [one.zone for one in elsewhere if stock.sold_out(day, one, existing) is None],
        with_details=wanted.model != "STANDARD" or len(wanted.machines) > 1,
    )


def _offers(cloud: Cloud, zone: str, wanted: stock.Kind) -> bool:
    name, *gpus = wanted.machines
    return cloud.catalog.machine_type(zone, name) is not None and set(gpus) <= set(
        cloud.catalog.accelerators(zone)
    )


def _kind(instance: Resource) -> stock.Kind:
    gpus = [last(one["acceleratorType"]) for one in instance.body.get("guestAccelerators", [])]
    model = instance.body["scheduling"].get("provisioningModel", "STANDARD")
    return stock.Kind(last(instance.scope), (last(instance.body["machineType"]), *gpus), model)


def _attachment(instance: Resource) -> str:
    gpus = instance.body.get("guestAccelerators", [])
    return f"{last(gpus[0]['acceleratorType'])}:{gpus[0]['acceleratorCount']}" if gpus else ""


def quota_metrics(cloud: Cloud) -> tuple[set[str], set[str]]:
    """The quotas that can be set for regions, and those for projects."""
    families = {
        f"{kind.family.upper()}_CPUS"
        for zone in cloud.catalog.zones
        for kind in cloud.catalog.machine_types(zone)
    }
    regional = {*_region_limits(cloud, ""), *families, "HDB_TOTAL_GB", "PREEMPTIBLE_LOCAL_SSD_GB"}
    return regional, set(_global_limits(cloud))


def _over_quota(cloud: Cloud, instance: Resource, others: list[Resource]) -> OperationError | None:
    region = region_of(last(instance.scope))
    wanted = _usage(cloud, [instance])
    same_project = [one for one in others if one.project == instance.project]
    here = _usage(cloud, [one for one in same_project if _in(one, instance.project, region)])
    for metric, limit in _region_limits(cloud, region).items():
        if wanted[metric] and here[metric] + wanted[metric] > limit:
            return quota_exceeded(metric, limit, region)
    everywhere = _usage(cloud, same_project)
    for metric, limit in _global_limits(cloud).items():
        if wanted[metric] and everywhere[metric] + wanted[metric] > limit:
            return quota_exceeded(metric, limit, None)
    if cloud.bad_day is not None:
        return _disks_over_quota(cloud, cloud.bad_day, instance, region)
    return None


def _usage(cloud: Cloud, instances: Iterable[Resource]) -> Counter[str]:
    used: Counter[str] = Counter()
    for instance in instances:
        kind = machine_type(cloud, instance)
        used["INSTANCES"] += 1
        used["CPUS_ALL_REGIONS"] += kind.cpus
        if kind.family not in _NO_CPU_QUOTA:
            used[_cpu_metric(cloud, instance, kind)] += kind.cpus
        for interface in instance.body["networkInterfaces"]:
            used["IN_USE_ADDRESSES"] += len(interface.get("accessConfigs", []))
        for disk in instance.body["disks"]:
            if disk["type"] == "SCRATCH":
                used[_local_ssd_metric(cloud, instance)] += int(disk["diskSizeGb"])
        for gpu in instance.body.get("guestAccelerators", []):
            used["GPUS_ALL_REGIONS"] += gpu["acceleratorCount"]
            metric = _gpu_metric(cloud, instance, last(gpu["acceleratorType"]))
            if metric is not None:
                used[metric] += gpu["acceleratorCount"]
    return used


def _cpu_metric(cloud: Cloud, instance: Resource, kind: MachineType) -> str:
    """Spot VMs count by themselves where the project was granted vCPUs for them, and like all others elsewhere.

    https://cloud.google.com/compute/resource-usage#preemptible-quotas
    """
    granted = _granted(cloud, instance)
    if _counts_as_preemptible(instance) and granted.get("PREEMPTIBLE_CPUS"):
        return "PREEMPTIBLE_CPUS"
    its_own = f"{kind.family.upper()}_CPUS"  # newer projects have E2_CPUS, for one
    return its_own if its_own in granted else _FAMILY_CPUS.get(kind.family, "CPUS")


def _local_ssd_metric(cloud: Cloud, instance: Resource) -> str:
    preemptible = _counts_as_preemptible(instance)
    granted = _granted(cloud, instance).get("PREEMPTIBLE_LOCAL_SSD_GB") if preemptible else None
    return "PREEMPTIBLE_LOCAL_SSD_GB" if granted else "LOCAL_SSD_TOTAL_GB"


def _granted(cloud: Cloud, resource: Resource) -> dict[str, float]:
    """What a bad day says of the quotas of the resource's region."""
    return stock.limits(cloud.bad_day, region_of(last(resource.scope)), {})


def _disk_usage(cloud: Cloud, project: str, region: str) -> Counter[str]:
    used: Counter[str] = Counter()
    for disk in cloud.store.list("disks", project):
        if region_of(last(disk.scope)) == region:
            used[_disk_metric(cloud, disk)] += int(disk.body["sizeGb"])
    return used


def _disk_metric(cloud: Cloud, disk: Resource) -> str:
    kind = last(disk.body["type"])
    if kind == "hyperdisk-balanced" and "HDB_TOTAL_GB" in _granted(cloud, disk):
        return "HDB_TOTAL_GB"
    return "DISKS_TOTAL_GB" if kind == "pd-standard" else "SSD_TOTAL_GB"


def _disks_over_quota(cloud: Cloud, day: BadDay, instance: Resource, region: str) -> OperationError | None:
    """The default limits are out of reach, and only those of a bad day are worth a look at all disks.

    The instance's own disks are among those that exist: they came with its request.
    """
    limits = stock.limits(day, region, {})
    its_own = [
        _disk_metric(cloud, disk)
        for disk in cloud.store.list("disks", instance.project, instance.scope)
        if instance.body["selfLink"] in disk.body.get("users", [])
    ]
    used = _disk_usage(cloud, instance.project, region) if limits.keys() & set(its_own) else Counter()
    for metric in its_own:
        if metric in limits and used[metric] > limits[metric]:
            return quota_exceeded(metric, limits[metric], region)
    return None


def _counts_as_preemptible(instance: Resource) -> bool:
    """Flex-start takes preemptible quota, and standard quota where the project has none of it.

    https://docs.cloud.google.com/compute/docs/instances/provisioning-models
    """
    return instance.body["scheduling"].get("preemptible", False) or is_flex_start(instance)


def _gpu_metric(cloud: Cloud, instance: Resource, accelerator: str) -> str | None:
    standard = _GPUS.get(accelerator)
    if not _counts_as_preemptible(instance):
        return standard
    preemptible = f"PREEMPTIBLE_{standard}" if standard else _SPOT_ONLY.get(accelerator)
    if preemptible is None or not is_flex_start(instance):
        return preemptible
    has_some = _region_limits(cloud, region_of(last(instance.scope))).get(preemptible)
    return preemptible if has_some or standard is None else standard


def _region_limits(cloud: Cloud, region: str) -> dict[str, float]:
    cpus = dict.fromkeys(["CPUS", *_FAMILY_CPUS.values()], cloud.host.cpu_quota)
    gpus = dict.fromkeys([*_GPUS.values(), *(f"PREEMPTIBLE_{name}" for name in _GPUS.values())], _GPU_LIMIT)
    defaults = {**cpus, **gpus, **dict.fromkeys(_SPOT_ONLY.values(), _GPU_LIMIT), **_ROOM}
    return stock.limits(cloud.bad_day, region, defaults)


def _global_limits(cloud: Cloud) -> dict[str, float]:
    defaults = {
        "CPUS_ALL_REGIONS": 8 * cloud.host.cpu_quota,
        "GPUS_ALL_REGIONS": _GLOBAL_GPU_LIMIT,
        **_GLOBAL_ROOM,
    }
    return stock.limits(cloud.bad_day, stock.GLOBAL, defaults)


def _claimed(cloud: Cloud) -> list[Resource]:
    return [one for one in cloud.store.list("instances") if one.private.get("claimed")]


def _in(instance: Resource, project: str, region: str) -> bool:
    return instance.project == project and region_of(last(instance.scope)) == region


def _shown(limits: dict[str, float], used: Counter[str]) -> list[Json]:
    return [
        {"metric": metric, "limit": limit, "usage": float(used[metric])}
        for metric, limit in sorted(limits.items())
    ]
