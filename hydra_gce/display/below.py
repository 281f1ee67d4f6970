"""What stands below the live table: what has happened just now, the time, the money, the best, where to look."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from hydra_gce.display import cells
from hydra_gce.display.figures import (
    bar,
    clean,
    clock,
    duration,
    money,
    records_said,
    rough_duration,
    shorten_end,
)
from hydra_gce.display.grid import pack
from hydra_gce.display.head import NOTHING_CHARGED
from hydra_gce.objective import Sense, sense_of
from hydra_gce.view import JobView, SweepView

_MANY_JOBS = 10


def news_lines(view: SweepView, width: int, most: int) -> list[Text]:
    """The newest ones, the very newest last; that one may need several lines."""
    if not view.news:
        return []
    (when, newest), before = view.news[-1], view.news[:-1]
    lead = f"{clock(when)}  "
    words = pack(clean(newest).split(" "), max(1, width - len(lead)), " ")
    folded = words if len(words) <= max(1, most) else [clean(newest)]
    lines = [
        Text(shorten_end(f"{' ' * len(lead) if at else lead}{text}", width), no_wrap=True)
        for at, text in enumerate(folded)
    ]
    room = max(0, most - len(lines))
    told = [
        shorten_end(f"{clock(when)}  {clean(text)}", width) for when, text in before[len(before) - room :]
    ]
    return [*(Text(text, style="dim", no_wrap=True) for text in told), *lines]


def foot_lines(view: SweepView, width: int, remaining: float | None) -> list[Text]:
    segments = [*_done(view), f"elapsed {duration(view.now - view.started)}"]
    if remaining is not None:
        segments.append(f"about {rough_duration(remaining)} left")
    so_far = f"{money(view.cost)} so far" + (f", {view.outlook}" if view.outlook else "")
    segments.append(so_far + (f" {NOTHING_CHARGED}" if view.backend == "local" else ""))
    segments += _best(view)
    if view.mlflow:
        segments.append(f"MLflow {clean(view.mlflow)}")
    if view.mlflow_share is not None:
        segments.append(f"{bar(round(view.mlflow_share * 100), 100, 10)} {records_said(view.mlflow_share)}")
    return [line for text in pack(segments, width) for line in _folded(text, width)]


def _done(view: SweepView) -> list[str]:
    count = len(view.jobs)
    if count <= _MANY_JOBS:
        return []
    done = sum(job.state.final for job in view.jobs)
    return [f"{bar(done, count, 10)} {done} of {count} done"]


def _best(view: SweepView) -> list[str]:
    """Of several jobs with the same metric, the one that has been best so far."""
    told = [job for job in view.jobs if job.best is not None]
    names = {job.metric_name for job in told}
    if len(told) < 2 or len(names) != 1:
        return []
    name = names.pop()
    sense = sense_of(name)
    job = _first(told, sense or Sense.HIGHEST)
    return [f"{'best' if sense else 'highest'} {clean(name)} {cells.best(job)} (job {job.num})"]


def _first(jobs: list[JobView], sense: Sense) -> JobView:
    best = jobs[0]
    for job in jobs[1:]:
        if job.best != best.best and sense.better(job.best, best.best) == job.best:
            best = job
    return best


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
