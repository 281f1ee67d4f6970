"""Does the project exist, for whoever asks?"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from hydra_gce.doctor.findings import Finding, by, error, ok
from hydra_gce.doctor.patient import Patient

NAME = "project"


@dataclass(frozen=True)
class Answer:
    """``state`` is None where there is no such project, or it is closed to who asks: Google does not tell which."""

    project: str
    state: str | None
    others: Sequence[str] = ()


def check(patient: Patient) -> list[Finding]:
    from google.api_core.exceptions import Forbidden, NotFound

    from hydra_gce.doctor.apis import off

    asked = patient.backend.rest("cloudresourcemanager")
    try:
        state = asked.get(f"v3/projects/{patient.project}").get("state", "ACTIVE")
        return [judge(Answer(patient.project, state))]
    except (Forbidden, NotFound) as refused:
        if off(refused):
            raise
    return [judge(Answer(patient.project, None, _others(patient)))]


def _others(patient: Patient) -> list[str]:
    """The projects that there are for whoever asks; none where that cannot be asked either."""
    from google.api_core.exceptions import GoogleAPICallError

    asked = patient.backend.rest("cloudresourcemanager", counted=False)  # not on a project that there is not
    try:
        found = asked.get("v3/projects:search", pageSize=200).get("projects", [])
    except GoogleAPICallError:
        return []
    return [str(one["projectId"]) for one in found]


def judge(answer: Answer) -> Finding:
    if answer.state == "ACTIVE":
        return ok(NAME, answer.project)
    if answer.state is not None:
        restore = by(f"gcloud projects undelete {answer.project}")
        return error(NAME, f"{answer.project} is shut down and will be deleted", restore)
    near = difflib.get_close_matches(answer.project, answer.others, n=2, cutoff=0.5) or list(
        answer.others[:2]
    )
    remedies = [by(f"hydra.launcher.project={one}") for one in near]
    return error(
        NAME,
        f"there is no project {answer.project}, or it is closed to you",
        *remedies,
        by("gcloud projects list"),
    )
