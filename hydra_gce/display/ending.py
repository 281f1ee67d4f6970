"""What a sweep came to: its table, its failures with their causes, where everything lies, what it cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real

from rich.cells import cell_len
from rich.text import Text

from hydra_gce.display.cells import STATE_STYLES
from hydra_gce.display.figures import clean, duration, in_a_row, money, number, shorten_middle, told_apart
from hydra_gce.display.grid import Column, grid, pack
from hydra_gce.display.head import NOTHING_CHARGED
from hydra_gce.display.plain import WIDTH
from hydra_gce.display.table import metric_name
from hydra_gce.jobs import JobState
from hydra_gce.objective import Sense, sense_of
from hydra_gce.view import JobView, SweepView

_DIGITS = 5
_LONGEST_VALUE = 24
_LONGEST_RUN = 10
_CAUSES_SHOWN = 10
_ATTEMPTS_SHOWN = 10  # jobs that needed several

_FORMS: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (2, 30, ("attempts", "VM time", "cost", "MLflow run")),
    (1, 16, ("attempts", "VM time", "cost", "MLflow run")),
    (1, 16, ("attempts", "VM time", "cost")),
    (1, 16, ("VM time", "cost")),
    (1, 12, ("cost",)),
    (1, 8, ()),
)
"""The gap, the cells that overrides need, the columns beside them and the value: the first that fits is taken."""


def end_lines(view: SweepView, width: int | None) -> list[Text]:
    """The whole end of a sweep. ``width=None`` (a pipe, a file) shortens nothing."""
    order = _Order.of(view)
    folded = WIDTH if width is None else width
    return [
        *_table(view, order, width),
        *_order_line(view, order, folded),
        *_attempt_lines(view, folded),
        *_failure_lines(view, width),
        *_closing_lines(view, folded),
    ]


@dataclass(frozen=True)
class _Order:
    """The jobs as they are shown; ``by_value`` if that is by return value, the best first."""

    jobs: list[JobView]
    by_value: bool
    name: str
    sense: Sense = Sense.HIGHEST

    @classmethod
    def of(cls, view: SweepView) -> _Order:
        by_num = sorted(view.jobs, key=lambda job: job.num)
        done = [job for job in by_num if job.state is JobState.COMPLETED]
        values = {job.num: _as_float(job.return_value) for job in done}
        name = clean(view.return_name) or _return_name(done)
        if not done or any(value is None for value in values.values()):
            return cls(by_num, by_value=False, name=name)
        sense = Sense(view.sought) if view.sought else sense_of(name) or Sense.HIGHEST
        best_first = sorted(done, key=lambda job: _best_first(values[job.num], sense))
        others = [job for job in by_num if job.num not in values]
        return cls(best_first + others, by_value=True, name=name, sense=sense)


def _return_name(done: Sequence[JobView]) -> str:
    """The metric's name where the return values are that metric's newest ones; else what is surely right."""
    name = metric_name(done)
    pairs = [(_as_float(job.return_value), job.metric) for job in done]
    same = [
        value is not None and metric is not None and math.isclose(value, metric, rel_tol=1e-6)
        for value, metric in pairs
    ]
    return name if name and all(same) else "return value"


def _as_float(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (Real, Decimal)):
        return None
    try:
        return float(value)
    except OverflowError:  # an int beyond every float
        return -math.inf if str(value).startswith("-") else math.inf


def _best_first(value: float | None, sense: Sense) -> tuple[bool, float]:
    if value is None or math.isnan(value):
        return True, 0.0
    return False, -value if sense is Sense.HIGHEST else value


def _table(view: SweepView, order: _Order, width: int | None) -> list[Text]:
    if not order.jobs:
        return []
    points = [job.overrides for job in order.jobs]
    overrides = told_apart(points)[0] if width is None else in_a_row(points)
    returns_something = any(
        job.state is not JobState.COMPLETED or job.return_value is not None for job in order.jobs
    )
    for gap, least, extras in _FORMS:
        columns = [Column("#", right=True), Column("overrides", least=least)]
        if returns_something:
            columns.append(Column(order.name, right=True))
        if not any(job.mlflow_run for job in order.jobs):
            extras = tuple(name for name in extras if name != "MLflow run")
        if view.backend == "local":
            extras = tuple("would cost" if name == "cost" else name for name in extras)
        columns += [Column(name, right=name != "MLflow run") for name in extras]
        rows = []
        for job, own in zip(order.jobs, overrides, strict=True):
            cells = [Text(str(job.num)), Text(own)] + ([_outcome(job)] if returns_something else [])
            rows.append(cells + [Text(_extra(job, name, width)) for name in extras])
        lines = grid(columns, rows, width, gap)
        if lines is not None:
            return lines
    return [
        Text(f"{job.num} {_outcome(job).plain} {own}") for job, own in zip(order.jobs, overrides, strict=True)
    ]


def _extra(job: JobView, name: str, width: int | None) -> str:
    if name == "attempts":
        return str(job.attempt)
    if name == "VM time":
        return duration(job.vm_seconds)
    if name == "MLflow run":
        run = clean(job.mlflow_run)
        return run if width is None or len(run) <= _LONGEST_RUN else f"{run[: _LONGEST_RUN - 2]}…"
    return money(job.cost)


def _outcome(job: JobView) -> Text:
    if job.state is not JobState.COMPLETED:
        return Text(job.state.value.lower(), style=STATE_STYLES[job.state])
    value = job.return_value
    if value is None:
        return Text("-")
    if isinstance(value, Real) and not isinstance(value, bool):
        return Text(number(value, _DIGITS))
    return Text(shorten_middle(clean(_as_written(value)), _LONGEST_VALUE))


def _as_written(value: object) -> str:
    """A user's class may raise anything in its own ``repr``: its name is then all that can be said of it."""
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__}: its repr raises {type(error).__name__}>"


