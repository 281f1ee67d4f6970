"""The table of a running sweep, folded to the terminal's size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len
from rich.text import Text

from hydra_gce.display import cells
from hydra_gce.display.below import foot_lines, news_lines
from hydra_gce.display.figures import clean, in_a_row, shorten_end, shorten_middle
from hydra_gce.display.grid import Column, grid
from hydra_gce.jobs import JobState
from hydra_gce.objective import sense_of
from hydra_gce.view import JobView, SweepView

MOST_ROWS = 40
_MOST_NEWS = 5
_LEAST_VM = 9  # cells for a VM's name
_OTHERS = 1  # the line that counts the jobs without a row

_AT_WORK = (JobState.RUNNING, JobState.PREEMPTED, JobState.BOOTING, JobState.PROVISIONING)
_ROWS_FIRST = (*_AT_WORK, JobState.FAILED, JobState.PENDING, JobState.COMPLETED, JobState.CANCELLED)


@dataclass(frozen=True)
class _Form:
    """What a table shows beside number, overrides and state; ``bar`` and ``sparkline`` are cells, 0 for none.

    ``folded`` gives each job a second line, for what is in no column.
    """

    columns: tuple[str, ...]
    bar: int = 0
    sparkline: int = 0
    gap: int = 1
    least: int = 12  # cells for the overrides
    folded: bool = False


_ALL = ("attempt", "where", "VM", "GPU", "step", "pace", "metric", "best", "left", "cost")
_FORMS = (
    _Form(_ALL, bar=10, sparkline=8, gap=2, least=18),
    _Form(_ALL, bar=6, sparkline=8, least=18),
    _Form(("step", "metric", "left", "cost"), bar=8, sparkline=8, gap=2, least=18, folded=True),
    _Form(("step", "metric", "left", "cost"), bar=4, sparkline=5, least=16, folded=True),
    _Form(("where", "step", "pace", "metric", "left", "cost"), bar=4, sparkline=5, gap=2, least=18),
    _Form(("where", "step", "metric", "left", "cost"), bar=4, sparkline=5, least=18),
    _Form(("where", "step", "metric", "cost"), bar=4, sparkline=5, least=18),
    _Form(("where", "step", "metric", "cost"), sparkline=5, least=16),
    _Form(("where", "step", "metric", "cost")),
    _Form(("step", "metric", "cost")),
    _Form(("step", "metric")),
    _Form(("metric",)),
    _Form(()),
)
"""From the richest to the barest; the first that fits is taken."""

_PROGRESS = ("step", "pace", "metric", "best", "left")
_RIGHT = ("attempt", "best", "left", "cost")


def live_lines(view: SweepView, width: int, height: int, remaining: float | None = None) -> list[Text]:
    """Table, what happens, the sums so far: at most ``height`` lines, none wider than ``width``."""
    foot = foot_lines(view, width, remaining)
    room = height - len(foot) - (1 if view.news else 0)
    shown = _most_telling(view.jobs, min(max(1, room - 1 - _OTHERS), MOST_ROWS))
    others = _others_line(view.jobs, shown, width)
    table = _table(view, shown, width, room - len(others))
    news = news_lines(view, width, min(_MOST_NEWS, height - len(table) - len(others) - len(foot)))
    return [*table, *others, *news, *foot][: max(1, height)]


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


def _table(view: SweepView, shown: Sequence[JobView], width: int, room: int) -> list[Text]:
    if not shown:
        return []
    rows = in_a_row([job.overrides for job in view.jobs])
    own = {job.num: text for job, text in zip(view.jobs, rows, strict=True)}
    name = metric_name(view.jobs)
    titles = {"metric": name or "metric", "best": "best" if sense_of(name) else "highest"}
    for form in _FORMS:
        if form.folded and 1 + 2 * len(shown) > room:
            continue
        form = replace(form, columns=_with_something(form, shown))
        columns = [Column("#", right=True), Column("overrides", least=form.least), Column("state")]
        columns += [Column(titles.get(key, key), right=key in _RIGHT) for key in form.columns]
        lines = grid(columns, [_row(job, own[job.num], form, name) for job in shown], width, form.gap)
        if lines is not None:
            indent = max(1, len(str(max(job.num for job in shown)))) + form.gap
            return _unfolded(lines, shown, indent, width) if form.folded else lines
    return [
        Text(shorten_end(f"{job.num} {job.state.value} {own[job.num]}", width), no_wrap=True) for job in shown
    ]


def _with_something(form: _Form, shown: Sequence[JobView]) -> tuple[str, ...]:
    """The form's columns, less those that would stay empty; a note needs the first of the progress."""
    filled = {key for job in shown for key, text in _texts(job, form, "").items() if text}
    notes = any(job.note for job in shown) and not form.folded
    first = next((key for key in form.columns if key in _PROGRESS), "")
    always = ("cost", *((first, "metric") if notes else ()))
    return tuple(key for key in form.columns if key in filled or key in always)


def _texts(job: JobView, form: _Form, name: str) -> dict[str, str]:
    return {
        "attempt": cells.attempt(job),
        "where": cells.where(job),
        "VM": clean(job.instance),
        "GPU": cells.gpu(job),
        "step": cells.step(job, form.bar),
        "pace": cells.pace(job),
        "metric": cells.metric(job, name, form.sparkline),
        "best": cells.best(job),
        "left": cells.left(job),
        "cost": cells.cost(job),
    }


def _row(job: JobView, overrides: str, form: _Form, name: str) -> list[Text | None]:
    texts = _texts(job, form, name)
    row: dict[str, Text | None] = {key: Text(texts[key]) for key in form.columns}
    progress = [key for key in form.columns if key in _PROGRESS]
    note = clean(job.note)
    idle = not any(texts[key] for key in progress)
    if progress and note and not form.folded and (job.state is JobState.FAILED or idle):
        row |= dict.fromkeys(progress, Text(""))
        row[progress[0]] = Text(note)
        if len(progress) > 1:
            row[progress[1]] = None  # the note reaches over it
    return [Text(str(job.num)), Text(overrides), cells.state(job), *row.values()]


def _unfolded(lines: Sequence[Text], shown: Sequence[JobView], indent: int, width: int) -> list[Text]:
    """Below each job's row a line with what it has no columns for."""
    titles, *rows = lines
    both = [titles]
    for row, job in zip(rows, shown, strict=True):
        said = shorten_end(_beside(job, width - indent), width - indent)
        both += [row, Text(f"{' ' * indent}{said}", style="dim", no_wrap=True)]
    return both


def _beside(job: JobView, width: int) -> str:
    """All of it; what is too long loses the middle of the VM's name first."""
    best = ""
    if job.best is not None and job.metric is not None:
        word = "best" if sense_of(job.metric_name) else "highest"
        best = f"{word} {cells.best(job)}"
    number = f"attempt {job.attempt}" if job.attempt else ""
    note = clean(job.note)
    vm = clean(job.instance)
    of_vm = [cells.where(job), cells.machine(job), number, vm]
    said = [cells.pace(job), best, *of_vm] if job.step is not None else [note, *of_vm]
    if job.state is JobState.FAILED:
        said = [note, *of_vm]
    text = "  ".join(text for text in said if text)
    room = width - (cell_len(text) - cell_len(vm))
    return (
        text
        if not vm or room >= cell_len(vm)
        else text[: -len(vm)] + shorten_middle(vm, max(_LEAST_VM, room))
    )
