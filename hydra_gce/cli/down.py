"""``hydra-gce down``: nothing of a sweep is left in the project."""

from __future__ import annotations

import argparse
import difflib
import sys
import time
from typing import TYPE_CHECKING, Any

from hydra_gce.cli.common import Verbs, add_backend, add_json, connect, connect_to, print_json
from hydra_gce.errors import ConfigError, HydraGCEError, UnknownName

if TYPE_CHECKING:
    from hydra_gce.cloud.backend import Backend
    from hydra_gce.compute import HereCompute
    from hydra_gce.compute.leftovers import Found, Leftover
    from hydra_gce.follow.leave import Remains
    from hydra_gce.home import SweepRecord

NOTHING_LEFT = "nothing is left"


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser("down", help="delete all that a sweep has, wherever it is: VMs, disks, addresses")
    verb.add_argument("sweep", nargs="?", help="its name; all sweeps with --all")
    verb.add_argument(
        "--all", action="store_true", help="what hydra-gce made in the project, whoever asked for it"
    )
    verb.add_argument("-y", "--yes", action="store_true", help="ask no question")
    verb.add_argument("--force", action="store_true", help="also where the sweep's launcher is at work")
    add_json(verb)
    add_backend(verb)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from hydra_gce.compute import HereCompute
    from hydra_gce.follow.leave import Remains, clear
    from hydra_gce.home import sweep_records

    if bool(options.sweep) == options.all:
        raise ConfigError("hydra-gce down: name one sweep (hydra-gce ls shows them), or say --all")
    if options.json and not options.yes and sys.stdin.isatty():
        raise ConfigError("hydra-gce down --json asks no question: say --yes, too")
    records = sweep_records()
    if options.sweep == "last" and records:
        options.sweep = records[0].sweep
    known = [record for record in records if record.sweep == options.sweep]
    backend = connect_to(known[0]) if known else connect(options)
    _refuse_under_launchers(known or _launched_in(backend, records, options.all), options.force)
    compute = HereCompute(backend)
    found = compute.leftovers(options.sweep)
    if not found.leftovers and not found.silent:
        _check_that_it_exists(compute, backend, options.sweep, records)
        if options.json:
            print_json(_report(options.sweep, backend, found, Remains()))
        else:
            print(NOTHING_LEFT)
        return 0
    if options.json:
        remains = clear(compute, options.sweep)
        print_json(_report(options.sweep, backend, found, remains))
        return 0 if remains.nothing else 1
    _list(found, backend)
    _warn_of_strangers(found, {record.sweep for record in records})
    if not _is_sure(options.yes):
        print("nothing was deleted")
        return 1
    return _clear(compute, options.sweep)


def _launched_in(backend: Backend, records: list[SweepRecord], all_of_them: bool) -> list[SweepRecord]:
    here = (backend.kind, backend.project)
    return [record for record in records if all_of_them and (record.backend, record.project) == here]


def _refuse_under_launchers(records: list[SweepRecord], force: bool) -> None:
    """:raises HydraGCEError: a launcher is at work, and would start other VMs in the place of those it misses."""
    alive = [record for record in records if record.launcher_alive]
    for record in alive:
        said = f"the launcher of {record.sweep} is at work (process {record.pid}, {record.sweep_dir})"
        if not force:
            raise HydraGCEError(
                f"{said}: it would see its VMs vanish and start others. Press Ctrl-C there, and it deletes them."
                " Or say --force."
            )
        print(f"{said}: it may start other VMs", file=sys.stderr)


def _check_that_it_exists(
    compute: HereCompute, backend: Backend, sweep: str | None, records: list[SweepRecord]
) -> None:
    """:raises UnknownName: the name is probably a slip: it has nothing, and another that is much like it has."""
    if sweep is None or sweep in [record.sweep for record in records]:
        return
    others = {one.sweep for one in compute.leftovers(None).leftovers} | {record.sweep for record in records}
    near = difflib.get_close_matches(sweep, sorted(others), n=3)
    if near:
        raise UnknownName(
            f"there is no sweep {sweep!r} in project {backend.project}. Did you mean {' or '.join(near)}?"
        )


def _report(sweep: str | None, backend: Backend, found: Found, remains: Remains) -> dict[str, Any]:
    """For programs: what was deleted, and what is left with the reason, where Compute Engine has said one."""
    left = {one.is_same() for one in remains.left}
    return {
        "sweep": sweep,
        "project": backend.project,
        "deleted": [_plain(one) for one in found.leftovers if one.is_same() not in left],
        "left": [{**_plain(one), "why": remains.why.get(one.name)} for one in remains.left],
        "unknown": remains.unknown or None,
    }


def _plain(one: Leftover) -> dict[str, Any]:
    return {"kind": one.kind.value, "name": one.name, "zone": one.where, "sweep": one.sweep}


def _list(found: Found, backend: Backend) -> None:
    from hydra_gce.display.figures import clean

    for one in found.leftovers:
        price = "price not known" if one.hourly is None else f"${one.hourly:.3f}/h"
        protected = ", its deletion protection is taken off" if one.protected else ""
        print(clean(f"{one.kind} {one.name} in {one.where}, {one.status}, {one.what}, {price}{protected}"))
    if found.silent:
        print(f"no answer from {', '.join(sorted(set(found.silent)))}: what is there is not known")
    hourly = sum(one.hourly for one in found.leftovers if one.hourly is not None)
    free = " (embedded: nothing is charged)" if backend.kind == "local" else ""
    print(f"{_counted(found.leftovers)} in project {backend.project}, ${hourly:.3f} an hour in all{free}")


def _warn_of_strangers(found: Found, ours: set[str]) -> None:
    """Whether a launcher on another machine is at work cannot be seen from here."""
    for sweep in sorted({one.sweep for one in found.leftovers} - ours):
        owners = sorted({one.owner for one in found.leftovers if one.sweep == sweep and one.owner})
        whose = f"belongs to {', '.join(owners)}" if owners else "was begun on another machine"
        print(f"{sweep} {whose}: where its launcher is still at work, that will start other VMs")


def _counted(leftovers: list[Leftover]) -> str:
    """ "3 VMs, 1 disk" """
    plurals = {"VM": "VMs", "disk": "disks", "address": "addresses"}
    kinds = [one.kind.value for one in leftovers]
    counts = {kind: kinds.count(kind) for kind in plurals if kind in kinds}
    return ", ".join(f"{count} {kind if count == 1 else plurals[kind]}" for kind, count in counts.items())


def _is_sure(yes: bool) -> bool:
    """Asked where somebody can answer; a script meant what it said."""
    if yes or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return True
    try:
        return input("Delete all of this? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _clear(compute: HereCompute, sweep: str | None) -> int:
    from hydra_gce.display.figures import duration
    from hydra_gce.follow.leave import clear

    began, said = time.monotonic(), ""

    def tell(left: list[Leftover]) -> None:
        """A line whenever something has gone: a guest may take 90 seconds to shut down."""
        nonlocal said
        line = f"deleting {_counted(left)}"
        if line != said:
            print(f"{duration(time.monotonic() - began)}  {line}", flush=True)
        said = line

    remains = clear(compute, sweep, tell)
    if remains.nothing:
        print(NOTHING_LEFT)
        return 0
    for line in remains.lines(f"hydra-gce down {sweep or '--all'}"):
        print(line)
    return 1