def _order_line(view: SweepView, order: _Order, width: int) -> list[Text]:
    shared = told_apart([job.overrides for job in view.jobs])[1]
    said = [f"every point {shared}"] if shared else []
    done = [job for job in order.jobs if job.state is JobState.COMPLETED]
    if order.by_value and len(done) > 1:
        said.insert(0, f"by {order.name}, {order.sense.value} first")
    return [Text(text, style="dim") for text in pack(said, width)]


def _attempt_lines(view: SweepView, width: int) -> list[Text]:
    """What each VM came to, of the jobs that needed several."""
    several = [job for job in sorted(view.jobs, key=lambda job: job.num) if len(job.by_attempt) > 1]
    lines = []
    for job in several[:_ATTEMPTS_SHOWN]:
        said = [
            f"attempt {one.attempt} {clean(one.zone)} {duration(one.seconds)} {money(one.cost)}"
            for one in job.by_attempt
        ]
        label = f"job {job.num}  "
        for at, text in enumerate(pack(said, width - len(label))):
            lines.append(Text(f"{' ' * len(label) if at else label}{text}", style="dim"))
    left = len(several) - _ATTEMPTS_SHOWN
    if left > 0:
        lines.append(
            Text(
                f"and {left} other jobs with several attempts: hydra-gce cost {clean(view.sweep)}",
                style="dim",
            )
        )
    return lines


def _failure_lines(view: SweepView, width: int | None) -> list[Text]:
    """Each cause once with the jobs that it took: of 200 failures most are the same."""
    jobs_by_cause: dict[tuple[str, str], list[int]] = {}
    for job in sorted(view.jobs, key=lambda job: job.num):
        if job.state is JobState.FAILED:
            jobs_by_cause.setdefault(("failed", clean(job.note) or "no cause was reported"), []).append(
                job.num
            )
        elif job.state is JobState.CANCELLED:
            note = clean(job.note)
            by_somebody = note.startswith("cancelled")  # cancelled by ada
            jobs_by_cause.setdefault((note, "") if by_somebody else ("cancelled", note), []).append(job.num)
    lines = []
    for (how, cause), nums in list(jobs_by_cause.items())[:_CAUSES_SHOWN]:
        who = f"job {nums[0]}" if len(nums) == 1 else f"jobs {_few(nums)}"
        said = f"{who} {how}: {cause}" if cause else f"{who} {how}"
        logs = [f"(logs: hydra-gce logs {clean(view.sweep)} --job {nums[0]})"] if how == "failed" else []
        for at, text in enumerate(pack([said, *logs], width, " ")):
            lines.append(Text(f"  {text}" if at else text, style="red" if how == "failed" and not at else ""))
    left = len(jobs_by_cause) - _CAUSES_SHOWN
    if left > 0:
        lines.append(Text(f"and {left} other causes of failure"))
    return lines


def _few(nums: Sequence[int]) -> str:
    shown = ", ".join(str(num) for num in nums[:6])
    return shown if len(nums) <= 6 else f"{shown} and {len(nums) - 6} more"


def _closing_lines(view: SweepView, width: int) -> list[Text]:
    in_all = f"{money(view.cost + view.earlier_cost)} in all"
    if view.earlier_cost:
        in_all = f"{money(view.cost)} for these points, {in_all}"
    if view.backend == "local":
        in_all += f" {NOTHING_CHARGED}"
    left = f"{clean(view.vms_left)} · {in_all}" if view.vms_left else in_all
    mlflow = clean(view.mlflow)
    again = any(job.state in (JobState.FAILED, JobState.CANCELLED) for job in view.jobs)
    pairs = [
        ("outputs", clean(view.sweep_dir)),
        ("MLflow" if "://" in mlflow else "compare", mlflow),
        ("again", f"hydra-gce retry {clean(view.sweep)}" if again else ""),
    ]
    said = [f"{label:7}  {value}" for label, value in pairs if value]
    texts = pack(said, width, "     ")
    if any(cell_len(text) > width for text in texts):
        texts = said
    return [Text(text) for text in [*texts, left]]
