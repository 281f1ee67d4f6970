"""What a VM's guest sees of its cloud: the metadata tree, and the variables that name the services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hydra_gce.local.chaos.machines import planned
from hydra_gce.local.chaos.scenario import Event
from hydra_gce.local.compute.capacity import machine_type
from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.names import last, project_number, seconds
from hydra_gce.local.store import Resource

if TYPE_CHECKING:
    from hydra_gce.local.vm import MachineSpec

Json = dict[str, Any]


def machine_spec(cloud: Cloud, instance: Resource) -> MachineSpec:
    """The VM that belongs to an instance."""
    from hydra_gce.local.vm import MachineSpec

    kind = machine_type(cloud, instance)
    spot = instance.body["scheduling"].get("preemptible", False)
    mishaps = planned(instance)
    return MachineSpec(
        name=instance.name,
        cpus=float(kind.cpus),  # a shared core may burst to all of them
        memory_bytes=kind.memory_mb << 20,
        python=instance.private.get("python"),
        metadata=metadata_tree(cloud, instance),
        services={
            **cloud.services,
            "GOOGLE_CLOUD_PROJECT": instance.project,
            "CLOUDSDK_CORE_PROJECT": instance.project,
        },
        max_run_s=max_run_s(cloud, instance),
        shutdown_grace_s=cloud.notice.preemption_s if spot else cloud.notice.stop_s,
        panics=Event.BOOT_FAILURE in mishaps,
        disk_in_memory=Event.DISK_FULL in mishaps,
    )


def max_run_s(cloud: Cloud, instance: Resource) -> float | None:
    """Seconds that the VM may run from now on, by `maxRunDuration` or `terminationTime`."""
    scheduling = instance.body["scheduling"]
    duration = scheduling.get("maxRunDuration")
    if duration is not None:
        return int(duration.get("seconds", 0)) + int(duration.get("nanos", 0)) / 1e9
    if "terminationTime" in scheduling:
        return max(0.0, seconds(scheduling["terminationTime"]) - cloud.clock())
    return None


def metadata_tree(cloud: Cloud, instance: Resource) -> Json:
    """The tree as Google's metadata server answers `/computeMetadata/v1/?recursive=true`."""
    body, project = instance.body, instance.project
    number, zone = int(project_number(project)), last(instance.scope)
    scheduling = body["scheduling"]
    return {
        "instance": {
            "attributes": _attributes(body.get("metadata", {})),
            "cpuPlatform": body["cpuPlatform"],
            "description": body.get("description", ""),
            "disks": [_disk(disk) for disk in body["disks"]],
            "guestAttributes": {},
            "hostname": body.get("hostname", f"{instance.name}.{zone}.c.{project}.internal"),
            "id": int(body["id"]),
            "image": instance.private.get("image", ""),
            "licenses": [],
            "machineType": f"projects/{number}/machineTypes/{last(body['machineType'])}",
            "maintenanceEvent": instance.private.get("maintenance_event", "NONE"),
            "name": instance.name,
            "networkInterfaces": [_interface(number, one) for one in body["networkInterfaces"]],
            "preempted": "TRUE" if instance.private.get("preempted") else "FALSE",
            "remainingCpuTime": -1,
            "scheduling": {
                "automaticRestart": str(scheduling.get("automaticRestart", True)).upper(),
                "onHostMaintenance": scheduling["onHostMaintenance"],
                "preemptible": str(scheduling.get("preemptible", False)).upper(),
            },
            "serviceAccounts": _service_accounts(body.get("serviceAccounts", [])),
            "tags": body.get("tags", {}).get("items", []),
            "virtualClock": {"driftToken": "0"},
            "zone": f"projects/{number}/zones/{zone}",
        },
        "oslogin": {"authenticate": {"sessions": {}}},
        "project": {
            "attributes": _attributes(project_metadata(cloud, project)),
            "numericProjectId": number,
            "projectId": project,
        },
    }


def project_metadata(cloud: Cloud, project: str) -> Json:
    """`commonInstanceMetadata` of a project."""
    stored = cloud.store.get("projects", project, "global", project)
    return stored.body if stored is not None else {"kind": "compute#metadata", "id": "0"}


def _attributes(metadata: Json) -> dict[str, str]:
    return {item["key"]: item.get("value", "") for item in metadata.get("items", [])}


def _disk(disk: Json) -> Json:
    return {
        "deviceName": disk["deviceName"],
        "index": disk["index"],
        "interface": disk["interface"],
        "mode": disk["mode"],
        "type": "PERSISTENT",
    }


def _interface(number: int, interface: Json) -> Json:
    ip = interface["networkIP"]
    return {
        "accessConfigs": [
            {"externalIp": config.get("natIP", ""), "type": config["type"]}
            for config in interface.get("accessConfigs", [])
        ],
        "dnsServers": ["169.254.169.254"],
        "forwardedIps": [],
        "gateway": ".".join([*ip.split(".")[:2], "0", "1"]),
        "ip": ip,
        "ipAliases": [],
        "mac": "42:01:" + ":".join(f"{int(part):02x}" for part in ip.split(".")),
        "mtu": 1460,
        "network": f"projects/{number}/networks/{last(interface['network'])}",
        "subnetmask": "255.255.240.0",
        "targetInstanceIps": [],
    }


def _service_accounts(accounts: list[Json]) -> Json:
    if not accounts:
        return {}
    account = accounts[0]
    entry = {"aliases": ["default"], "email": account["email"], "scopes": account.get("scopes", [])}
    return {"default": entry, account["email"]: entry}
