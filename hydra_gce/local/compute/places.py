"""`zones`, `regions`, `machineTypes`, `acceleratorTypes`, `diskTypes`: the catalog as resources."""

from __future__ import annotations

from collections.abc import Callable

from hydra_gce.local.compute.capacity import region_quotas
from hydra_gce.local.compute.catalog import DISK_TYPES, MachineType, UnknownCustomType, gpu_title
from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.errors import Json, invalid_value, not_found
from hydra_gce.local.compute.listing import aggregated, page
from hydra_gce.local.compute.names import link, region_of, stable_id
from hydra_gce.local.compute.request import Request

_BIRTH = "1969-12-31T16:00:00.000-08:00"
Maker = Callable[[Cloud, str, str], list[Json]]


def get_zone(cloud: Cloud, request: Request) -> Json:
    zone = request.path["zone"]
    if zone not in cloud.catalog.zones:
        raise not_found(f"projects/{request.project}/zones/{zone}")
    return _zone(request.project, zone)


def list_zones(cloud: Cloud, request: Request) -> Json:
    bodies = [_zone(request.project, zone) for zone in cloud.catalog.zones]
    return page("compute#zoneList", request.project, "zones", bodies, request.query)


def get_region(cloud: Cloud, request: Request) -> Json:
    region = request.path["region"]
    if region not in cloud.catalog.regions:
        raise not_found(f"projects/{request.project}/regions/{region}")
    return _region(cloud, request.project, region)


def list_regions(cloud: Cloud, request: Request) -> Json:
    bodies = [_region(cloud, request.project, region) for region in cloud.catalog.regions]
    return page("compute#regionList", request.project, "regions", bodies, request.query)


def get_machine_type(cloud: Cloud, request: Request) -> Json:
    zone, name = request.path["zone"], request.path["machineType"]
    cloud.check_zone(request.project, zone)
    try:
        kind = cloud.catalog.machine_type(zone, name)
    except UnknownCustomType as error:
        raise invalid_value("machineType", name, str(error)) from error
    if kind is None:
        raise not_found(f"projects/{request.project}/zones/{zone}/machineTypes/{name}")
    return _machine_type(request.project, zone, kind)


def list_machine_types(cloud: Cloud, request: Request) -> Json:
    return _list(cloud, request, "machineType", _machine_types)


def aggregate_machine_types(cloud: Cloud, request: Request) -> Json:
    return _aggregate(cloud, request, "machineType", _machine_types)


def get_accelerator_type(cloud: Cloud, request: Request) -> Json:
    return _get(cloud, request, "acceleratorType", _accelerator_types)


def list_accelerator_types(cloud: Cloud, request: Request) -> Json:
    return _list(cloud, request, "acceleratorType", _accelerator_types)


def aggregate_accelerator_types(cloud: Cloud, request: Request) -> Json:
    return _aggregate(cloud, request, "acceleratorType", _accelerator_types)


def get_disk_type(cloud: Cloud, request: Request) -> Json:
    return _get(cloud, request, "diskType", _disk_types)


def list_disk_types(cloud: Cloud, request: Request) -> Json:
    return _list(cloud, request, "diskType", _disk_types)


def aggregate_disk_types(cloud: Cloud, request: Request) -> Json:
    return _aggregate(cloud, request, "diskType", _disk_types)


def _get(cloud: Cloud, request: Request, kind: str, maker: Maker) -> Json:
    zone, name = request.path["zone"], request.path[kind]
    cloud.check_zone(request.project, zone)
    for body in maker(cloud, request.project, zone):
        if body["name"] == name:
            return body
    raise not_found(f"projects/{request.project}/zones/{zone}/{kind}s/{name}")


def _list(cloud: Cloud, request: Request, kind: str, maker: Maker) -> Json:
    zone = request.path["zone"]
    cloud.check_zone(request.project, zone)
    bodies = maker(cloud, request.project, zone)
    return page(f"compute#{kind}List", request.project, f"zones/{zone}/{kind}s", bodies, request.query)


