"""``hydra-gce cost``: what a sweep's VMs have cost, from the ledger in its bucket."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from hydra_gce.cli.common import Verbs, add_json, add_sweep, find_sweep, print_json
from hydra_gce.errors import ConfigError, ObjectMissing

if TYPE_CHECKING:
    from hydra_gce.compute import Instance
    from hydra_gce.found import FoundSweep
    from hydra_gce.money.ledger import Ledger


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser("cost", help="what a sweep's VMs have cost, by job and attempt")
    add_sweep(verb)
    add_json(verb)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from hydra_gce.money import report

    found = find_sweep(options.sweep, options)
    ledger = _ledger(found)
    now = time.time()
    notes = _put_right(found, ledger) if ledger.running() else []
    charged = found.backend.kind != "local"
    if options.json:
        content = {
            "sweep": found.sweep,
            "charged": charged,
            "notes": notes,
            **report.as_json(ledger, now),
        }
        print_json(content)
        return 0
    if not ledger.jobs():
        print(f"{found.sweep}: no VM was made for it, nothing was charged")
        return 0
    for line in report.table(ledger, now):
        print(line)
    print(report.total(ledger, now) + ("" if charged else " (embedded: nothing is charged)"))
    for note in notes:
        print(note)
    return 0


def _ledger(found: FoundSweep) -> Ledger:
    """:raises ConfigError: it has none, or one of another version of this package."""
    from hydra_gce.money.ledger import Ledger

    try:
        return Ledger.from_json(found.bucket.read(found.names.ledger))
    except ObjectMissing as error:
        raise ConfigError(
            f"sweep {found.sweep} has no ledger in gs://{found.bucket.name}: no VM was made for it, or it lies in"
            " another bucket (hydra-gce cost <sweep> --project=<id> --bucket=<name>)"
        ) from error
    except ValueError as error:
        raise ConfigError(f"the ledger of {found.sweep} cannot be read: {error}") from error


def _put_right(found: FoundSweep, ledger: Ledger) -> list[str]:
    """Ends in the ledger, read here and kept nowhere, the VMs that have gone while no launcher saw it.

    :returns: a sentence for each such VM, and for each one that is there and not in the ledger.
    """
    from hydra_gce.compute import OFF
    from hydra_gce.compute.leftovers import find

    instances = [
        one.instance for one in find(found.backend, found.sweep, time.time()).leftovers if one.instance
    ]
    there = {instance.name for instance in instances if instance.status not in OFF}
    gone = [name for name in ledger.running() if name not in there]
    heard = _last_heard(found) if gone else {}
    for name in gone:
        ledger.ended(name, heard.get(name, heard[""]))
    ends = [
        f"{name} is gone, and no launcher wrote down when: it counts until it was last heard of"
        for name in gone
    ]
    return ends + list(_unknown(instances, ledger))


def _last_heard(found: FoundSweep) -> dict[str, float]:
    """By VM. Those that never spoke have the ledger's own time (""): it was written when they were made, or later."""
    written = found.bucket.find(found.names.ledger)
    heard = {"": written.updated if written else 0.0}
    for entry in found.bucket.list(found.names.statuses):
        instance = entry.metadata.get("instance")
        if instance:
            heard[instance] = max(entry.updated, heard.get(instance, 0.0))
    return heard


def _unknown(instances: Iterable[Instance], ledger: Ledger) -> Iterable[str]:
    for instance in instances:
        if ledger.candidate(instance.name) is None:
            yield (
                f"{instance.name} ({instance.machine_type} in {instance.zone}) is there and not in the ledger:"
                f" hydra-gce down {instance.sweep} deletes it, with all others of the sweep"
            )
