"""Is there such a machine, in such a place?"""

from __future__ import annotations

from hydra_gce.doctor.findings import Finding, error, ok
from hydra_gce.doctor.patient import Patient, some

NAME = "machine"


def check(patient: Patient) -> list[Finding]:
    if patient.wrong:
        return [error(NAME, "\n".join(patient.wrong))]
    best = patient.candidates[0]
    regions = patient.regions
    where = f"{len(regions)} regions" if patient.anywhere else some(regions)
    what = str(best).rpartition(" in ")[0]
    return [ok(NAME, f"{what}, in {where}; ${best.price.hourly:.3f} an hour in {best.zone}")]
