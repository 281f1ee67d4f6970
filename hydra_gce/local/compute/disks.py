"""Disks: made with their instance from an image or on their own, gone with it where they say so."""

from __future__ import annotations

from dataclasses import dataclass, field

from hydra_gce.local.compute.catalog import DISK_TYPES
from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.errors import Json, already_exists, in_use, invalid, invalid_value, required
from hydra_gce.local.compute.images import resolve
from hydra_gce.local.compute.labels import check_labels, set_labels
from hydra_gce.local.compute.listing import aggregated, page
from hydra_gce.local.compute.names import NAME, fingerprint, is_name, last, link, parse_link, timestamp
from hydra_gce.local.compute.request import Request
from hydra_gce.local.store import Resource


@dataclass
class AttachedDisks:
    """An instance's `disks`, the disk resources that come to be with them, and what the boot disk brings along."""

    attached: list[Json] = field(default_factory=list)
    new: list[Resource] = field(default_factory=list)
    python: str | None = None
    image: str = ""


def get(cloud: Cloud, request: Request) -> Json:
    cloud.check_zone(request.project, request.path["zone"])
    return cloud.find("disks", request.project, request.scope, request.path["disk"]).body


def list_(cloud: Cloud, request: Request) -> Json:
    cloud.check_zone(request.project, request.path["zone"])
    bodies = [disk.body for disk in cloud.store.list("disks", request.project, request.scope)]
    return page("compute#diskList", request.project, f"{request.scope}/disks", bodies, request.query)


def aggregate(cloud: Cloud, request: Request) -> Json:
    bodies = [(disk.scope, disk.body) for disk in cloud.store.list("disks", request.project)]
    scopes = [f"zones/{zone}" for zone in cloud.catalog.zones]
    return aggregated("compute#diskAggregatedList", request.project, "disks", bodies, scopes, request.query)


def insert(cloud: Cloud, request: Request) -> Json:
    cloud.check_zone(request.project, request.path["zone"])
    given = request.body
    name = given.get("name")
    if name is None:
        raise required("resource.name")
    kept: Json = {key: given[key] for key in ("description", "labels") if key in given}
    parameters = {
        **kept,
        "diskType": given.get("type"),
        "diskSizeGb": given.get("sizeGb"),
        "sourceImage": given.get("sourceImage") or request.query.get("sourceImage"),
    }
    disk = _new_disk(cloud, request.project, request.path["zone"], name, parameters, "resource", "sizeGb")
    disk.body["status"] = "CREATING"
    cloud.store.put(disk)
    return request.begin(cloud, request.scope, "insert", disk, "disks.ready", {"name": disk.name})


def delete(cloud: Cloud, request: Request) -> Json:
    cloud.check_zone(request.project, request.path["zone"])
    disk = cloud.find("disks", request.project, request.scope, request.path["disk"])
    for user in disk.body.get("users", []):
        raise in_use(disk.path, user.split("/compute/v1/")[-1])
    return request.begin(
        cloud, request.scope, "delete", disk, "delete", {"collection": "disks", "name": disk.name}
    )


def resize(cloud: Cloud, request: Request) -> Json:
    disk = cloud.find("disks", request.project, request.scope, request.path["disk"])
    size = request.body.get("sizeGb")
    if size is None:
        raise required("sizeGb")
    if int(size) <= int(disk.body["sizeGb"]):
        raise invalid_value("sizeGb", size, "New disk size must be larger than the current disk size.")
    cloud.change(disk, {"sizeGb": size})
    return request.begin(cloud, request.scope, "resizeDisk", disk, "nothing")


def set_disk_labels(cloud: Cloud, request: Request) -> Json:
    disk = cloud.find("disks", request.project, request.scope, request.path["resource"])
    set_labels(cloud, disk, request.body)
    return request.begin(cloud, request.scope, "setLabels", disk, "nothing")


def attached_disks(
    cloud: Cloud, project: str, zone: str, instance: str, given: list[Json], field_: str
) -> AttachedDisks:
    """Read `disks` of a new instance. Raises 400, 404 and 409 as Google does."""
    if not given:
        raise invalid_value(f"{field_}.disks", "", "No disks are specified.")
    if not given[0].get("boot", False):
        raise invalid(
            "Invalid value for field 'resource.disks': ''. Boot disk must be the first disk attached to the instance."
        )
    result = AttachedDisks()
    for index, one in enumerate(given):
        where = f"{field_}.disks[{index}]"
        disk = _attached(cloud, project, zone, instance, index, one, where, result)
        if index == 0 and disk is not None:
            result.python = disk.private.get("python")
            result.image = disk.private.get("image", "")
    return result


