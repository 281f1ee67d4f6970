"""`hydra-gce doctor`: what would be in a sweep's way, found before the sweep.

Each check is a module with `NAME` and `check(patient)`: it asks Google or this machine, and a pure function of it
judges what was said. `examine` runs them side by side.
"""

from hydra_gce.doctor.examine import examine
from hydra_gce.doctor.findings import Finding, Remedy, State
from hydra_gce.doctor.patient import Patient

__all__ = ["Finding", "Patient", "Remedy", "State", "examine"]
