"""The table of a running sweep, folded to the terminal's size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len
from rich.text import Text

from hydra_gce.display.figures import (
    bar,
    clean,
    clock,
    duration,
    in_a_row,
    money,
    number,
    records_said,
    rough_duration,
    shorten_end,
    sparkline,
    steps,
)
from hydra_gce.display.grid import Column, grid, pack
from hydra_gce.display.head import NOTHING_CHARGED
from hydra_gce.jobs import JobState
from hydra_gce.view import JobView, SweepView

MOST_ROWS = 20

STATE_STYLES = {
    JobState.PENDING: "dim",
    JobState.PROVISIONING: "blue",
    JobState.BOOTING: "blue",
    JobState.RUNNING: "cyan",
    JobState.PREEMPTED: "yellow",
    JobState.COMPLETED: "green",
    JobState.FAILED: "bold red",
    JobState.CANCELLED: "magenta",
}

_AT_WORK = (JobState.RUNNING, JobState.PREEMPTED, JobState.BOOTING, JobState.PROVISIONING)
_ROWS_FIRST = (*_AT_WORK, JobState.FAILED, JobState.PENDING, JobState.COMPLETED, JobState.CANCELLED)


@dataclass(frozen=True)
class _Form:
    """What a table shows beside number, overrides and state."""

    columns: tuple[str, ...]
    bar: bool = False
    sparkline: bool = False
    gap: int = 1
    least: int = 12  # cells for the overrides


_FORMS = (
    _Form(("where", "step", "metric", "cost"), bar=True, sparkline=True, gap=2, least=18),
    _Form(("where", "step", "metric", "cost"), bar=True, sparkline=True, least=18),
    _Form(("where", "step", "metric", "cost"), sparkline=True, least=18),
    _Form(("where", "step", "metric", "cost")),
    _Form(("step", "metric", "cost")),
    _Form(("step", "metric")),
    _Form(("metric",)),
    _Form(()),
)
"""From the richest to the barest; the first that fits is taken."""


def live_lines(view: SweepView, width: int, height: int, remaining: float | None = None) -> list[Text]:
    """Table, what happens, the sums so far: at most ``height`` lines, none wider than ``width``."""
    below = [*_news_line(view, width), *_foot_lines(view, width, remaining)]
    room = max(1, height - len(below) - 2)  # 2: the column titles, and the line that counts the others
    shown = _most_telling(view.jobs, min(room, MOST_ROWS))
    others = _others_line(view.jobs, shown, width)
    return [*_table(view, shown, width), *others, *below][: max(1, height)]


def metric_name(jobs: Sequence[JobView]) -> str:
    """The metric's name if all jobs that report one agree on it, else ''."""
    names = {job.metric_name for job in jobs if job.metric_name}
    return clean(names.pop()) if len(names) == 1 else ""


def _most_telling(jobs: Sequence[JobView], room: int) -> list[JobView]:
    """All jobs if there is room; else those at work, and of a small sweep as many of the others as fit."""
    if len(jobs) <= room:
        return list(jobs)
    ranked = sorted(jobs, key=lambda job: (_ROWS_FIRST.index(job.state), job.num))
    if len(jobs) > MOST_ROWS:
        ranked = [job for job in ranked if job.state in (*_AT_WORK, JobState.FAILED)]
    return sorted(ranked[:room], key=lambda job: job.num)


def _others_line(jobs: Sequence[JobView], shown: Sequence[JobView], width: int) -> list[Text]:
    nums = {job.num for job in shown}
    states = Counter(job.state for job in jobs if job.num not in nums)
    if not states:
        return []
    counts = ", ".join(f"{states[state]} {state.value.lower()}" for state in _ROWS_FIRST if states[state])
    others = f"and {states.total()} others: " if shown else "all jobs: "
    return [Text(shorten_end(f"{others}{counts}", width), style="dim", no_wrap=True)]


