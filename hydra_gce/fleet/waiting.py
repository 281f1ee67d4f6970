"""VMs in Google's queue: asked for as flex-start, PENDING, and billed by nobody until they leave it.

A request stays there for up to two hours, and a sweep may have a hundred of them: no thread waits for one. All are
looked at in the listing that the sweep makes anyway. A thread of the fleet's pool is needed for some seconds only, to
send a request, and to go on elsewhere when a queue ends without a VM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hydra_gce.fleet.search import Placed
from hydra_gce.machines import Candidate, ProvisioningModel
from hydra_gce.refusals import Reach, Refusal

_EARLY = 0.9
_CODE = "WAIT_TIME_EXCEEDED"  # as GKE's autoscaler calls it


@dataclass(frozen=True)
class Asked:
    """What a search is about.

    ``refused``: the places whose queue had nothing, in the order of asking; ``queued_s``: for how long it waited there.
    """

    num: int
    attempt: int
    round_: int
    candidates: Sequence[Candidate]
    refused: tuple[tuple[Candidate, Refusal], ...] = ()
    queued_s: float = 0.0


@dataclass(frozen=True)
class Waiting:
    """A VM in the queue. ``since``: seconds since the epoch. ``missed``: the last listing did not have it."""

    asked: Asked
    placed: Placed
    since: float
    missed: bool = False

    @property
    def candidate(self) -> Candidate:
        return self.placed.candidate


def may_wait(candidate: Candidate) -> bool:
    return candidate.model is ProvisioningModel.FLEX_START


def unqueued(candidate: Candidate, why: Refusal | None, waited_s: float, queue_s: float) -> Refusal:
    """What a place has said whose queue ended without a VM. ``why``: how the request's operation failed, if known."""
    other = why is not None and (
        why.quota or not why.may_pass or why.reach not in (Reach.ZONE, Reach.ATTEMPT)
    )
    if why is not None and why.known and other:
        return why
    what = candidate.gpu or candidate.machine_type
    minutes = round(min(waited_s, queue_s) / 60, 1)
    in_time = waited_s < _EARLY * queue_s
    return Refusal(
        code=why.code if why else _CODE,
        message=why.message if why else "The VM is gone without having left the queue.",
        reach=Reach.ZONE,
        for_all_models=False,
        short=f"let {what} wait for {minutes:g} min, and ended that"
        if in_time
        else f"had no {what} for {minutes:g} min",
        advice="wait longer in the queue (hydra.launcher.vm.queue_minutes, up to 120), or allow more places",
    )
