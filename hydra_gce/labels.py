"""The labels by which VMs and disks of sweeps are found, without any record of ours."""

from __future__ import annotations

SWEEP_LABEL = "hydra-gce-sweep"
JOB_LABEL = "hydra-gce-job"
OWNER_LABEL = "hydra-gce-owner"
