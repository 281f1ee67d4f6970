"""The sweep's VMs: found a place, listed, ended, and what they cost."""

from hydra_gce.fleet.fleet import Adopted, Fleet
from hydra_gce.fleet.search import NotPlaced, Placed

__all__ = ["Adopted", "Fleet", "NotPlaced", "Placed"]
