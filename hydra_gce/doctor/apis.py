"""Are the APIs on that a sweep needs?"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from hydra_gce.doctor.findings import Finding, by, error, ok, warning
from hydra_gce.doctor.patient import Patient

NAME = "APIs"
NEEDED = ("compute.googleapis.com", "storage.googleapis.com")
"""No sweep without them."""
USEFUL = ("cloudresourcemanager.googleapis.com", "iam.googleapis.com")
"""What `setup` and `doctor` ask."""
TUNNEL = "iap.googleapis.com"
"""The way to VMs without an address."""


def check(patient: Patient) -> list[Finding]:
    wanted = [*NEEDED, *USEFUL, *([] if patient.settings.vm.external_ip else [TUNNEL])]
    names = [f"projects/{patient.project}/services/{one}" for one in wanted]
    found = patient.backend.rest("serviceusage").get(
        f"v1/projects/{patient.project}/services:batchGet", names=names
    )
    states = {one["name"].rsplit("/", 1)[-1]: one.get("state", "") for one in found.get("services", [])}
    return [judge(patient.project, states, patient.setup)]


def judge(project: str, states: Mapping[str, str], setup: str) -> Finding:
    missing = [name for name, state in states.items() if state != "ENABLED"]
    if not missing:
        return ok(NAME, ", ".join(_short(name) for name in states))
    remedies = (by(f"gcloud services enable {' '.join(missing)} --project={project}"), by(setup))
    said = f"not enabled in project {project}: {', '.join(_short(name) for name in missing)}"
    return error(NAME, said, *remedies) if _hinders(missing) else warning(NAME, said, *remedies)


def _hinders(missing: Collection[str]) -> bool:
    return any(name in missing for name in NEEDED)


def _short(name: str) -> str:
    return name.removesuffix(".googleapis.com")


def off(refused: Exception) -> str | None:
    """The title of the API whose being off is the reason for a refusal; None where it is another."""
    if getattr(refused, "reason", None) == "SERVICE_DISABLED":
        metadata = getattr(refused, "metadata", None) or {}
        return str(metadata.get("serviceTitle") or metadata.get("service"))
    match = re.search(r"([A-Z][\w ()-]+ API) has not been used in project", str(refused))
    return match[1] if match else None
