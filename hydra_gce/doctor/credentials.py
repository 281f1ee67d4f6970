"""Is there somebody to ask as, and does Google know him still?"""

from __future__ import annotations

from dataclasses import dataclass

from hydra_gce.cloud.rest import sentence
from hydra_gce.doctor.findings import Finding, by, error, ok
from hydra_gce.doctor.patient import Patient
from hydra_gce.doctor.who import kind_of, refresh

NAME = "credentials"
LOGIN = "gcloud auth application-default login"


@dataclass(frozen=True)
class Answer:
    """``refused``: why Google gives no token or does not take it; None where it does. ``file``: where a key lies."""

    kind: str
    member: str
    refused: str | None
    file: str | None


def check(patient: Patient) -> list[Finding]:
    from google.api_core.exceptions import GoogleAPICallError, Unauthorized
    from google.auth.exceptions import GoogleAuthError

    from hydra_gce.cloud.unreachable import UNREACHABLE

    refused = None
    try:
        refresh(patient.backend.credentials)
        patient.backend.projects.get(project=patient.project, timeout=20.0)
    except UNREACHABLE:
        raise
    except (GoogleAuthError, Unauthorized) as expired:
        refused = sentence(expired)
    except GoogleAPICallError:
        pass  # Google knows him: whatever else it has to say is told by other checks
    kind = kind_of(patient.backend.credentials)
    member = "" if refused else patient.member
    return [judge(Answer(kind, member, refused, patient.environ.get("GOOGLE_APPLICATION_CREDENTIALS")))]


def judge(answer: Answer) -> Finding:
    if answer.refused is None:
        who = answer.member.partition(":")[2]
        named = who if who != "YOU" and who not in answer.kind else ""
        return ok(NAME, ", ".join(filter(None, (answer.kind, named))))
    said = f"the {answer.kind}'s credentials have expired or were revoked ({answer.refused})"
    if answer.kind.startswith("service account") and answer.file:
        email = answer.kind.removeprefix("service account ")
        new_key = f"gcloud iam service-accounts keys create {answer.file} --iam-account={email}"
        return error(NAME, said, by(new_key), by("unset GOOGLE_APPLICATION_CREDENTIALS", LOGIN))
    return error(NAME, said, by(LOGIN))
