"""A sweep as events, each said once: the lines of a pipe or a dumb terminal, and of the logs everywhere."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from hydra_gce.display.cells import pace, where
from hydra_gce.display.figures import clean, clock, money, number, records_said, steps
from hydra_gce.display.head import Head
from hydra_gce.jobs import JobState
from hydra_gce.view import JobView, SweepView

WIDTH = 100
"""Cells that a line has, where what it says can be on several."""
PROGRESS_EVERY_S = 30.0
_MOST_PAUSE_S = 600.0
_PAUSE_SHARE = 40
MOST_REPORTING = 20
"""Beyond as many jobs at work, one line counts the states instead of one line for each job."""


@dataclass(frozen=True)
class Event:
    """``when``: seconds since the epoch. ``level`` is one of ``logging``'s."""

    when: float
    text: str
    level: int = logging.INFO

    def __str__(self) -> str:
        return f"{clock(self.when)}  {self.text}"


@dataclass
class _Said:
    """What was last said of a job, and when."""

    event: tuple[JobState, int]
    zone: str
    progress: str
    when: float


class Events:
    """Turns the views of one sweep into what is new in each."""

    def __init__(self) -> None:
        self._said: dict[int, _Said] = {}
        self._news: set[tuple[float, str]] = set()
        self._newest = ""
        self._head = Head()
        self._counted: tuple[float, str] | None = None
        self._shared = 0.0
        self._detail: dict[int, str] = {}

    def of(self, view: SweepView) -> Iterator[Event]:
        if self._counted is None:
            self._counted = (view.now, "")
        for line in self._head.new_lines(view, None, WIDTH - len(clock(view.now)) - 2):
            yield Event(view.now, line.plain.strip())
        yield from self._of_news(view)
        for job in view.jobs:
            yield from self._of_state(job, view)
        if sum(not job.state.final for job in view.jobs) > MOST_REPORTING:
            yield from self._of_counts(view)
        else:
            for job in view.jobs:
                yield from self._of_progress(job, view)
        yield from self._of_records(view)

    def details(self, view: SweepView) -> Iterator[Event]:
        """Every step that a look finds: what ``hydra.verbose`` adds to the logs."""
        for job in view.jobs:
            doing = "  ".join(text for text in (_doing(job), pace(job), money(job.cost)) if text)
            if not job.state.final and self._detail.get(job.num) != _doing(job):
                self._detail[job.num] = _doing(job)
                yield Event(view.now, f"job {job.num}  {doing}", logging.DEBUG)

    def _of_news(self, view: SweepView) -> Iterator[Event]:
        failures = {f"job {job.num} failed: {job.note}" for job in view.jobs if job.state is JobState.FAILED}
        for when, text in view.news:
            if (when, text) in self._news:
                continue
            self._news.add((when, text))
            if text != self._newest and text not in failures:  # their state is an event already
                self._newest = text
                yield Event(when, clean(text))

    def _of_state(self, job: JobView, view: SweepView) -> Iterator[Event]:
        said = self._said.get(job.num)
        event = (job.state, job.attempt)
        if said is None and job.state is JobState.PENDING:
            return
        moved = said is not None and job.zone != "" and said.zone not in ("", job.zone)
        late = said is not None and said.zone == "" and job.zone != ""
        if said is not None and said.event == event and not moved and not late:
            return
        zone = job.zone or (said.zone if said else "")
        self._said[job.num] = _Said(event, zone, _comparable(_doing(job)), view.now)
        parts = [f"job {job.num}", job.state.value, where(job)]
        parts.append(f"(attempt {job.attempt})" if job.attempt else "")
        if job.state.final:
            parts += [_doing(job), money(job.cost)]
        else:
            parts.append(clean(job.note))
        if said is None:
            parts.append(clean(" ".join(job.overrides)))
        level = logging.ERROR if job.state is JobState.FAILED else logging.INFO
        yield Event(view.now, "  ".join(part for part in parts if part), level)

    def _of_progress(self, job: JobView, view: SweepView) -> Iterator[Event]:
        said = self._said.get(job.num)
        doing = _doing(job)
        if said is None or job.state.final or not doing or view.now - said.when < _pause_s(view):
            return
        if _comparable(doing) == said.progress:
            return
        said.progress, said.when = _comparable(doing), view.now
        yield Event(view.now, f"job {job.num}  {doing}  {money(job.cost)}")

    def _of_records(self, view: SweepView) -> Iterator[Event]:
        if view.mlflow_share is not None and view.now - self._shared >= PROGRESS_EVERY_S:
            self._shared = view.now
            yield Event(view.now, records_said(view.mlflow_share))

    def _of_counts(self, view: SweepView) -> Iterator[Event]:
        when, before = self._counted or (view.now, "")
        states = Counter(job.state for job in view.jobs)
        counts = ", ".join(f"{states[state]} {state.value.lower()}" for state in JobState if states[state])
        if view.now - when >= _pause_s(view) and counts != before:
            self._counted = (view.now, counts)
            outlook = f", {view.outlook}" if view.outlook else ""
            yield Event(view.now, f"{counts}  {money(view.cost)} so far{outlook}")


def _pause_s(view: SweepView) -> float:
    """Between two lines of progress: short in the first minutes; the longer a sweep takes, the less is new in one."""
    return min(_MOST_PAUSE_S, max(PROGRESS_EVERY_S, (view.now - view.started) / _PAUSE_SHARE))


def _doing(job: JobView) -> str:
    """How far a job is, or what it does instead; the cause if it failed."""
    if job.state is JobState.FAILED or (job.step is None and job.metric is None):
        return clean(job.note)
    parts = [f"step {steps(job.step, job.total_steps)}" if job.step is not None else ""]
    if job.metric is not None:
        parts.append(f"{clean(job.metric_name) or 'metric'} {number(job.metric)}")
    return "  ".join(part for part in parts if part)


def _comparable(doing: str) -> str:
    """Of two notes that differ in their seconds only ("environment 38 s") the second is no news."""
    return re.sub(r"\b[\d.,]+ (s|min|h)\b", "", doing)
