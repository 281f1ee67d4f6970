"""From the body of `instances.insert` to an instance and its disks: Google's checks in Google's words, and defaults."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hydra_gce.local.compute import flex_start
from hydra_gce.local.compute.catalog import N1_GPU_COUNTS, MachineType, UnknownCustomType, gpu_title
from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.disks import attached_disks
from hydra_gce.local.compute.errors import ApiError, Json, invalid_value, not_found, required
from hydra_gce.local.compute.labels import check_labels
from hydra_gce.local.compute.metadata import read_metadata
from hydra_gce.local.compute.names import NAME, fingerprint, is_name, last, link, parse_link, seconds
from hydra_gce.local.compute.networks import attached_interfaces
from hydra_gce.local.compute.scheduling import read_scheduling
from hydra_gce.local.store import Resource

_HOSTNAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)+")
_PLATFORMS = {
    "n1": "Intel Broadwell", "e2": "Intel Broadwell", "n2": "Intel Cascade Lake", "n2d": "AMD Rome",
    "c2": "Intel Cascade Lake", "c2d": "AMD Milan", "c3": "Intel Sapphire Rapids", "t2d": "AMD Milan",
    "a2": "Intel Cascade Lake", "g2": "Intel Cascade Lake", "a3": "Intel Sapphire Rapids", "t2a": "Ampere Altra",
}  # fmt: skip
_KEPT = (
    "advancedMachineFeatures", "confidentialInstanceConfig", "description", "hostname", "keyRevocationActionType",
    "minCpuPlatform", "networkPerformanceConfig", "privateIpv6GoogleAccess", "resourcePolicies",
)  # fmt: skip


@dataclass(frozen=True)
class Draft:
    """An instance that passed all checks, and the disks that come to be with it."""

    instance: Resource
    disks: list[Resource]


def draft_instance(cloud: Cloud, project: str, zone: str, given: Json, field: str = "resource") -> Draft:
    """Raises `ApiError` for what Google refuses."""
    name = _name(given, field)
    scope = f"zones/{zone}"
    kind = _machine_type(cloud, zone, given, field)
    body = cloud.new_body("instance", project, scope, "instances", name)
    gpus = _accelerators(cloud, project, zone, kind, given.get("guestAccelerators", []), field)
    scheduling = read_scheduling(
        given.get("scheduling", {}), has_gpus=bool(gpus), now=cloud.clock(), field=f"{field}.scheduling"
    )
    wait_s = flex_start.read_wait(given, field)
    flex_start.check(given, scheduling, kind, has_gpus=bool(gpus), field=field)
    check_labels(given.get("labels", {}), f"{field}.labels")
    labels = given.get("labels", {})
    disks = attached_disks(cloud, project, zone, name, given.get("disks", []), field)
    _check_hostname(given, field)
    body |= {key: given[key] for key in _KEPT if key in given}
    body |= {
        "canIpForward": given.get("canIpForward", False),
        "cpuPlatform": given.get("minCpuPlatform", _PLATFORMS.get(kind.family, "Intel Emerald Rapids")),
        "deletionProtection": given.get("deletionProtection", False),
        "disks": disks.attached,
        "displayDevice": given.get("displayDevice", {"enableDisplay": False}),
        "labelFingerprint": fingerprint(labels),
        "machineType": link(project, scope, "machineTypes", kind.name),
        "metadata": read_metadata(given.get("metadata", {}), f"{field}.metadata"),
        "networkInterfaces": attached_interfaces(
            cloud, project, zone, given.get("networkInterfaces", []), field
        ),
        "reservationAffinity": given.get(
            "reservationAffinity", {"consumeReservationType": "ANY_RESERVATION"}
        ),
        "resourceStatus": {},
        "satisfiesPzi": True,
        "scheduling": scheduling,
        "shieldedInstanceConfig": _shielded(given),
        "shieldedInstanceIntegrityPolicy": {"updateAutoLearnPolicy": True},
        "startRestricted": False,
        "status": "PENDING" if wait_s else "PROVISIONING",
        "tags": read_tags(given.get("tags", {}), field),
    }
    if labels:
        body["labels"] = labels
    if gpus:
        body["guestAccelerators"] = gpus
    accounts = _service_accounts(cloud, project, given.get("serviceAccounts", []), field)
    if accounts:
        body["serviceAccounts"] = accounts
    body["fingerprint"] = fingerprint(body)
    private: Json = {"python": disks.python, "image": disks.image}
    if wait_s:
        private["waits_until"] = seconds(body["creationTimestamp"]) + wait_s
    return Draft(Resource("instances", project, scope, name, body, private), disks.new)


def read_tags(given: Json, field: str) -> Json:
    """`tags` with its fingerprint. Raises 400 for a tag that is no name."""
    items = sorted(set(given.get("items", [])))
    for index, tag in enumerate(given.get("items", [])):
        if not is_name(tag):
            raise invalid_value(f"{field}.tags.items[{index}]", tag, f"Must be a match of regex '{NAME}'")
    return {"items": items, "fingerprint": fingerprint(items)} if items else {"fingerprint": fingerprint([])}


def find_machine_type(cloud: Cloud, zone: str, reference: str, field: str) -> MachineType:
    """The type that a `machineType` link names, in that zone. Raises 400."""
    target = parse_link(reference)
    if target is None or target.collection != "machineTypes":
        raise invalid_value(field, reference, "The URL is malformed.")
    if target.scope != f"zones/{zone}":
        raise invalid_value(field, reference, f"Machine type must be in the zone '{zone}' of the instance.")
    try:
        kind = cloud.catalog.machine_type(zone, target.name)
    except UnknownCustomType as error:
        raise invalid_value(field, reference, str(error)) from error
    if kind is None:
        raise invalid_value(
            field, reference, f"Machine type with name '{target.name}' does not exist in zone '{zone}'."
        )
    return kind


def _name(given: Json, field: str) -> str:
    name = given.get("name")
    if name is None:
        raise required(f"{field}.name")
    if not is_name(name):
        raise invalid_value(f"{field}.name", name, f"Must be a match of regex '{NAME}'")
    return str(name)


def _machine_type(cloud: Cloud, zone: str, given: Json, field: str) -> MachineType:
    if "machineType" not in given:
        raise required(f"{field}.machineType")
    return find_machine_type(cloud, zone, given["machineType"], f"{field}.machineType")


def _accelerators(
    cloud: Cloud, project: str, zone: str, kind: MachineType, given: list[Json], field: str
) -> list[Json]:
    if not given:
        return [_accelerator(project, zone, kind.gpu, kind.gpu_count)] if kind.gpu else []
    if len(given) > 1:
        raise invalid_value(f"{field}.guestAccelerators", "", "At most one accelerator type may be attached.")
    where = f"{field}.guestAccelerators[0]"
    if "acceleratorType" not in given[0]:
        raise required(f"{where}.acceleratorType")
    name, count = last(given[0]["acceleratorType"]), given[0].get("acceleratorCount", 0)
    if name not in cloud.catalog.accelerators(zone):
        raise not_found(f"projects/{project}/zones/{zone}/acceleratorTypes/{name}")
    built_in = kind.gpu is not None and name == kind.gpu and count == kind.gpu_count
    if not built_in and (kind.family != "n1" or kind.shared or name not in N1_GPU_COUNTS):
        raise ApiError(
            400, "badRequest", f"[{kind.name}, {name}] features are not compatible for creating instance."
        )
    if not built_in and count not in N1_GPU_COUNTS[name]:
        allowed = ", ".join(map(str, N1_GPU_COUNTS[name]))
        raise invalid_value(
            f"{where}.acceleratorCount",
            count,
            f"The number of {gpu_title(name)} GPUs that can be attached to an instance must be one of: {allowed}.",
        )
    return [_accelerator(project, zone, name, count)]


def _accelerator(project: str, zone: str, name: str, count: int) -> Json:
    return {
        "acceleratorType": link(project, "zones", zone, "acceleratorTypes", name),
        "acceleratorCount": count,
    }


def _service_accounts(cloud: Cloud, project: str, given: list[Json], field: str) -> list[Json]:
    if len(given) > 1:
        raise invalid_value(f"{field}.serviceAccounts", "", "At most one service account may be specified.")
    return [
        {
            "email": cloud.default_account(project)
            if one.get("email", "default") == "default"
            else one["email"],
            "scopes": one.get("scopes", []),
        }
        for one in given
    ]


def _shielded(given: Json) -> Json:
    defaults = {"enableSecureBoot": False, "enableVtpm": True, "enableIntegrityMonitoring": True}
    return {**defaults, **given.get("shieldedInstanceConfig", {})}


def _check_hostname(given: Json, field: str) -> None:
    hostname = given.get("hostname")
    if hostname is not None and (not _HOSTNAME.fullmatch(hostname) or len(hostname) > 253):
        raise invalid_value(
            f"{field}.hostname",
            hostname,
            "Must be a fully qualified domain name of labels that follow RFC 1035.",
        )