def _table(view: SweepView, shown: Sequence[JobView], width: int) -> list[Text]:
    if not shown:
        return []
    rows = in_a_row([job.overrides for job in view.jobs])
    own = {job.num: text for job, text in zip(view.jobs, rows, strict=True)}
    name = metric_name(view.jobs)
    idle = not any(job.step is not None or job.metric is not None or job.note for job in shown)
    for form in _FORMS:
        if idle:
            form = replace(form, columns=tuple(key for key in form.columns if key not in ("step", "metric")))
        titles = {"where": "where", "step": "step", "metric": name or "metric", "cost": "cost"}
        columns = [Column("#", right=True), Column("overrides", least=form.least), Column("state")]
        columns += [Column(titles[key], right=key == "cost") for key in form.columns]
        lines = grid(columns, [_row(job, own[job.num], form, name) for job in shown], width, form.gap)
        if lines is not None:
            return lines
    return [
        Text(shorten_end(f"{job.num} {job.state.value} {own[job.num]}", width), no_wrap=True) for job in shown
    ]


def _row(job: JobView, overrides: str, form: _Form, name: str) -> list[Text | None]:
    row: list[Text | None] = [
        Text(str(job.num)),
        Text(overrides),
        Text(job.state.value, style=STATE_STYLES[job.state]),
    ]
    progress = {key: cell for key, cell in _progress(job, form, name).items() if key in form.columns}
    note = clean(job.note)
    if progress and note and (job.state is JobState.FAILED or not any(progress.values())):
        progress = dict.fromkeys(progress)
        progress[next(iter(progress))] = Text(note)
    cells = {"where": Text(where(job)), **progress, "cost": Text(money(job.cost) if job.cost else "")}
    return row + [cells[key] for key in form.columns]


def _progress(job: JobView, form: _Form, name: str) -> dict[str, Text | None]:
    step = metric = ""
    if job.step is not None:
        step = steps(job.step, job.total_steps)
        if form.bar and job.total_steps:
            step += f" {bar(job.step, job.total_steps)}"
    if job.metric is not None:
        own_name = clean(job.metric_name)
        metric = number(job.metric) if name or not own_name else f"{own_name} {number(job.metric)}"
        if form.sparkline and (curve := sparkline(job.history)):
            metric += f" {curve}"
    return {"step": Text(step), "metric": Text(metric)}


def where(job: JobView) -> str:
    """``us-central1-a``; ``us-central1-a→c`` or ``us-central1-a→us-east1-b`` after a move."""
    zone, before = clean(job.zone), clean(job.previous_zone)
    if not zone or not before or zone == before:
        return zone or before
    region, _, letter = zone.rpartition("-")
    return f"{before}→{letter if before.startswith(f'{region}-') else zone}"


def _news_line(view: SweepView, width: int) -> list[Text]:
    if not view.news:
        return []
    when, text = view.news[-1]
    return [Text(shorten_end(f"{clock(when)}  {clean(text)}", width), no_wrap=True)]


def _foot_lines(view: SweepView, width: int, remaining: float | None) -> list[Text]:
    segments = [f"elapsed {duration(view.now - view.started)}"]
    if remaining is not None:
        segments.append(f"about {rough_duration(remaining)} left")
    so_far = f"{money(view.cost)} so far" + (f", {view.outlook}" if view.outlook else "")
    segments.append(so_far + (f" {NOTHING_CHARGED}" if view.backend == "local" else ""))
    if view.mlflow:
        segments.append(f"MLflow {clean(view.mlflow)}")
    if view.mlflow_share is not None:
        segments.append(f"{bar(round(view.mlflow_share * 100), 100, 10)} {records_said(view.mlflow_share)}")
    return [line for text in pack(segments, width) for line in _folded(text, width)]


def _folded(text: str, width: int) -> list[Text]:
    """An address that is wider than the terminal goes on in the next line: cut it would lead nowhere."""
    lines: list[Text] = []
    while cell_len(text) > width > 1:
        head = text
        while cell_len(head) > width:
            head = head[: len(head) - max(1, (cell_len(head) - width) // 2)]
        lines.append(Text(head, no_wrap=True))
        text = text[len(head) :]
    return [*lines, Text(text, no_wrap=True)]
