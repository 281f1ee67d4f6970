"""One job as the laptop sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property

from hydra_gce.collect import Collected
from hydra_gce.fleet import Placed
from hydra_gce.jobs import Failure, JobState, JobStatus
from hydra_gce.launch.compose import Point
from hydra_gce.money.ledger import AttemptCost
from hydra_gce.objective import Sense, sense_of
from hydra_gce.tracking.progress import KEPT, thinned, total_steps
from hydra_gce.view import AttemptView, JobView
from hydra_gce.watch.settled import numbers_in


@dataclass
class Track:
    """``vms`` counts the machines asked for it, ``instance`` is the one that it has now.

    ``lost`` counts VMs that were lost in other ways than to Compute Engine's market: what it took back are
    ``preemptions``. ``queue`` tells of its VM that waits in Google's queue. ``ending`` brings the job's result home,
    ``collecting`` is that under way. ``cancelled`` is why nobody wants it any more. ``history`` and ``best`` are of its
    metric over all attempts, ``before`` is the history of those before this one. ``how_lost`` its last VM was, in a
    word, until the next one is at work. ``heard``, ``placed``, ``first_placed`` and ``ended`` are seconds since the
    epoch.
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
    history: list[float] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    best: float | None = None
    total_steps: int | None = None
    how_lost: str = ""
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

    def lose(self, how: str = "lost") -> None:
        """It has no VM any more, and wants another."""
        self.state = JobState.PREEMPTED
        self.previous_zone, self.instance, self.how_lost = self.zone, "", how

    def begin_again(self) -> None:
        """It has come to an end that does not count."""
        self.state, self.status, self.note = JobState.PENDING, None, ""
        self.previous_zone, self.instance = self.zone, ""
        self.ending = self.collecting = self.collected = None
        self.cancelled = ""
        self.lost = self.boot_failures = 0
        self.history, self.before, self.best = [], [], None

    def hear(self, status: JobStatus, generation: int, now: float) -> None:
        former = self.status or status
        self.generation = generation
        self.status = status
        self.heard = now
        self.total_steps = status.total_steps or self.total_steps
        if status.metric_name != former.metric_name:
            self.history, self.before, self.best = [], [], None
        elif status.attempt != former.attempt:
            self.before = self.history
        if status.history:
            self.history = thinned([*self.before, *status.history])
        elif status.metric is not None and (not self.history or self.history[-1] != status.metric):
            self.history = [*self.history, status.metric][-KEPT:]
        best = status.metric if status.best is None else status.best
        self.best = (sense_of(status.metric_name) or Sense.HIGHEST).better(self.best, best)

    def back(self) -> str:
        """Once for each VM that takes over from a lost one: where, and how far on the program is, as it says itself."""
        status = self.status
        if (
            not self.how_lost
            or status is None
            or status.instance != self.instance
            or status.first_step is None
        ):
            return ""
        where = self.zone if self.zone != self.previous_zone else "the same zone"
        goes_on = f"goes on from step {status.first_step:,}" if status.first_step > 1 else "begins again"
        how, self.how_lost = self.how_lost, ""
        return f"job {self.num} {how} in {self.previous_zone}, back in {where}, {goes_on}"

    def _total_steps(self, step: int | None) -> int | None:
        """As the program tells MLflow; else as its config has it, which is opened for jobs that have begun alone."""
        if self.total_steps is not None or step is None:
            return self.total_steps
        return total_steps(self._settled, step)

    @cached_property
    def _settled(self) -> dict[str, float]:
        return numbers_in(self.point.config)

    def view(self, dollars: Decimal, seconds: float, attempts: Sequence[AttemptCost] = ()) -> JobView:
        """The job as the display wants it; what it has cost, for how long it had VMs, and both by attempt."""
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
            total_steps=self._total_steps(status.step),
            metric_name=status.metric_name,
            metric=status.metric,
            history=list(self.history),
            return_value=self.collected.value if self.collected else None,
            cost=dollars,
            vm_seconds=seconds,
            note=self.queue or self.note,
            previous_zone=self.previous_zone,
            steps_per_s=status.steps_per_s,
            speed=status.speed,
            speed_unit=status.speed_unit,
            best=self.best,
            by_attempt=[
                AttemptView(one.attempt, one.instance, one.zone, one.seconds, one.dollars) for one in attempts
            ],
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
