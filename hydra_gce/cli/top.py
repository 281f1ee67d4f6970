"""``hydra-gce top``: how busy the VMs of a sweep are, as their agents say with each heartbeat."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from hydra_gce.cli.common import Verbs, add_json, add_sweep, find_sweep, print_json, print_lines

if TYPE_CHECKING:
    from rich.text import Text

    from hydra_gce.coming_back.seen import Seen
    from hydra_gce.jobs import JobStatus
    from hydra_gce.usage import Usage
    from hydra_gce.view import JobView

EVERY_S = 3.0
_FORMS = (
    ("where", "state", "step", "CPU", "memory", "disk", "GPU", "GPU memory", "heard"),
    ("where", "state", "CPU", "memory", "disk", "GPU", "GPU memory", "heard"),
    ("state", "CPU", "memory", "disk", "GPU", "GPU memory", "heard"),
    ("CPU", "memory", "disk", "GPU", "GPU memory", "heard"),
    ("CPU", "memory", "GPU"),
)


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser("top", help="CPU, memory, disk and GPU of a sweep's VMs, renewed as it goes")
    add_sweep(verb)
    verb.add_argument("--once", action="store_true", help="show it once (always so in a pipe)")
    add_json(verb)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from rich.console import Console

    from hydra_gce.cli.known import note_jobs
    from hydra_gce.coming_back.seen import see

    found = find_sweep(options.sweep, options)
    seen = see(found)
    note_jobs(found.sweep, [job.num for job in seen.view.jobs])
    if options.json:
        print_json(as_json(seen))
        return 0
    console = Console(highlight=False)
    if options.once or not console.is_terminal or console.is_dumb_terminal:
        print_lines(console, lines(seen, console.width if console.is_terminal else None))
        return 0
    return _live(console, found, seen)


def _live(console: Any, found: Any, seen: Seen) -> int:
    """Until Ctrl-C, or until nothing runs any more."""
    from rich.console import Group
    from rich.live import Live

    from hydra_gce.coming_back.seen import see

    def drawn(seen: Seen) -> Group:
        shown = lines(seen, console.width)
        return Group(*shown[: max(1, console.height - 1)])

    try:
        with Live(drawn(seen), console=console, auto_refresh=False, vertical_overflow="crop") as live:
            while seen.state != "ended":
                time.sleep(EVERY_S)
                seen = see(found)
                live.update(drawn(seen), refresh=True)
    except KeyboardInterrupt:
        pass
    sys.stdout.flush()
    return 0


def at_work(seen: Seen) -> list[tuple[JobView, JobStatus | None, Usage | None]]:
    """The jobs that have a VM now; what its agent has said last, and how busy it was, where it has."""
    from hydra_gce.jobs import JobState
    from hydra_gce.usage import Usage

    found = []
    for job in seen.view.jobs:
        waits = job.state in (JobState.PENDING, JobState.PREEMPTED) or job.state.final
        if waits or not job.instance:
            continue
        status = seen.statuses.get(job.num)
        said = status if status is not None and status.instance == job.instance else None
        found.append((job, said, Usage.from_text(said.usage) if said else None))
    return found


def lines(seen: Seen, width: int | None) -> list[Text]:
    from rich.text import Text

    from hydra_gce.display.figures import clock, shorten_end
    from hydra_gce.display.grid import Column, grid

    rows = at_work(seen)
    counts = ", ".join(f"{count} {state.lower()}" for state, count in seen.counts.items())
    head = f"{seen.view.sweep} at {clock(seen.view.now)} · {counts}"
    shown = [Text(shorten_end(head, width) if width else head, style="bold")]
    if not rows:
        return [*shown, Text("no VM works for it now")]
    sweep = seen.view.sweep
    cells = [_cells(seen, *row) for row in rows]
    for names in _FORMS:
        used = [name for name in names if any(cell.get(name) for cell in cells)]
        columns = [Column("job", right=True), Column("VM")]
        columns += [Column(name, right=name not in ("where", "state")) for name in used]
        table = grid(
            columns,
            [
                [
                    Text(str(job.num)),
                    Text(job.instance.removeprefix(f"hg-{sweep}-")),
                    *(Text(cell.get(n, "")) for n in used),
                ]
                for (job, _, _), cell in zip(rows, cells, strict=True)
            ],
            width,
            2,
        )
        if table is not None:
            return [*shown, *table]
    return [*shown, *(Text(f"{job.num} {job.instance}") for job, _, _ in rows)]


def _cells(seen: Seen, job: JobView, status: JobStatus | None, usage: Usage | None) -> dict[str, str]:
    from hydra_gce.display.figures import clean, rough_duration, steps

    cells = {"where": job.zone, "state": clean(job.state.value)}
    if job.step is not None:
        cells["step"] = steps(job.step, job.total_steps)
    if status is not None and status.heartbeat:
        cells["heard"] = f"{rough_duration(max(0.0, seen.view.now - status.heartbeat))} ago"
    if usage is None:
        return cells
    cells["CPU"] = f"{usage.cpu:.0%} of {usage.cores}"
    cells["memory"] = _of(usage.memory_used, usage.memory_total)
    cells["disk"] = _of(usage.disk_used, usage.disk_total)
    cells["GPU"] = " ".join(f"{gpu.busy:.0%}" for gpu in usage.gpus)
    if usage.gpus:
        cells["GPU memory"] = _of(sum(gpu.used for gpu in usage.gpus), sum(gpu.total for gpu in usage.gpus))
    return cells


def _of(used: int, total: int) -> str:
    """ "3.1/15.6 GB" """
    return f"{used / 1e9:.1f}/{total / 1e9:.1f} GB"


def as_json(seen: Seen) -> dict[str, Any]:
    """Shares are from 0 to 1, memory and disk in bytes, times in seconds since the epoch."""
    return {
        "sweep": seen.view.sweep,
        "as_of": seen.view.now,
        "vms": [
            {
                "vm": job.instance,
                "zone": job.zone or None,
                "job": job.num,
                "attempt": job.attempt,
                "state": job.state.value,
                "heartbeat": status.heartbeat if status else None,
                "usage": _usage(usage),
            }
            for job, status, usage in at_work(seen)
        ],
    }


def _usage(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    return {
        "cpu": usage.cpu,
        "cores": usage.cores,
        "memory_used": usage.memory_used,
        "memory_total": usage.memory_total,
        "disk_used": usage.disk_used,
        "disk_total": usage.disk_total,
        "gpus": [
            {"busy": gpu.busy, "memory_used": gpu.used, "memory_total": gpu.total} for gpu in usage.gpus
        ],
    }
