"""A VM as Compute Engine lists it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hydra_gce.labels import SWEEP_LABEL

QUEUED = "PENDING"
"""Waits in Google's queue for its place, and costs nothing."""
LEAVING = ("STOPPING", "PENDING_STOP")
"""Being shut down: what runs there has a while to end, and costs."""
OFF = ("TERMINATED", "STOPPED", "SUSPENDED")
GONE = (*LEAVING, *OFF)


@dataclass(frozen=True)
class Instance:
    """A VM as Compute Engine lists it.

    ``created`` and ``started`` in seconds since the epoch, 0 where there is none yet; ``model`` is the provisioning
    model in the API's words, ``accelerators`` the GPUs as pairs of the API's type and how many.
    """

    name: str
    zone: str
    status: str
    machine_type: str
    labels: dict[str, str]
    created: float
    started: float = 0.0
    model: str = "STANDARD"
    accelerators: tuple[tuple[str, int], ...] = ()
    deletion_protection: bool = False

    @property
    def sweep(self) -> str:
        return self.labels.get(SWEEP_LABEL, "")


def instance_of(listed: Any) -> Instance:
    return Instance(
        name=listed.name,
        zone=listed.zone.rpartition("/")[2],
        status=listed.status,
        machine_type=listed.machine_type.rpartition("/")[2],
        labels=dict(listed.labels),
        created=since_epoch(listed.creation_timestamp),
        started=since_epoch(listed.last_start_timestamp),
        model=listed.scheduling.provisioning_model or "STANDARD",
        accelerators=tuple(
            (one.accelerator_type.rpartition("/")[2], one.accelerator_count)
            for one in listed.guest_accelerators
        ),
        deletion_protection=listed.deletion_protection,
    )


def instance_in(plain: dict[str, Any]) -> Instance:
    """The same from the API's JSON."""
    return Instance(
        name=plain["name"],
        zone=plain["zone"].rpartition("/")[2],
        status=plain["status"],
        machine_type=plain["machineType"].rpartition("/")[2],
        labels=dict(plain.get("labels", {})),
        created=since_epoch(plain.get("creationTimestamp", "")),
        started=since_epoch(plain.get("lastStartTimestamp", "")),
        model=plain.get("scheduling", {}).get("provisioningModel") or "STANDARD",
        accelerators=tuple(
            (one["acceleratorType"].rpartition("/")[2], int(one["acceleratorCount"]))
            for one in plain.get("guestAccelerators", [])
        ),
        deletion_protection=plain.get("deletionProtection", False),
    )


def since_epoch(rfc3339: str) -> float:
    """Since the epoch; 0 for a VM that has no time yet."""
    return datetime.fromisoformat(rfc3339.replace("Z", "+00:00")).timestamp() if rfc3339 else 0.0
