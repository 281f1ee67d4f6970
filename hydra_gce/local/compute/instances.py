"""`instances`: what the API answers at once. What then happens to the VM is in `lifecycle`."""

from __future__ import annotations

import uuid

from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.errors import (
    Json,
    already_exists,
    invalid,
    invalid_value,
    not_ready,
    required,
)
from hydra_gce.local.compute.instance_draft import draft_instance, find_machine_type, read_tags
from hydra_gce.local.compute.labels import set_labels as replace_labels
from hydra_gce.local.compute.listing import aggregated, page
from hydra_gce.local.compute.metadata import check_fingerprint, read_metadata
from hydra_gce.local.compute.names import link
from hydra_gce.local.compute.request import Request
from hydra_gce.local.compute.scheduling import read_scheduling
from hydra_gce.local.store import Resource

_MOST_SERIAL_BYTES = 1 << 20


def get(cloud: Cloud, request: Request) -> Json:
    return _instance(cloud, request).body


def list_(cloud: Cloud, request: Request) -> Json:
    cloud.check_zone(request.project, request.path["zone"])
    bodies = [one.body for one in cloud.store.list("instances", request.project, request.scope)]
    return page("compute#instanceList", request.project, f"{request.scope}/instances", bodies, request.query)


def aggregate(cloud: Cloud, request: Request) -> Json:
    bodies = [(one.scope, one.body) for one in cloud.store.list("instances", request.project)]
    scopes = [f"zones/{zone}" for zone in cloud.catalog.zones]
    return aggregated(
        "compute#instanceAggregatedList", request.project, "instances", bodies, scopes, request.query
    )


def insert(cloud: Cloud, request: Request) -> Json:
    cloud.check_zone(request.project, request.path["zone"])
    for source in ("sourceInstanceTemplate", "sourceMachineImage"):
        if source in request.query:
            raise invalid_value(source, request.query[source], "The referenced resource cannot be found.")
    instance = _write_draft(cloud, request, request.body, "resource")
    return request.begin(cloud, request.scope, "insert", instance, "instances.insert")


def bulk_insert(cloud: Cloud, request: Request) -> Json:
    """As many VMs as `count` says, each by an insert of its own, in one operation group."""
    cloud.check_zone(request.project, request.path["zone"])
    names = _bulk_names(request.body)
    properties = request.body.get("instanceProperties", {})
    zone = request.path["zone"]
    target = _zone_target(cloud, request)
    group: Json = {"operationGroupId": str(uuid.UUID(int=cloud.rng.getrandbits(128), version=4))}
    begin = cloud.operations.begin
    for name in names:
        body = {**_qualified(properties, request.project, zone), "name": name}
        instance = _write_draft(cloud, request, body, "resource.instanceProperties")
        begin(
            request.project,
            request.scope,
            "insert",
            instance,
            "instances.insert",
            extra=group,
            plan=request.plan,
        )
    group["instancesBulkInsertOperationMetadata"] = {
        "perLocationStatus": {request.scope: {"status": "DONE", "targetVmCount": len(names)}}
    }
    request_id = request.request_id
    return begin(
        request.project, request.scope, "bulkInsert", target, "nothing", request_id=request_id, extra=group
    )


def delete(cloud: Cloud, request: Request) -> Json:
    instance = _instance(cloud, request)
    if instance.body.get("deletionProtection"):
        raise invalid(
            f"Invalid resource usage: 'Resource cannot be deleted if it's protected against deletion. "
            f"{instance.path} has deletionProtection set.'."
        )
    return request.begin(cloud, request.scope, "delete", instance, "instances.delete")


def stop(cloud: Cloud, request: Request) -> Json:
    return request.begin(cloud, request.scope, "stop", _not_queued(cloud, request), "instances.stop")


def start(cloud: Cloud, request: Request) -> Json:
    return request.begin(cloud, request.scope, "start", _not_queued(cloud, request), "instances.start")


def reset(cloud: Cloud, request: Request) -> Json:
    instance = _running(cloud, request)
    return request.begin(cloud, request.scope, "reset", instance, "instances.reset")


