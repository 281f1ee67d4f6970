"""May whoever asks do in the project what a sweep does?"""

from __future__ import annotations

from collections.abc import Collection

from hydra_gce.doctor.findings import Finding, by, error, ok, warning
from hydra_gce.doctor.patient import Patient, grant

NAME = "permissions"

_INSTANCES = "roles/compute.instanceAdmin.v1"
NEEDED = {
    "compute.instances.create": _INSTANCES,
    "compute.instances.delete": _INSTANCES,
    "compute.instances.get": _INSTANCES,
    "compute.instances.list": _INSTANCES,
    "compute.instances.setMetadata": _INSTANCES,
    "compute.instances.setLabels": _INSTANCES,
    "compute.instances.setServiceAccount": _INSTANCES,
    "compute.disks.create": _INSTANCES,
    "compute.disks.list": _INSTANCES,
    "compute.subnetworks.use": _INSTANCES,
    "compute.zoneOperations.get": _INSTANCES,
}
"""What no sweep can do without, and the smallest predefined role that has it.
https://cloud.google.com/compute/docs/reference/rest/v1/instances/insert#iam-permissions
"""
WITH_ADDRESS = {"compute.subnetworks.useExternalIp": _INSTANCES}
USEFUL = {
    "compute.instanceTemplates.create": _INSTANCES,
    "compute.instanceTemplates.get": _INSTANCES,
    "compute.disks.delete": _INSTANCES,
    "compute.instances.getSerialPortOutput": _INSTANCES,
    "compute.instances.setTags": _INSTANCES,
    "compute.projects.get": _INSTANCES,
    "compute.regions.list": _INSTANCES,
}
"""Attaching from another machine (`compute.project_key`), quotas, consoles of VMs that fell silent, disks that outlived
theirs: a sweep runs without."""
TUNNEL = {"iap.tunnelInstances.accessViaIAP": "roles/iap.tunnelResourceAccessor"}


def check(patient: Patient) -> list[Finding]:
    external = patient.settings.vm.external_ip
    needed = {**NEEDED, **(WITH_ADDRESS if external else {})}
    useful = {**USEFUL, **({} if external else TUNNEL)}
    asked = patient.backend.rest("cloudresourcemanager")
    body = {"permissions": [*needed, *useful]}
    held = asked.post(f"v3/projects/{patient.project}:testIamPermissions", body).get("permissions", [])
    lacks = [name for name in {**needed, **useful} if name not in held]
    return [judge(lacks, needed, {**needed, **useful}, patient.project, patient.member if lacks else "")]


def judge(
    lacks: list[str], needed: Collection[str], roles: dict[str, str], project: str, member: str
) -> Finding:
    if not lacks:
        return ok(NAME, f"all {len(roles)} of a sweep's")
    grants = [grant(project, member, role) for role in dict.fromkeys(roles[name] for name in lacks)]
    hinders = [name for name in lacks if name in needed]
    who = member.partition(":")[2] or member
    said = f"{who} lacks {_listed(hinders or lacks)} in project {project}"
    return (error if hinders else warning)(NAME, said, by(*grants))


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:3])} and {len(names) - 3} more"
