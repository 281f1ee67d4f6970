"""Compute Engine's verbs on VMs, as the launcher needs them: plain values in, plain values out.

``Compute`` is what they are called through: ``HereCompute`` in this process, ``process`` in one beside it.
"""

from hydra_gce.compute.here import HereCompute
from hydra_gce.compute.instance import GONE, LEAVING, OFF, QUEUED, Instance
from hydra_gce.compute.verbs import OPERATION_S, Compute

__all__ = ["GONE", "LEAVING", "OFF", "OPERATION_S", "QUEUED", "Compute", "HereCompute", "Instance"]
