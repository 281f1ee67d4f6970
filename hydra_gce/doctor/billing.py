"""Is there somebody who pays?"""

from __future__ import annotations

from hydra_gce.doctor.findings import Finding, by, error, ok
from hydra_gce.doctor.patient import Patient

NAME = "billing"


def check(patient: Patient) -> list[Finding]:
    found = patient.backend.rest("cloudbilling").get(f"v1/projects/{patient.project}/billingInfo")
    return [judge(patient.project, bool(found.get("billingEnabled")))]


def judge(project: str, enabled: bool) -> Finding:
    if enabled:
        return ok(NAME, "enabled")
    page = f"https://console.cloud.google.com/billing/linkedaccount?project={project}"
    link = f"gcloud billing projects link {project} --billing-account=ACCOUNT (gcloud billing accounts list)"
    return error(
        NAME, f"project {project} has no billing account: Compute Engine makes no VM", by(page), by(link)
    )
