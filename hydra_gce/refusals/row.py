"""One line of the table: which errors it is about, and what follows from them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from hydra_gce.refusals.answer import Answer
from hydra_gce.refusals.refusal import Reach, Refusal

# What one reads off any error, under the names that a row's texts may use besides the groups of its own pattern.
_FACTS = {
    "permission": re.compile(r"(?:Required|Permission) '([\w.]+)' (?:permission|denied)"),
    "constraint": re.compile(r"\b((?:custom)?[cC]onstraints/[\w.]*\w)"),
    "field": re.compile(r"field '([^']+)'"),
}

# https://cloud.google.com/compute/docs/access/iam
_ROLES = (
    ("compute.subnetworks.", "roles/compute.networkUser on the subnetwork"),
    ("compute.images.", "roles/compute.imageUser in the image's project"),
    ("compute.reservations.", "roles/compute.admin, or one with {permission}"),
    ("compute.instances.setServiceAccount", "roles/iam.serviceAccountUser"),
    ("iam.serviceAccounts.", "roles/iam.serviceAccountUser"),
    ("compute.", "roles/compute.instanceAdmin.v1"),
)

# The request's fields, and which setting of ours they come from: the first that the field begins with.
_SETTINGS = (
    ("resource.machineType", "machine_type"),
    ("resource.minCpuPlatform", "instance"),
    ("resource.guestAccelerators", "gpu"),
    (r"resource.disks\[0\].initializeParams.sourceImage", "image"),
    (r"resource.disks\[0\].initializeParams.diskSizeGb", "disk_gb"),
    (r"resource.disks\[\d+\].initializeParams.diskType", "disk_type"),
    (r"resource.networkInterfaces\[\d+\].subnetwork", "subnetwork"),
    (r"resource.networkInterfaces\[\d+\].accessConfig", "external_ip"),
    (r"resource.networkInterfaces", "network"),
    (r"resource.serviceAccounts\[\d+\].scopes", "scopes"),
    ("resource.serviceAccounts", "service_account"),
    ("resource.labels", "labels"),
    ("resource.tags", "tags"),
    ("resource.metadata", "metadata"),
    ("resource.reservationAffinity", "reservation"),
    ("resource.shieldedInstanceConfig.enableSecureBoot", "secure_boot"),
    ("resource.shieldedInstanceConfig.enableVtpm", "vtpm"),
    ("resource.shieldedInstanceConfig", "integrity_monitoring"),
    ("resource.scheduling.maxRunDuration", "max_run_hours"),
    ("resource.scheduling.provisioningModel", "provisioning"),
    ("resource.params.requestValidForDuration", "queue_minutes"),
    ("resource", "instance"),
)


@dataclass(frozen=True)
class Row:
    """An error is this row's if it has one of the ``codes``, says what ``says`` looks for, and has the ``status``.

    What is left empty is not asked for. ``short`` and ``advice`` may name groups of ``says``, and the facts of `facts`.
    ``source``: where the error, its wording or its reach is known from.
    """

    source: str
    reach: Reach
    short: str
    advice: str = ""
    codes: tuple[str, ...] = ()
    says: str = ""
    status: int | None = None
    passes: bool = False
    own_model: bool = False
    pause_s: float = 0.0

    def is_about(self, answer: Answer) -> bool:
        if self.codes and not set(self.codes) & set(answer.codes):
            return False
        if self.status is not None and self.status != answer.status:
            return False
        return not self.says or re.search(self.says, answer.text) is not None

    def refusal(self, answer: Answer) -> Refusal:
        """What this row makes of an error that it is about."""
        found = re.search(self.says, answer.text)
        known = facts(answer) | (found.groupdict(default="") if found else {})
        known = {name: fact.replace("{", "(").replace("}", ")") for name, fact in known.items()}
        room = tuple(zone.strip() for zone in answer.metadata("zonesAvailable").split(",") if zone.strip())
        return Refusal(
            code=answer.codes[0] if answer.codes else "",
            message=answer.message,
            reach=self.reach,
            may_pass=self.passes,
            for_all_models=not self.own_model,
            short=self.short.format_map(known | {"what": "{what}"}),
            advice=_to_where_room_is(room) if room else self.advice.format_map(known),
            zones_with_room=room,
            pause_s=self.pause_s,
        )


def facts(answer: Answer) -> dict[str, str]:
    """What a row's texts may name: permission, role, constraint, field, setting, in_project ("?project=…" or "")."""
    found = {name: _first(pattern, answer.text) for name, pattern in _FACTS.items()}
    return {
        **found,
        "permission": found["permission"] or "compute.instances.create",
        "role": _role(found["permission"]),
        "setting": _setting(found["field"]),
        "in_project": f"?project={quote(answer.project)}" if answer.project else "",
    }


def _to_where_room_is(zones: tuple[str, ...]) -> str:
    return f"go to where Google says that there is room now: hydra.launcher.vm.zones=[{','.join(zones)}]"


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found.group(1) if found else ""


def _role(permission: str) -> str:
    for beginning, role in _ROLES:
        if permission.startswith(beginning):
            return role.format(permission=permission)
    return f"a role with {permission}" if permission else "roles/compute.instanceAdmin.v1"


def _setting(field: str) -> str:
    name = next((setting for beginning, setting in _SETTINGS if re.match(beginning, field)), "instance")
    return f"hydra.launcher.vm.{name}"
