"""All checks side by side, and what becomes of one that may not ask."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

from hydra_gce.cloud.rest import sentence
from hydra_gce.doctor import (
    account,
    apis,
    billing,
    bucket,
    clock,
    connection,
    credentials,
    firewall,
    gcloud,
    image,
    leftovers,
    machine,
    mlflow,
    nat,
    network,
    permissions,
    project,
    python,
    quota,
)
from hydra_gce.doctor.findings import Finding, State, by, error, skipped
from hydra_gce.doctor.patient import Patient, grant

CHECKS: tuple[ModuleType, ...] = (
    connection, credentials, project, billing, apis, permissions, machine, quota, bucket, image, network, nat, firewall,
    account, clock, python, mlflow, leftovers, gcloud,
)  # fmt: skip
"""In the order of the report."""
OF_THIS_MACHINE = (machine, python, mlflow, gcloud)
"""Those that ask Google nothing."""

_PERMISSION = re.compile(r"[Rr]equired '([\w.]+)' permission|Permission '([\w.]+)' denied")
_MAY_LOOK = {
    account.NAME: "roles/iam.serviceAccountViewer",
    apis.NAME: "roles/serviceusage.serviceUsageViewer",
    permissions.NAME: "roles/browser",
    project.NAME: "roles/browser",
}
"""The smallest role with which a check may ask; `_OTHERWISE` is that of the others."""
_OTHERWISE = "roles/compute.viewer"
_CONSUMER = "roles/serviceusage.serviceUsageConsumer"


def examine(patient: Patient, tell: Callable[[Finding], None] = lambda finding: None) -> list[Finding]:
    """What all checks have found, in their order; ``tell`` gets each as soon as those before it are there."""
    found: list[Finding] = []

    def note(findings: list[Finding]) -> None:
        for one in findings:
            tell(one)
            found.append(one)

    note(connection.check(patient))
    silent = found[0].state is not State.OK  # each check would wait for its own deadline to say so
    if not silent:
        _import_clients()
    with ThreadPoolExecutor(len(CHECKS)) as pool:
        for findings in pool.map(lambda check: _checked(check, patient, silent), CHECKS[1:]):
            note(findings)
    return found


def _import_clients() -> None:
    """Before there are threads: two that import the same client at once may find it half made."""
    import google.cloud.compute_v1
    import google.cloud.storage  # noqa: F401


def _checked(check: ModuleType, patient: Patient, silent: bool) -> list[Finding]:
    from google.api_core.exceptions import Forbidden, GoogleAPIError, Unauthorized
    from google.auth.exceptions import GoogleAuthError
    from requests.exceptions import RequestException

    from hydra_gce.cloud.unreachable import UNREACHABLE
    from hydra_gce.errors import HydraGCEError

    name: str = check.NAME
    if silent and check not in OF_THIS_MACHINE:
        return [skipped(name, "Google does not answer: see connection")]
    try:
        findings: list[Finding] = check.check(patient)
    except UNREACHABLE as silent:
        return [error(name, f"Google does not answer: {sentence(silent)}")]
    except (GoogleAPIError, GoogleAuthError, RequestException, HydraGCEError) as other:
        refused = other.__cause__ if isinstance(other, HydraGCEError) else other
        if isinstance(refused, (GoogleAuthError, Unauthorized)):
            return [skipped(name, "Google does not know who asks: see credentials")]
        if isinstance(refused, Forbidden):
            return [_closed(name, refused, patient)]
        return [skipped(name, f"it could not be asked: {sentence(other)}")]
    return findings


def _closed(name: str, refused: Exception, patient: Patient) -> Finding:
    """A check that may not ask: because of what another check tells, or for want of a permission of its own."""
    title = apis.off(refused)
    if title:
        return skipped(name, f"the {title} is off: see APIs")
    if getattr(refused, "reason", None) == "USER_PROJECT_DENIED":
        give = grant(patient.project, patient.member, _CONSUMER)
        return skipped(name, "your requests may not be counted on this project", by(give))
    said = sentence(refused)
    permission = next(
        (group for match in _PERMISSION.finditer(said) for group in match.groups() if group), None
    )
    give = grant(patient.project, patient.member, _MAY_LOOK.get(name, _OTHERWISE))
    return skipped(
        name, f"it may not be asked: {f'{permission} is missing' if permission else said}", by(give)
    )