def simulate_maintenance(cloud: Cloud, request: Request) -> Json:
    instance = _running(cloud, request)
    return request.begin(cloud, request.scope, "simulateMaintenanceEvent", instance, "instances.maintain")


def serial_port(cloud: Cloud, request: Request) -> Json:
    instance = _instance(cloud, request)
    port = request.query.get("port", 1)
    if not 1 <= port <= 4:
        raise invalid_value("port", port, "Values must be within the range: [1, 4]")
    start_at = request.query.get("start", 0)
    answer: Json = {
        "kind": "compute#serialPortOutput",
        "selfLink": link(request.project, request.scope, "instances", instance.name, "serialPort"),
    }
    if port != 1:
        return {**answer, "contents": "", "start": "0", "next": "0"}
    # A negative start counts from the end; the console keeps its last MiB.
    output = cloud.machine_of(instance).serial(max(0, start_at))
    contents = output.contents
    if start_at < 0:
        contents = contents[start_at:]
    contents = contents[-_MOST_SERIAL_BYTES:]
    first = output.next - len(contents)
    text = contents.decode("utf-8", errors="replace")
    return {**answer, "contents": text, "start": str(first), "next": str(output.next)}


def set_labels(cloud: Cloud, request: Request) -> Json:
    instance = _instance(cloud, request)
    replace_labels(cloud, instance, request.body)
    return request.begin(cloud, request.scope, "setLabels", instance, "nothing")


def set_metadata(cloud: Cloud, request: Request) -> Json:
    instance = _instance(cloud, request)
    check_fingerprint(instance.body["metadata"], request.body, "metadata")
    cloud.change(instance, {"metadata": read_metadata(request.body)})
    return request.begin(cloud, request.scope, "setMetadata", instance, "instances.metadata")


def set_tags(cloud: Cloud, request: Request) -> Json:
    instance = _instance(cloud, request)
    check_fingerprint(instance.body["tags"], request.body, "tags")
    cloud.change(instance, {"tags": read_tags(request.body, "resource")})
    return request.begin(cloud, request.scope, "setTags", instance, "instances.metadata")


def set_scheduling(cloud: Cloud, request: Request) -> Json:
    instance = _instance(cloud, request)
    if instance.body["status"] != "TERMINATED":
        _only_live_fields(instance, request.body)
    merged = {**instance.body["scheduling"], **request.body}
    has_gpus = bool(instance.body.get("guestAccelerators"))
    cloud.change(instance, {"scheduling": read_scheduling(merged, has_gpus=has_gpus, now=cloud.clock())})
    return request.begin(cloud, request.scope, "setScheduling", instance, "instances.metadata")


def set_machine_type(cloud: Cloud, request: Request) -> Json:
    instance = _stopped(cloud, request, "change the machine type")
    reference = request.body.get("machineType")
    if reference is None:
        raise required("machineType")
    kind = find_machine_type(cloud, request.path["zone"], reference, "machineType")
    cloud.change(instance, {"machineType": link(request.project, request.scope, "machineTypes", kind.name)})
    return request.begin(cloud, request.scope, "setMachineType", instance, "nothing")


def set_service_account(cloud: Cloud, request: Request) -> Json:
    instance = _stopped(cloud, request, "change the service account")
    email = request.body.get("email", "default")
    account = {
        "email": cloud.default_account(request.project) if email == "default" else email,
        "scopes": request.body.get("scopes", []),
    }
    cloud.change(instance, {"serviceAccounts": [account]})
    return request.begin(cloud, request.scope, "setServiceAccount", instance, "nothing")


def set_deletion_protection(cloud: Cloud, request: Request) -> Json:
    instance = _instance(cloud, request)
    cloud.change(instance, {"deletionProtection": request.query.get("deletionProtection", True)})
    return request.begin(cloud, request.scope, "setDeletionProtection", instance, "nothing")


