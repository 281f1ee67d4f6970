"""Is Google within reach from here at all?"""

from __future__ import annotations

from collections.abc import Sequence

from hydra_gce.doctor.findings import Finding, by, error, ok
from hydra_gce.doctor.patient import Patient

NAME = "connection"
STORAGE = "https://storage.googleapis.com"
_WITHIN_S = 10.0


def check(patient: Patient) -> list[Finding]:
    addresses = [patient.backend.compute_endpoint, patient.backend.storage_endpoint or STORAGE]
    silent = [(one, why) for one in addresses if (why := _silence(one))]
    return [judge(silent, patient.environ.get("HTTPS_PROXY") or patient.environ.get("https_proxy"))]


def judge(silent: Sequence[tuple[str, str]], proxy: str | None) -> Finding:
    """:param silent: the addresses that do not answer, and why."""
    if not silent:
        return ok(NAME, f"through {proxy}" if proxy else "direct")
    said = "; ".join(f"{address} does not answer ({why})" for address, why in silent)
    if proxy:
        return error(NAME, f"{said}, through {proxy}", by("unset HTTPS_PROXY https_proxy"))
    return error(NAME, said, by(f"curl -sSI {silent[0][0]}"), by("export HTTPS_PROXY=http://<proxy>:<port>"))


def _silence(address: str) -> str | None:
    """Why nothing answers there; None where something does, whatever it says."""
    import requests

    try:
        requests.head(address, timeout=_WITHIN_S, allow_redirects=False)
    except requests.RequestException as silent:
        return type(silent).__name__
    return None
