"""How long a sweep may still take, from the steps that its jobs have been seen to make."""

from __future__ import annotations

from hydra_gce.jobs import JobState
from hydra_gce.view import SweepView

_SETTLED_S = 5.0
"""A rate from less than this says nothing: the first steps compile, and statuses arrive in bursts."""


class Pace:
    """Watches the views of one sweep. An attempt's first sight is its zero: no rate is known before it."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, int], tuple[float, int]] = {}

    def remaining(self, view: SweepView) -> float | None:
        """Seconds until the last job ends if nothing gets in between; ``None`` while nothing is known."""
        rates: list[float] = []
        totals: list[int] = []
        left: list[float] = []
        unseen = 0
        for job in view.jobs:
            if job.state.final:
                continue
            if job.state is not JobState.RUNNING or job.step is None or not job.total_steps:
                unseen += 1
                continue
            since, step = self._first.setdefault((job.num, job.attempt), (view.now, job.step))
            if view.now - since < _SETTLED_S or job.step <= step:
                unseen += 1
                continue
            rates.append((job.step - step) / (view.now - since))
            totals.append(job.total_steps)
            left.append(max(0, job.total_steps - job.step) / rates[-1])
        if not rates:
            return None
        whole_job = (sum(totals) / len(totals)) / (sum(rates) / len(rates))
        at_once = max(len(rates), sum(job.state is JobState.RUNNING for job in view.jobs))
        return max(*left, (sum(left) + unseen * whole_job) / at_once, whole_job if unseen else 0.0)
