"""`hydra-gce setup`: what a project needs for sweeps, made step by step, written as Terraform, or taken away again.

A step (`step.Step`) knows what is there, what is missing of it, how to make it and how to take away what it has made.
What setup makes is marked as such: buckets by a label, all else by its description.
"""

from hydra_gce.setup.plan import Wishes, steps_of
from hydra_gce.setup.step import Outcome, Step

__all__ = ["Outcome", "Step", "Wishes", "steps_of"]
