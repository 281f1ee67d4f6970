"""How long a sweep may still take and what it may come to, from the steps that its jobs make."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from hydra_gce.jobs import JobState
from hydra_gce.view import JobView, SweepView

_SETTLED_S = 5.0
"""A rate from less than this says nothing: the first steps compile, and statuses arrive in bursts."""


def seconds_left(job: JobView) -> float | None:
    """Of a job that runs and says how fast it goes."""
    if job.state is not JobState.RUNNING or job.step is None or not job.total_steps or not job.steps_per_s:
        return None
    return max(0, job.total_steps - job.step) / job.steps_per_s


class Pace:
    """Watches the views of one sweep. An attempt's first sight is its zero where its program tells no pace itself."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, int], tuple[float, int]] = {}

    def remaining(self, view: SweepView) -> float | None:
        """Seconds until the last job ends if nothing gets in between; ``None`` while nothing is known."""
        known = list(self._known(view))
        if not known:
            return None
        unseen = sum(not job.state.final for job in view.jobs) - len(known)
        rates = [rate for _, rate in known]
        left = [max(0, (job.total_steps or 0) - (job.step or 0)) / rate for job, rate in known]
        whole_job = (sum(job.total_steps or 0 for job, _ in known) / len(known)) / (sum(rates) / len(rates))
        at_once = max(len(rates), sum(job.state is JobState.RUNNING for job in view.jobs))
        return max(*left, (sum(left) + unseen * whole_job) / at_once, whole_job if unseen else 0.0)

    def expected(self, view: SweepView) -> Decimal | None:
        """US dollars in all, if each job that tells no pace comes to what the others come to; ``None`` as above."""
        whole: dict[int, Decimal] = {}
        for job, rate in self._known(view):
            if job.vm_seconds > 0:
                left = max(0, (job.total_steps or 0) - (job.step or 0)) / rate
                whole[job.num] = job.cost * (1 + Decimal(left) / Decimal(job.vm_seconds))
        if not whole:
            return None
        mean = sum(whole.values(), Decimal(0)) / len(whole)
        others = (
            job.cost if job.state.final else max(mean, job.cost) for job in view.jobs if job.num not in whole
        )
        return sum(whole.values(), Decimal(0)) + sum(others, Decimal(0))

    def _known(self, view: SweepView) -> Iterator[tuple[JobView, float]]:
        """Each job that runs and has a total, and how many steps it makes in a second."""
        for job in view.jobs:
            if job.state is not JobState.RUNNING or job.step is None or not job.total_steps:
                continue
            since, step = self._first.setdefault((job.num, job.attempt), (view.now, job.step))
            rate = job.steps_per_s
            if not rate and view.now - since >= _SETTLED_S and job.step > step:
                rate = (job.step - step) / (view.now - since)
            if rate:
                yield job, rate
