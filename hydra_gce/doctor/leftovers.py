"""What sweeps have left in the project, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from decimal import Decimal

from hydra_gce.compute.leftovers import Leftover, find
from hydra_gce.doctor.findings import Finding, by, ok, warning
from hydra_gce.doctor.patient import Patient, some
from hydra_gce.home import sweep_records

NAME = "leftovers"


def check(patient: Patient) -> list[Finding]:
    found = find(patient.backend, None, time.time())
    here = (patient.backend.kind, patient.project)
    watched = {
        one.sweep for one in sweep_records() if (one.backend, one.project) == here and one.launcher_alive
    }
    return [judge(found.leftovers, watched, found.silent)]


def judge(leftovers: Sequence[Leftover], watched: Collection[str], silent: Sequence[str] = ()) -> Finding:
    """:param watched: sweeps whose launcher is at work on this machine."""
    old = [one for one in leftovers if one.sweep not in watched and not one.leaving]
    if not old:
        unknown = f"; {some(sorted(set(silent)))} did not answer" if silent else ""
        return ok(NAME, f"none{unknown}")
    sweeps = sorted({one.sweep for one in old})
    hourly = sum((one.hourly for one in old if one.hourly is not None), Decimal(0))
    said = (
        f"{len(old)} {'things' if len(old) > 1 else 'thing'} of {some(sweeps)}, ${hourly:.3f} an hour in all"
    )
    others = sorted({one.owner for one in old if one.owner})
    whose = f" (of {', '.join(others)})" if others else ""
    downs = by(*(f"hydra-gce down {sweep} --yes" for sweep in sweeps))
    return warning(NAME, f"{said}{whose}: no launcher of this machine watches over them", downs)
