"""Flex-start: a VM that waits as PENDING, in a queue, until its place has room or its time is over.

What Compute Engine takes: https://docs.cloud.google.com/compute/docs/instances/about-flex-start-vms, and the durations
of https://docs.cloud.google.com/ai-hypercomputer/docs/create/create-vm. What becomes of the VM, which is deleted when
its time is over: https://docs.cloud.google.com/compute/docs/instances/instance-lifecycle. Its insert is RUNNING as long
as it waits: ``gcloud compute instances create`` does not come back before. No source tells how that insert fails; it is
taken for the stockout, or the quota, that stood against the VM at the end.
"""

from __future__ import annotations

import threading
from bisect import insort
from dataclasses import dataclass

from hydra_gce.local.compute.catalog import MachineType
from hydra_gce.local.compute.errors import Json, invalid, invalid_value
from hydra_gce.local.compute.names import last, seconds
from hydra_gce.local.store import Resource

MODEL = "FLEX_START"
_LEAST_WAIT_S, _MOST_WAIT_S = 90.0, 7200.0
_LEAST_RUN_S, _MOST_RUN_S = 600, 7 * 86_400
# Accelerator-optimized types but these. N1 with GPUs is told for the queue of managed instance groups:
# https://docs.cloud.google.com/compute/docs/instance-groups/about-resize-requests-mig
_NOT_SOLD = ("a4x", "g4")
_WITHOUT_GPU = ("h4d",)

_Kind = tuple[str, str, tuple[str, ...]]


def is_flex_start(instance: Resource) -> bool:
    """Whether the VM is provisioned by this model."""
    return bool(instance.body["scheduling"].get("provisioningModel") == MODEL)


def read_wait(given: Json, field: str) -> float:
    """For how many seconds a VM may wait, as `params.requestValidForDuration` says. Raises 400."""
    duration = given.get("params", {}).get("requestValidForDuration")
    if duration is None:
        return 0.0
    wait_s = int(duration.get("seconds", 0)) + int(duration.get("nanos", 0)) / 1e9
    where = f"{field}.params.requestValidForDuration"
    if given.get("scheduling", {}).get("provisioningModel") != MODEL:
        raise invalid_value(
            where, f"{wait_s:g}s", f"Only VMs with the {MODEL} provisioning model have a wait time."
        )
    if wait_s and not _LEAST_WAIT_S <= wait_s <= _MOST_WAIT_S:
        raise invalid_value(
            where, f"{wait_s:g}s", "Must be 0 seconds, or between 90 seconds and 7200 seconds (2 hours)."
        )
    return wait_s


def check(given: Json, scheduling: Json, kind: MachineType, *, has_gpus: bool, field: str) -> None:
    """Raises 400 for what cannot be had by this model."""
    if scheduling["provisioningModel"] != MODEL:
        return
    if kind.family in _NOT_SOLD or not (has_gpus or kind.family in _WITHOUT_GPU):
        raise invalid(
            f"Invalid resource usage: 'Machine type {kind.name} is not supported with the {MODEL} provisioning model.'."
        )
    run_s = int(scheduling.get("maxRunDuration", {}).get("seconds", 0))
    if not _LEAST_RUN_S <= run_s <= _MOST_RUN_S:
        raise invalid_value(
            f"{field}.scheduling.maxRunDuration.seconds",
            run_s,
            f"Must be between {_LEAST_RUN_S} seconds (10 minutes) and {_MOST_RUN_S} seconds (7 days) for VMs with the"
            f" {MODEL} provisioning model.",
        )
    if scheduling["onHostMaintenance"] != "TERMINATE":
        raise invalid_value(
            f"{field}.scheduling.onHostMaintenance",
            scheduling["onHostMaintenance"],
            f"Must be TERMINATE for VMs with the {MODEL} provisioning model.",
        )
    affinity = given.get("reservationAffinity", {}).get("consumeReservationType", "ANY_RESERVATION")
    if affinity != "NO_RESERVATION":
        raise invalid_value(
            f"{field}.reservationAffinity.consumeReservationType",
            affinity,
            f"Must be NO_RESERVATION for VMs with the {MODEL} provisioning model.",
        )


@dataclass(frozen=True, order=True)
class _Request:
    asked: float
    id: str


class Queue:
    """Who waits for what, in the order of asking: of VMs of one kind in one zone, the first is the next to be tried.

    Threads share it. It is kept in memory; whoever is PENDING in the store joins again after a restart.
    """

    def __init__(self) -> None:
        self._waiting: dict[_Kind, list[_Request]] = {}
        self._lock = threading.Lock()

    def join(self, instance: Resource) -> None:
        """At its place by the time of its request; said again, it changes nothing."""
        with self._lock:
            line = self._waiting.setdefault(_kind(instance), [])
            request = _request(instance)
            if request not in line:
                insort(line, request)

    def leave(self, instance: Resource) -> None:
        """It has its place, or waits no longer."""
        with self._lock:
            line = self._waiting.get(_kind(instance), [])
            if _request(instance) in line:
                line.remove(_request(instance))

    def is_first(self, instance: Resource) -> bool:
        """Whether nobody who asked for the same before it still waits."""
        with self._lock:
            line = self._waiting.get(_kind(instance), [])
            return not line or line[0] >= _request(instance)


def _kind(instance: Resource) -> _Kind:
    gpus = instance.body.get("guestAccelerators", [])
    attached = tuple(f"{last(one['acceleratorType'])}:{one['acceleratorCount']}" for one in gpus)
    return instance.scope, last(instance.body["machineType"]), attached


def _request(instance: Resource) -> _Request:
    return _Request(seconds(instance.body["creationTimestamp"]), str(instance.body["id"]))