def set_disk_auto_delete(cloud: Cloud, request: Request) -> Json:
    instance = _instance(cloud, request)
    device = request.query.get("deviceName")
    disks = instance.body["disks"]
    if device not in [disk["deviceName"] for disk in disks]:
        raise invalid_value("deviceName", device, "No attached disk found with that device name.")
    for disk in disks:
        if disk["deviceName"] == device:
            disk["autoDelete"] = request.query.get("autoDelete", False)
    cloud.change(instance, {"disks": disks})
    return request.begin(cloud, request.scope, "setDiskAutoDelete", instance, "nothing")


def _write_draft(cloud: Cloud, request: Request, body: Json, field: str) -> Resource:
    zone = request.path["zone"]
    name = body.get("name")
    if (
        isinstance(name, str)
        and cloud.store.get("instances", request.project, request.scope, name) is not None
    ):
        raise already_exists(f"projects/{request.project}/{request.scope}/instances/{name}")
    draft = draft_instance(cloud, request.project, zone, body, field)
    cloud.store.put(draft.instance)
    for disk in draft.disks:
        cloud.store.put(disk)
    if draft.instance.body["status"] == "PENDING":
        cloud.queue.join(draft.instance)
    return draft.instance


def _instance(cloud: Cloud, request: Request) -> Resource:
    cloud.check_zone(request.project, request.path["zone"])
    name = request.path.get("instance") or request.path["resource"]
    return cloud.find("instances", request.project, request.scope, name)


def _running(cloud: Cloud, request: Request) -> Resource:
    instance = _instance(cloud, request)
    if instance.body["status"] not in ("RUNNING", "STAGING", "PROVISIONING"):
        raise not_ready(instance.path)
    return instance


def _not_queued(cloud: Cloud, request: Request) -> Resource:
    """While it waits for its first place, it can only be deleted."""
    instance = _instance(cloud, request)
    if instance.body["status"] == "PENDING":
        raise not_ready(instance.path)
    return instance


def _stopped(cloud: Cloud, request: Request, what: str) -> Resource:
    instance = _instance(cloud, request)
    if instance.body["status"] != "TERMINATED":
        raise invalid(f"Invalid resource usage: 'Instance must be stopped to {what}.'.")
    return instance


def _only_live_fields(instance: Resource, given: Json) -> None:
    current = instance.body["scheduling"]
    frozen = (
        "preemptible",
        "provisioningModel",
        "maxRunDuration",
        "terminationTime",
        "instanceTerminationAction",
    )
    for key in frozen:
        if key in given and given[key] != current.get(key):
            raise invalid(f"Invalid resource usage: 'Instance must be stopped to change scheduling.{key}.'.")


def _bulk_names(body: Json) -> list[str]:
    count = int(body.get("count", 0))
    pattern, named = body.get("namePattern"), body.get("perInstanceProperties", {})
    if not 1 <= count <= 1000:
        raise invalid_value("resource.count", count, "Must be between 1 and 1000.")
    if named:
        if len(named) != count:
            raise invalid_value("resource.count", count, "Must equal the number of perInstanceProperties.")
        return [properties.get("name", key) for key, properties in named.items()]
    if not pattern or pattern.count("#") == 0:
        raise required("resource.namePattern")
    head, digits, tail = pattern[: pattern.index("#")], pattern.count("#"), pattern[pattern.rindex("#") + 1 :]
    return [f"{head}{number:0{digits}d}{tail}" for number in range(1, count + 1)]


def _qualified(properties: Json, project: str, zone: str) -> Json:
    """Properties name types without their zone; an instance's body names them with it."""
    kind = properties.get("machineType")
    if kind is None or "/" in kind:
        return properties
    return {**properties, "machineType": link(project, "zones", zone, "machineTypes", kind)}


def _zone_target(cloud: Cloud, request: Request) -> Resource:
    zone = request.path["zone"]
    body: Json = {
        "selfLink": link(request.project, request.scope),
        "id": cloud.new_body("zone", "", "global", "", "")["id"],
    }
    return Resource("zones", request.project, request.scope, zone, body)
