"""``hydra-gce ls``: sweeps, their VMs, and what those cost."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hydra_gce.cli.common import Verbs, add_json, add_place, connect, print_json, print_lines

if TYPE_CHECKING:
    from decimal import Decimal

    from rich.text import Text

    from hydra_gce.cloud.backend import Backend
    from hydra_gce.coming_back.inventory import SweepInventory
    from hydra_gce.compute.leftovers import Leftover
    from hydra_gce.found import FoundSweep

# Whether names are shown without their sweep's, the least width of the machine, how many columns, the gap between.
_FORMS = (
    (False, None, 7, 2),
    (True, None, 7, 2),
    (True, None, 7, 1),
    (True, 9, 7, 1),
    (True, 9, 6, 1),
    (True, 9, 5, 1),
)
_ASKED = 200  # of so many sweeps the jobs are counted, the newest
_MOST_ROWS = 20  # VMs of one sweep in a terminal


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser("ls", help="sweeps with their jobs and VMs over all zones, with age and cost")
    verb.add_argument(
        "--all", action="store_true", help="those of other people and machines, and those that have ended"
    )
    add_json(verb)
    add_place(verb)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from concurrent.futures import ThreadPoolExecutor

    from hydra_gce.home import sweep_records

    now = time.time()
    with ThreadPoolExecutor(2) as pool:
        connecting = pool.submit(connect, options)  # a process of its own, or Google's answer
        from hydra_gce.coming_back.inventory import inventory, to_json, with_jobs
        from hydra_gce.compute import leftovers

        backend = connecting.result()
        looking = pool.submit(leftovers.find, backend, None, now)
        storing = pool.submit(_stored, backend, options) if options.all else None
        from rich.console import Console

        ours = sweep_records()
        found = looking.result()
        stored = storing.result() if storing else []
    here = (backend.kind, backend.project)
    records = [record for record in ours if (record.backend, record.project) == here]
    sweeps = inventory(found.leftovers, records, everything=options.all, stored=stored)
    sweeps = with_jobs(sweeps, _places(backend, options, sweeps[:_ASKED]))
    if found.silent:
        print(
            f"no answer from {', '.join(sorted(set(found.silent)))}: VMs there are not shown", file=sys.stderr
        )
    if options.json:
        print_json([to_json(one, now) for one in sweeps])
        return 0
    console = Console(highlight=False)
    width = console.width if console.is_terminal else None
    print_lines(console, lines(sweeps, now, width))
    others = {one.sweep for one in found.leftovers} - {one.sweep for one in sweeps}
    if not sweeps:
        print(f"no sweep of this machine has anything in project {backend.project}")
    if others:
        print(f"{len(others)} more of other machines in project {backend.project}: hydra-gce ls --all")
    if backend.kind == "local" and any(one.leftovers for one in sweeps):
        print("embedded: nothing is charged")
    for place in sorted({(one.backend, one.project) for one in ours if one.launcher_alive} - {here}):
        print("more of this machine: hydra-gce ls --backend {} --project {}".format(*place))
    return 0


def _stored(backend: Backend, options: argparse.Namespace) -> list[str]:
    """The sweeps that lie in the bucket."""
    from google.api_core.exceptions import Forbidden, NotFound

    from hydra_gce.bucket import Bucket
    from hydra_gce.found import SWEEPS

    try:
        return Bucket(backend.storage.bucket(options.bucket or backend.default_bucket)).folders(SWEEPS)
    except (NotFound, Forbidden):  # there is none yet, or it is not ours
        return []


def _places(
    backend: Backend, options: argparse.Namespace, sweeps: Sequence[SweepInventory]
) -> dict[str, FoundSweep]:
    """Where each of the sweeps lies."""
    from hydra_gce.bucket import Bucket
    from hydra_gce.found import FoundSweep

    other = options.bucket or backend.default_bucket
    buckets = {one.sweep: one.record.bucket if one.record else other for one in sweeps}
    made = {name: Bucket(backend.storage.bucket(name)) for name in {*buckets.values()}}
    return {one.sweep: FoundSweep(one.sweep, backend, made[buckets[one.sweep]], one.record) for one in sweeps}


def lines(sweeps: Sequence[SweepInventory], now: float, width: int | None) -> list[Text]:
    """A head and a table for each sweep, and the sum; none wider than ``width`` (None: as wide as it is)."""
    from rich.text import Text

    from hydra_gce.display.grid import pack

    shown: list[Text] = []
    for one in sweeps:
        shown += [Text(text) for text in pack(_head(one, now), width)]
        shown += _table(one, now, width)
        if one.unwatched:
            shown.append(Text(f"  nobody watches them: hydra-gce down {one.sweep}", style="yellow"))
    everything = [thing for one in sweeps for thing in one.leftovers]
    if len(sweeps) > 1 and everything:
        shown += [Text(text) for text in pack(_sum("in all", everything), width)]
    return shown


def _head(one: SweepInventory, now: float) -> list[str]:
    from hydra_gce.display.figures import clean, duration

    began = one.record.started if one.record else one.began
    age = [f"began {duration(now - began)} ago"] if began and not _is_done(one) else []
    jobs = [_jobs(one)] if one.jobs else []
    if one.leftovers:
        state = "its launcher is alive" if one.launcher_alive else "watched" if one.watched else "no launcher"
        if one.record is None and not one.watched:
            state = f"of {one.owner}" if one.owner else "of another machine"
        segments = [*_sum(one.sweep, one.leftovers, one.cost), *jobs, *age, state]
    else:
        cost = [f"{_money(one.cost)} in all"] if one.cost else []
        segments = [one.sweep, _end(one), *cost, *age]
    return [*map(clean, segments), *([clean(one.record.sweep_dir)] if one.record else [])]


def _jobs(one: SweepInventory) -> str:
    """ "3 jobs: 1 completed, 2 running" """
    counts = ", ".join(f"{count} {state.lower()}" for state, count in sorted(one.jobs.items()))
    total = sum(one.jobs.values())
    return f"{total} job{'' if total == 1 else 's'}: {counts}"


def _is_done(one: SweepInventory) -> bool:
    return not one.launcher_alive and not set(one.jobs) - {"COMPLETED", "FAILED", "CANCELLED"}


def _end(one: SweepInventory) -> str:
    """ "ended: 3 completed, 1 failed" """
    jobs = ", ".join(f"{count} {state.lower()}" for state, count in sorted(one.jobs.items()))
    if one.launcher_alive or one.watched:
        at_work = "its launcher is alive" if one.launcher_alive else "watched"
        return f"{at_work}, no VM yet"
    whole = one.record is not None and one.record.ended is not None
    state = "ended" if whole or not set(one.jobs) - {"COMPLETED", "FAILED", "CANCELLED"} else "interrupted"
    return f"{state}: {jobs}" if jobs else state


def _sum(title: str, things: Sequence[Leftover], cost: Decimal | None = None) -> list[str]:
    """``cost``: of the whole sweep, with VMs that are gone."""
    from hydra_gce.coming_back.inventory import hourly, spent
    from hydra_gce.compute.leftovers import Kind

    vms = sum(one.kind is Kind.VM for one in things)
    others = len(things) - vms
    unknown = sum(one.hourly is None for one in things)
    return [
        f"{title}  {vms} VM{'' if vms == 1 else 's'}",
        *([f"{others} disks and addresses"] if others else []),
        f"{_money(hourly(things))}/h",
        f"{_money(max(spent(things), cost or spent(things)))} so far",
        *([f"{unknown} without a known price"] if unknown else []),
    ]


def _table(one: SweepInventory, now: float, width: int | None) -> list[Text]:
    """The richest form that fits: full names if there is room, then without the sweep's, then without the sum."""
    from rich.text import Text

    from hydra_gce.display.figures import shorten_end
    from hydra_gce.display.grid import Column, grid

    if not one.leftovers:
        return []
    things = one.leftovers if width is None else one.leftovers[:_MOST_ROWS]
    more = len(one.leftovers) - len(things)
    rest = (
        [Text(f"  and {more} more: hydra-gce ls --json, or hydra-gce show {one.sweep}", style="dim")]
        if more
        else []
    )
    for short, least, kept, gap in _FORMS:
        columns = [Column("  name"), Column("zone"), Column("machine", least=least), Column("state")]
        columns += [Column("age", right=True), Column("$/h", right=True), Column("so far", right=True)]
        rows = [_row(thing, now, one.sweep if short else "")[:kept] for thing in things]
        fitting = grid(columns[:kept], rows, width, gap)
        if fitting is not None:
            return [*fitting, *rest]
    return [*(Text(shorten_end(f"  {thing.name} {thing.status}", width or 80)) for thing in things), *rest]


def _row(thing: Leftover, now: float, sweep: str) -> list[Text | None]:
    from rich.text import Text

    from hydra_gce.compute.leftovers import Kind
    from hydra_gce.display.figures import clean, duration

    name = thing.name.removeprefix(f"hg-{sweep}-") if sweep else thing.name
    state = thing.status if thing.kind is Kind.VM else thing.kind.value
    cells = [f"  {name}", thing.where, thing.what, state]
    cells += [
        duration(now - thing.created) if thing.created else "",
        _money(thing.hourly),
        _money(thing.spent),
    ]
    return [Text(clean(cell) if at else f"  {clean(name)}") for at, cell in enumerate(cells)]


def _money(amount: Decimal | None) -> str:
    from hydra_gce.display.figures import money

    return "?" if amount is None else money(amount)
