"""Is gcloud there, which `hydra-gce ssh` goes through?"""

from __future__ import annotations

import shutil

from hydra_gce.doctor.findings import Finding, by, ok, skipped, warning
from hydra_gce.doctor.patient import Patient

NAME = "gcloud"
PAGE = "https://cloud.google.com/sdk/docs/install"


def check(patient: Patient) -> list[Finding]:
    if patient.backend.kind == "local":
        return [skipped(NAME, "the embedded Compute Engine needs none")]
    return [judge(shutil.which("gcloud", path=patient.environ.get("PATH")))]


def judge(found: str | None) -> Finding:
    if found:
        return ok(NAME, found)
    return warning(NAME, "gcloud is not on the PATH: hydra-gce ssh and logging in need it", by(PAGE))
