"""What docs/provisioning.md is recorded with: bad days, a program, and refusals in Google's words."""

from __future__ import annotations

from collections.abc import Sequence

# What a small project may have of A100s, where they are sold: Google gives few GPUs to a new one.
WITHOUT_A100 = (
    "us-west4",
    "us-east1",
    "us-west1",
    "us-west3",
    "asia-northeast1",
    "asia-northeast3",
    "asia-southeast1",
)
SMALL_PROJECT = {
    "quotas": [
        {"region": region, "metric": metric, "limit": limit}
        for region, gpus in {
            "us-central1": 8,
            "europe-west4": 1,
            "me-west1": 0,
            **dict.fromkeys(WITHOUT_A100, 0),
        }.items()
        for metric, limit in {"A2_CPUS": 96, "PREEMPTIBLE_NVIDIA_A100_GPUS": gpus}.items()
    ]
}
# Each zone of us-central1 refuses in another way, and the last has room.
MANY_ANSWERS = {
    "stock": [{"zones": "us-central1-a", "vms": 0}],
    "errors": [
        {
            "methods": "instances.insert",
            "zones": "us-central1-b",
            "operation": {"code": "SOMETHING_NEW", "message": "An error that nobody has seen before."},
        },
        {
            "methods": "instances.insert",
            "zones": "us-central1-c",
            "operation": {
                "code": "QUOTA_EXCEEDED",
                "message": "Quota 'CPUS' exceeded.  Limit: 8.0 in region us-central1.",
            },
        },
    ],
}
NOTHING_LEFT = {
    "stock": [{"zones": ["us-central1-*", "us-west1-*"], "machines": "nvidia-tesla-t4", "vms": 0}],
    "quotas": [
        {"region": region, "metric": metric, "limit": 0}
        for region in ("us-east1", "us-west4")
        for metric in ("NVIDIA_T4_GPUS", "PREEMPTIBLE_NVIDIA_T4_GPUS")
    ],
}
LOST_VMS = {
    "vms": [
        {"event": "preempt", "names": "*-0", "times": 1, "after_s": 9},
        {"event": "hang", "names": "*-1", "times": 1, "after_s": 9},
    ]
}

_ZONE = "projects/ml-lab/zones/us-central1-a"
# One of each kind: in plain words, Google's code and message, the HTTP status (None: an operation ends with it).
# Where each is known from stands in hydra_gce/refusals.
REFUSALS: Sequence[tuple[str, str, str, int | None]] = (
    ("sold out", "ZONE_RESOURCE_POOL_EXHAUSTED", f"The zone '{_ZONE}' does not have enough resources.", None),
    ("flex-start's queue", "LIMIT_EXCEEDED", "Resize request could not provision queued instances in the allocated"
     " time.", None),
    ("reservation used up", "INVALID_USAGE", "No available resources in specified reservations", None),
    ("quota of a region, in use", "QUOTA_EXCEEDED", "Quota 'CPUS' exceeded.  Limit: 24.0 in region us-central1.", None),
    ("quota of a region, none", "QUOTA_EXCEEDED",
     "Quota 'NVIDIA_T4_GPUS' exceeded.  Limit: 0.0 in region us-central1.", None),
    ("quota of the project", "QUOTA_EXCEEDED", "Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: 1.0 globally.", None),
    ("not sold there", "badRequest", 'Accelerator type "nvidia-tesla-t4" does not exist in zone us-central1-a.', 400),
    ("policy on places", "conditionNotMet", "Location ZONE:us-central1-a violates constraint"
     " constraints/gcp.resourceLocations on the resource x.", 412),
    ("subnetwork missing", "notFound",
     "The resource 'projects/ml-lab/regions/us-central1/subnetworks/lab' was not found", 404),
    ("any other policy", "conditionNotMet",
     "Constraint constraints/compute.vmExternalIpAccess violated for project 123456789.", 412),
    ("API not enabled", "accessNotConfigured", "Compute Engine API has not been used in project ml-lab before", 403),
    ("no billing", "inactiveBillingState", "Project ml-lab cannot accept requests to insert", 403),
    ("permission missing", "forbidden",
     f"Required 'compute.instances.create' permission for '{_ZONE}/instances/x'", 403),
    ("service account", "SERVICE_ACCOUNT_ACCESS_DENIED", "The user does not have access to service account"
     " 'trainer@ml-lab.iam.gserviceaccount.com'.", None),
    ("login", "authError", "Invalid Credentials", 401),
    ("rate limit", "rateLimitExceeded", "Rate Limit Exceeded", 403),
    ("trouble at Google", "backendError", "Backend Error", 503),
    ("wrong request", "invalid", "Invalid value for field 'resource.labels': 'My Lab'.", 400),
    ("unknown", "SOMETHING_NEW", "An error that nobody has seen before.", None),
)  # fmt: skip

PROGRAM = """\
@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(config: DictConfig) -> float:
    checkpoint = Path(HydraConfig.get().runtime.output_dir) / "step.txt"
    step = int(checkpoint.read_text()) if checkpoint.exists() else 0
    while step < config.steps:
        time.sleep(1)
        step += 1
        checkpoint.write_text(str(step))
    return step * config.lr
"""
IMPORTS = """\
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig


"""
