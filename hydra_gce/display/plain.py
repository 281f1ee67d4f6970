"""A sweep where no terminal shows it: one line per event, each with its local time, nothing said twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from hydra_gce.display.figures import clean, clock, money, number, records_said, steps
from hydra_gce.display.head import Head
from hydra_gce.display.table import where
from hydra_gce.jobs import JobState
from hydra_gce.view import JobView, SweepView

PROGRESS_EVERY_S = 30.0
MOST_REPORTING = 20
"""Beyond as many jobs at work, one line counts the states instead of one line for each job."""


@dataclass
class _Said:
    """What was last said of a job, and when."""

    event: tuple[JobState, int]
    zone: str
    progress: str
    when: float


class PlainLines:
    """Turns the views of one sweep into the lines that are new in each."""

    def __init__(self) -> None:
        self._said: dict[int, _Said] = {}
        self._news: set[tuple[float, str]] = set()
        self._newest = ""
        self._head = Head()
        self._counted: tuple[float, str] | None = None
        self._shared = 0.0

    def lines(self, view: SweepView) -> Iterator[str]:
        if self._counted is None:
            self._counted = (view.now, "")
        for line in self._head.new_lines(view, None):
            yield f"{clock(view.now)}  {line.plain.strip()}"
        yield from self._news_lines(view)
        for job in view.jobs:
            yield from self._event_line(job, view)
        if sum(not job.state.final for job in view.jobs) > MOST_REPORTING:
            yield from self._count_line(view)
        else:
            for job in view.jobs:
                yield from self._progress_line(job, view)
        yield from self._records_line(view)

    def _news_lines(self, view: SweepView) -> Iterator[str]:
        for when, text in view.news:
            if (when, text) in self._news:
                continue
            self._news.add((when, text))
            if text != self._newest:
                self._newest = text
                yield f"{clock(when)}  {clean(text)}"

    def _event_line(self, job: JobView, view: SweepView) -> Iterator[str]:
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
        yield f"{clock(view.now)}  {'  '.join(part for part in parts if part)}"

    def _progress_line(self, job: JobView, view: SweepView) -> Iterator[str]:
        said = self._said.get(job.num)
        doing = _doing(job)
        if said is None or job.state.final or not doing or view.now - said.when < PROGRESS_EVERY_S:
            return
        if _comparable(doing) == said.progress:
            return
        said.progress, said.when = _comparable(doing), view.now
        yield f"{clock(view.now)}  job {job.num}  {doing}  {money(job.cost)}"

    def _records_line(self, view: SweepView) -> Iterator[str]:
        if view.mlflow_share is not None and view.now - self._shared >= PROGRESS_EVERY_S:
            self._shared = view.now
            yield f"{clock(view.now)}  {records_said(view.mlflow_share)}"

    def _count_line(self, view: SweepView) -> Iterator[str]:
        when, before = self._counted or (view.now, "")
        states = Counter(job.state for job in view.jobs)
        counts = ", ".join(f"{states[state]} {state.value.lower()}" for state in JobState if states[state])
        if view.now - when >= PROGRESS_EVERY_S and counts != before:
            self._counted = (view.now, counts)
            yield f"{clock(view.now)}  {counts}  {money(view.cost)} so far{', ' if view.outlook else ''}{view.outlook}"


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
