"""One job as the laptop sees it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from decimal import Decimal

from hydra_gce.collect import Collected
from hydra_gce.compose import Point
from hydra_gce.fleet import Placed
from hydra_gce.jobs import Failure, JobState, JobStatus
from hydra_gce.view import JobView

_HISTORY = 12


@dataclass
class Track:
    """``vms`` counts the machines asked for it, ``instance`` is the one that it has now.

    ``lost`` counts VMs that were lost in other ways than to Compute Engine's market: what it took back are
    ``preemptions``. ``queue`` tells of its VM that waits in Google's queue. ``ending`` brings the job's result home,
    ``collecting`` is that under way. ``cancelled`` is why nobody wants it any more. ``heard``, ``placed``,
    ``first_placed`` and ``ended`` are seconds since the epoch.
    """

    point: Point
    state: JobState = JobState.PENDING
    status: JobStatus | None = None
    instance: str = ""
    zone: str = ""
    previous_zone: str = ""
    machine: str = ""
    vms: int = 0
    lost: int = 0
    preemptions: int = 0
    boot_failures: int = 0
    asked: bool = False
    generation: int = 0
    heard: float = 0.0
    placed: float = 0.0
    first_placed: float = 0.0
    ended: float = 0.0
    note: str = ""
    warned: str = ""
    cancelled: str = ""
    queue: str = ""
    history: deque[float] = field(default_factory=lambda: deque(maxlen=_HISTORY))
    ending: Callable[[], Collected | None] | None = None
    collecting: Future[Collected | None] | None = None
    collected: Collected | None = None

    @property
    def done(self) -> bool:
        return self.collected is not None

    @property
    def num(self) -> int:
        return self.point.num

    @property
    def wants_vm(self) -> bool:
        return not (self.done or self.ending or self.asked or self.instance or self.cancelled)

    def take(self, placed: Placed, now: float) -> None:
        """It has a VM, which boots."""
        self.instance, self.zone = placed.instance, placed.candidate.zone
        self.machine = str(placed.candidate)
        self.placed = self.heard = now
        self.first_placed = self.first_placed or now
        self.note = ""
        if self.state in (JobState.PENDING, JobState.PROVISIONING, JobState.PREEMPTED):
            self.state = JobState.BOOTING

    def lose(self) -> None:
        """It has no VM any more, and wants another."""
        self.state = JobState.PREEMPTED
        self.previous_zone, self.instance = self.zone, ""

    def begin_again(self) -> None:
        """It has come to an end that does not count."""
        self.state, self.status, self.note = JobState.PENDING, None, ""
        self.previous_zone, self.instance = self.zone, ""
        self.ending = self.collecting = self.collected = None
        self.cancelled = ""
        self.lost = self.boot_failures = 0
        self.history.clear()

    def hear(self, status: JobStatus, generation: int, now: float) -> None:
        self.generation = generation
        self.status = status
        self.heard = now
        if status.metric is not None and (not self.history or self.history[-1] != status.metric):
            self.history.append(status.metric)

    def view(self, dollars: Decimal, seconds: float) -> JobView:
        """The job as the display wants it; what it has cost, and for how long it had VMs."""
        status = self.status or JobStatus(self.num)
        return JobView(
            num=self.num,
            overrides=self.point.overrides,
            state=self.state,
            attempt=max(status.attempt, 1 if self.instance else 0),
            instance=self.instance,
            zone=self.zone,
            machine=self.machine,
            step=status.step,
            metric_name=status.metric_name,
            metric=status.metric,
            history=list(self.history),
            return_value=self.collected.value if self.collected else None,
            cost=dollars,
            vm_seconds=seconds,
            note=self.queue or self.note,
            previous_zone=self.previous_zone,
        )


def cause(collected: Collected) -> str:
    """A failure in one line."""
    result = collected.result
    if result.state is JobState.CANCELLED:
        return result.message
    if result.state is not JobState.FAILED:
        return ""
    last = (result.message.strip().splitlines() or ["no reason is known"])[-1]
    if result.failure is Failure.DISK_FULL:
        last += " (hydra.launcher.vm.disk_gb sets the size of the disk)"
    return last if result.failure in (None, Failure.RAISED) else f"{result.failure.value}: {last}"