def _attached(
    cloud: Cloud,
    project: str,
    zone: str,
    instance: str,
    index: int,
    given: Json,
    where: str,
    result: AttachedDisks,
) -> Resource | None:
    scratch = given.get("type") == "SCRATCH"
    entry: Json = {
        "kind": "compute#attachedDisk",
        "autoDelete": given.get("autoDelete", scratch),
        "boot": given.get("boot", False),
        "deviceName": given.get("deviceName", f"persistent-disk-{index}"),
        "index": index,
        "interface": given.get("interface", "SCSI"),
        "mode": given.get("mode", "READ_WRITE"),
        "type": given.get("type", "PERSISTENT"),
    }
    result.attached.append(entry)
    parameters = given.get("initializeParams")
    if scratch:
        entry["diskSizeGb"] = "375"
        return None
    if (parameters is None) == ("source" not in given):
        raise invalid_value(where, "", "Exactly one of 'source' and 'initializeParams' must be specified.")
    user = link(project, "zones", zone, "instances", instance)
    if parameters is None:
        disk = _existing(cloud, project, zone, given["source"], f"{where}.source")
    else:
        name = parameters.get("diskName") or (instance if index == 0 else f"{instance}-{index}")
        disk = _new_disk(cloud, project, zone, name, parameters, f"{where}.initializeParams", "diskSizeGb")
        result.new.append(disk)
    disk.body |= {"users": [user], "lastAttachTimestamp": timestamp(cloud.clock())}
    if disk not in result.new:
        result.new.append(disk)
    entry |= {"source": disk.body["selfLink"], "diskSizeGb": disk.body["sizeGb"], "architecture": "X86_64"}
    for key in ("guestOsFeatures", "licenses"):
        if key in disk.body:
            entry[key] = disk.body[key]
    return disk


def _existing(cloud: Cloud, project: str, zone: str, reference: str, where: str) -> Resource:
    target = parse_link(reference)
    disk = None
    if target is not None and target.collection == "disks":
        disk = cloud.store.get("disks", target.project or project, f"zones/{zone}", target.name)
    if disk is None:
        raise invalid_value(where, reference, "The referenced disk resource cannot be found.")
    for user in disk.body.get("users", []):
        raise in_use(disk.path, user.split("/compute/v1/")[-1])
    return disk


def _new_disk(
    cloud: Cloud, project: str, zone: str, name: str, parameters: Json, where: str, size_field: str
) -> Resource:
    scope = f"zones/{zone}"
    if not is_name(name):
        raise invalid_value(f"{where}.name", name, f"Must be a match of regex '{NAME}'")
    if cloud.store.get("disks", project, scope, name) is not None:
        raise already_exists(f"projects/{project}/{scope}/disks/{name}")
    kind = last(parameters.get("diskType") or "pd-standard")
    if kind not in DISK_TYPES:
        raise invalid_value(
            f"{where}.diskType", parameters["diskType"], "The referenced diskType resource cannot be found."
        )
    body = cloud.new_body("disk", project, scope, "disks", name)
    labels = parameters.get("labels", {})
    check_labels(labels, f"{where}.labels")
    private: Json = {}
    least, size = 10, int(parameters.get("diskSizeGb") or 0)
    reference = parameters.get("sourceImage")
    if reference:
        image = resolve(cloud, project, reference, f"{where}.sourceImage")
        least = int(image.body["diskSizeGb"])
        body |= {"sourceImage": image.body["selfLink"], "sourceImageId": image.body["id"]}
        body |= {
            key: image.body[key]
            for key in ("licenses", "guestOsFeatures", "architecture")
            if key in image.body
        }
        private = {"python": image.private.get("python"), "image": image.path}
    if size and reference and size < least:
        raise invalid_value(
            f"{where}.{size_field}",
            size,
            f"Requested disk size cannot be smaller than the image size ({least} GB)",
        )
    if size and size < 10:
        raise invalid_value(f"{where}.{size_field}", size, "Disk size cannot be smaller than 10 GB.")
    body |= {
        "labelFingerprint": fingerprint(labels),
        "physicalBlockSizeBytes": "4096",
        "sizeGb": str(size or (least if reference else int(DISK_TYPES[kind][1]))),
        "status": "READY",
        "type": link(project, scope, "diskTypes", kind),
    }
    if labels:
        body["labels"] = labels
    if "description" in parameters:
        body["description"] = parameters["description"]
    return Resource("disks", project, scope, name, body, private)
