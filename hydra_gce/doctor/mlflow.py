"""MLflow: is the place there where records go?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hydra_gce.doctor.findings import Finding, by, error, ok, skipped, warning
from hydra_gce.doctor.patient import Patient
from hydra_gce.tracking.mode import URI

NAME = "MLflow"
_WITHIN_S = 10.0


@dataclass(frozen=True)
class Answer:
    """Of a server: ``status`` of its answer, or ``silent``: why there was none."""

    uri: str
    status: int | None = None
    silent: str = ""


def check(patient: Patient) -> list[Finding]:
    if patient.settings.tracking.mode == "none":
        return [skipped(NAME, "nothing is recorded (tracking.mode=none)")]
    uri = patient.environ.get(URI, "")
    if urlsplit(uri).scheme in ("http", "https"):
        return [judge(_ask(uri, patient.environ))]
    return [_of_file(uri)]


def _ask(uri: str, environ: Mapping[str, str]) -> Answer:
    import requests

    user, password = (environ.get(f"MLFLOW_TRACKING_{one}", "") for one in ("USERNAME", "PASSWORD"))
    token = environ.get("MLFLOW_TRACKING_TOKEN", "")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = requests.get(
            f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/get",
            params={"experiment_id": "0"},
            auth=(user, password) if user else None,
            headers=headers,
            timeout=_WITHIN_S,
            verify=environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() not in ("1", "true"),
        )
    except requests.RequestException as silent:
        return Answer(uri, silent=type(silent).__name__)
    return Answer(uri, answer.status_code)


def judge(answer: Answer) -> Finding:
    address = urlsplit(answer.uri)
    shown = f"{address.scheme}://{address.hostname}" + (f":{address.port}" if address.port else "")
    leave = by("hydra.launcher.tracking.mode=none")
    if answer.status is None:
        here = address.hostname in ("localhost", "127.0.0.1", "::1")
        start = f"mlflow server --host {address.hostname} --port {address.port or 80}"
        remedies = [by(start)] if here else [by(f"export {URI}=<the server's address>")]
        return error(NAME, f"{shown} does not answer ({answer.silent})", *remedies, by(f"unset {URI}"), leave)
    if answer.status in (401, 403):
        login = "export MLFLOW_TRACKING_USERNAME=… MLFLOW_TRACKING_PASSWORD=…"
        return error(NAME, f"{shown} does not let you in ({answer.status})", by(login), leave)
    if answer.status >= 500:
        return warning(NAME, f"{shown} answers with {answer.status}", by(f"curl {shown}/health"), leave)
    return ok(NAME, shown)


def _of_file(uri: str) -> Finding:
    """A store on this machine: a sqlite file, a directory, or MLflow's default for none."""
    kind = urlsplit(uri).scheme
    if kind not in ("", "file", "sqlite"):
        return ok(NAME, f"a {kind.partition('+')[0]} store")
    path = Path(uri.partition("sqlite:///")[2] if kind == "sqlite" else urlsplit(uri).path or ".")
    folder = path if path.is_dir() else path.parent
    if folder.is_dir() and not os.access(folder, os.W_OK):
        said = f"{URI}={uri}: nothing can be written there"
        return error(NAME, said, by(f"unset {URI}"), by("hydra.launcher.tracking.mode=none"))
    return ok(NAME, f"{uri or 'the default store'}, on this machine")