def _aggregate(cloud: Cloud, request: Request, kind: str, maker: Maker) -> Json:
    zones = cloud.catalog.zones
    bodies = [(f"zones/{zone}", body) for zone in zones for body in maker(cloud, request.project, zone)]
    scopes = [f"zones/{zone}" for zone in zones]
    return aggregated(
        f"compute#{kind}AggregatedList", request.project, f"{kind}s", bodies, scopes, request.query
    )


def _zone(project: str, zone: str) -> Json:
    return {
        "kind": "compute#zone",
        "id": stable_id("zone", zone),
        "creationTimestamp": _BIRTH,
        "name": zone,
        "description": zone,
        "status": "UP",
        "region": link(project, "regions", region_of(zone)),
        "selfLink": link(project, "zones", zone),
        "availableCpuPlatforms": [
            "Intel Broadwell",
            "Intel Skylake",
            "Intel Cascade Lake",
            "AMD Rome",
            "AMD Milan",
        ],
        "supportsPzs": True,
    }


def _region(cloud: Cloud, project: str, region: str) -> Json:
    return {
        "kind": "compute#region",
        "id": stable_id("region", region),
        "creationTimestamp": _BIRTH,
        "name": region,
        "description": region,
        "status": "UP",
        "zones": [link(project, "zones", zone) for zone in cloud.catalog.regions[region]],
        "quotas": region_quotas(cloud, project, region),
        "selfLink": link(project, "regions", region),
        "supportsPzs": True,
    }


def _machine_types(cloud: Cloud, project: str, zone: str) -> list[Json]:
    return [_machine_type(project, zone, kind) for kind in cloud.catalog.machine_types(zone)]


def _machine_type(project: str, zone: str, kind: MachineType) -> Json:
    gpus = f", {kind.gpu_count} {gpu_title(kind.gpu)} GPU{'s' * (kind.gpu_count > 1)}" if kind.gpu else ""
    shared = (
        f"Efficient Instance, {kind.cpus} vCPU (shared physical core)"
        if kind.shared
        else f"{kind.cpus} vCPUs"
    )
    body: Json = {
        "kind": "compute#machineType",
        "id": stable_id("machineType", kind.name),
        "creationTimestamp": _BIRTH,
        "name": kind.name,
        "description": f"{shared}, {kind.memory_mb / 1024:g} GB RAM{gpus}",
        "architecture": "ARM64" if kind.family in ("t2a", "c4a", "n4a", "a4x") else "X86_64",
        "guestCpus": kind.cpus,
        "imageSpaceGb": 0,
        "isSharedCpu": kind.shared,
        "maximumPersistentDisks": 16 if kind.shared else 128,
        "maximumPersistentDisksSizeGb": "3072" if kind.shared else "263168",
        "memoryMb": kind.memory_mb,
        "zone": zone,
        "selfLink": link(project, "zones", zone, "machineTypes", kind.name),
    }
    if kind.gpu:
        body["accelerators"] = [{"guestAcceleratorType": kind.gpu, "guestAcceleratorCount": kind.gpu_count}]
    return body


def _accelerator_types(cloud: Cloud, project: str, zone: str) -> list[Json]:
    return [
        {
            "kind": "compute#acceleratorType",
            "id": stable_id("acceleratorType", name),
            "creationTimestamp": _BIRTH,
            "name": name,
            "description": gpu_title(name),
            "maximumCardsPerInstance": cloud.catalog.most_cards(name),
            "zone": link(project, "zones", zone),
            "selfLink": link(project, "zones", zone, "acceleratorTypes", name),
        }
        for name in cloud.catalog.accelerators(zone)
    ]


def _disk_types(cloud: Cloud, project: str, zone: str) -> list[Json]:
    return [
        {
            "kind": "compute#diskType",
            "id": stable_id("diskType", name),
            "creationTimestamp": _BIRTH,
            "name": name,
            "description": description,
            "defaultDiskSizeGb": size,
            "validDiskSize": valid,
            "zone": link(project, "zones", zone),
            "selfLink": link(project, "zones", zone, "diskTypes", name),
        }
        for name, (description, size, valid) in DISK_TYPES.items()
    ]
