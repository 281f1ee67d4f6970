"""``hydra-gce show``: one sweep in full: each of its jobs, what happened last, what it costs, where everything is."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from hydra_gce.cli import exits
from hydra_gce.cli.common import Verbs, add_json, add_sweep, find_sweep, print_json, print_lines

if TYPE_CHECKING:
    from rich.text import Text

    from hydra_gce.coming_back.seen import Seen
    from hydra_gce.view import JobView

_NEWS = 8
# Columns beside number, overrides and state, the least width of the overrides, the gap: the first that fits is taken.
_FORMS = (
    (("attempt", "where", "machine", "step", "metric", "cost", "MLflow run"), None, 2),
    (("attempt", "where", "step", "metric", "cost"), 18, 2),
    (("attempt", "where", "step", "metric", "cost"), 12, 1),
    (("where", "step", "metric", "cost"), 12, 1),
    (("step", "metric", "cost"), 12, 1),
    (("metric", "cost"), 8, 1),
    ((), 8, 1),
)


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser("show", help="one sweep in full: its jobs, news and cost")
    add_sweep(verb)
    add_json(verb)
    verb.add_argument(
        "--exit-code",
        action="store_true",
        help=f"end with {exits.GOES_ON} while it goes on, {exits.JOB_FAILED} if a job failed, 0 if all is well",
    )
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from hydra_gce.cli.known import note_jobs
    from hydra_gce.coming_back.seen import as_json, see

    seen = see(find_sweep(options.sweep, options))
    note_jobs(seen.found.sweep, [job.num for job in seen.view.jobs])
    if options.json:
        print_json(as_json(seen))
    else:
        _print(seen)
    return exit_code(seen) if options.exit_code else exits.DONE


def exit_code(seen: Seen) -> int:
    if seen.state != "ended":
        return exits.GOES_ON
    return exits.JOB_FAILED if set(seen.counts) & {"FAILED", "CANCELLED"} else exits.DONE


def _print(seen: Seen) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    width = console.width if console.is_terminal else None
    print_lines(console, lines(seen, width))
    for note in seen.notes:
        print(f"hydra-gce: {note}", file=sys.stderr)


def lines(seen: Seen, width: int | None) -> list[Text]:
    """The head, a row for each job, the newest news; no row wider than ``width`` (None: as wide as it is)."""
    from rich.text import Text

    from hydra_gce.display.figures import clean, clock
    from hydra_gce.display.grid import pack

    view = seen.view
    shown = [Text(text) for text in pack(_head(seen), width)]
    places = [
        ("outputs", view.sweep_dir),
        ("bucket", f"gs://{seen.found.bucket.name}"),
        ("MLflow", view.mlflow),
    ]
    shown += [Text(f"{label:8}{clean(value)}", style="dim") for label, value in places if value]
    shown += [*_table(seen, width), *_notes(seen)]
    shown += [Text(f"{clock(when)}  {clean(text)}", style="dim") for when, text in view.news[-_NEWS:]]
    if seen.state == "unwatched":
        sweep = seen.found.said
        hint = f"nobody watches it: hydra-gce attach {sweep} goes on, hydra-gce down {sweep} ends it"
        shown.append(Text(hint, style="yellow"))
    return shown


def _head(seen: Seen) -> list[str]:
    from hydra_gce.display.figures import clean, duration, money

    view = seen.view
    counts = ", ".join(f"{count} {state.lower()}" for state, count in seen.counts.items())
    jobs = f"{len(view.jobs)} job{'' if len(view.jobs) == 1 else 's'}"
    where = "embedded Compute Engine" if view.backend == "local" else f"project {view.project}"
    free = " (embedded: nothing is charged)" if view.backend == "local" else ""
    said = {"running": "runs", "ended": "has ended", "unwatched": "has not ended, and nobody watches it"}
    segments = [
        f"{view.sweep} {said[seen.state]}",
        f"{jobs}: {counts}" if counts else jobs,
        where,
        f"began {duration(view.now - view.started)} ago",
        f"{money(view.cost)} {'in all' if seen.state == 'ended' else 'so far'}{free}",
        *([view.outlook] if view.outlook and seen.state == "running" else []),
    ]
    return [clean(segment) for segment in segments]


def _table(seen: Seen, width: int | None) -> list[Text]:
    from rich.text import Text

    from hydra_gce.display.figures import in_a_row, shorten_end, told_apart
    from hydra_gce.display.grid import Column, grid

    jobs = seen.view.jobs
    if not jobs:
        return [Text("no job has been sent yet")]
    points = [job.overrides for job in jobs]
    own = told_apart(points)[0] if width is None else in_a_row(points)
    for names, least, gap in _FORMS:
        used = [name for name in names if any(_cell(job, name) for job in jobs)]
        title = "overrides" if any(own) else ""
        columns = [Column("#", right=True), Column(title, least=least), Column("state")]
        columns += [Column(name, right=name in ("attempt", "cost")) for name in used]
        rows = [_row(job, overrides, used) for job, overrides in zip(jobs, own, strict=True)]
        fitting = grid(columns, rows, width, gap)
        if fitting is not None:
            return fitting
    return [Text(shorten_end(f"{job.num} {job.state.value}", width or 80)) for job in jobs]


def _notes(seen: Seen) -> list[Text]:
    """What is said of jobs, each sentence once with the jobs that it is said of."""
    from rich.text import Text

    from hydra_gce.display.figures import clean
    from hydra_gce.found import in_runs

    said: dict[str, list[int]] = {}
    for job in seen.view.jobs:
        if job.note:
            said.setdefault(clean(job.note), []).append(job.num)
    return [
        Text(f"{'job' if len(nums) == 1 else 'jobs'} {in_runs(nums)}: {note}") for note, nums in said.items()
    ]


def _row(job: JobView, overrides: str, names: list[str]) -> list[Text | None]:
    from rich.text import Text

    from hydra_gce.display.cells import STATE_STYLES

    state = Text(job.state.value, style=STATE_STYLES[job.state])
    cells = [Text(_cell(job, name)) for name in names]
    return [Text(str(job.num)), Text(overrides), state, *cells]


def _cell(job: JobView, name: str) -> str:
    from hydra_gce.display.cells import where
    from hydra_gce.display.figures import clean, money, number, steps

    if name == "attempt":
        return str(job.attempt) if job.attempt else ""
    if name == "where":
        return where(job)
    if name == "machine":
        return clean(job.machine).partition(" in ")[0]  # where it is stands in a column of its own
    if name == "step":
        return "" if job.step is None else steps(job.step, job.total_steps)
    if name == "metric":
        metric = "" if job.metric is None else f"{clean(job.metric_name)} {number(job.metric)}"
        return metric.strip() or _returned(job)
    if name == "cost":
        return money(job.cost) if job.cost else ""
    return clean(job.mlflow_run)


def _returned(job: JobView) -> str:
    from hydra_gce.display.figures import number

    value = job.return_value
    return (
        f"returned {number(value)}" if isinstance(value, (int, float)) and not isinstance(value, bool) else ""
    )
