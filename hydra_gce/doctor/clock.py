"""Does this machine's clock go as Google's does?"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

from hydra_gce.doctor.findings import Finding, by, error, ok, skipped, warning
from hydra_gce.doctor.patient import Patient

NAME = "clock"
NOTICEABLE_S = 30.0
REFUSED_S = 300.0
"""Google takes no signed request whose time is off by more, and leases of ours lose their meaning."""
_REMEDIES = {
    "Linux": "sudo timedatectl set-ntp true",
    "Darwin": "sudo sntp -sS time.apple.com",
    "Windows": "w32tm /resync",
}


def check(patient: Patient, now: Callable[[], float] = time.time) -> list[Finding]:
    import requests

    before = now()
    answer = requests.get(f"{patient.backend.compute_endpoint}/", timeout=20.0, allow_redirects=False)
    said = answer.headers.get("Date")
    if not said:
        return [skipped(NAME, "the answer had no date")]
    theirs = parsedate_to_datetime(said).timestamp()
    return [judge((before + now()) / 2 - theirs, platform.system())]


def judge(ahead_s: float, system: str) -> Finding:
    """:param ahead_s: by how much this machine's clock is ahead; negative: behind."""
    off_s = abs(ahead_s)
    if off_s < NOTICEABLE_S:
        return ok(NAME, f"within {max(1, round(off_s))} s of Google's")
    way = "ahead of" if ahead_s > 0 else "behind"
    much = f"{off_s / 60:.0f} min" if off_s >= 120 else f"{off_s:.0f} s"
    remedy = by(_REMEDIES.get(system, "set this machine's clock"))
    judged = error if off_s >= REFUSED_S else warning
    return judged(NAME, f"this machine's clock is {much} {way} Google's", remedy)
