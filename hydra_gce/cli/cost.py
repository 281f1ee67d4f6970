"""``hydra-gce cost``: what a sweep's VMs have cost, from the ledger in its bucket."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hydra_gce.cli.common import Verbs, add_backend, connect, connect_to, record_of
from hydra_gce.errors import ConfigError, ObjectMissing

if TYPE_CHECKING:
    from hydra_gce.backend import Backend
    from hydra_gce.bucket import Bucket, SweepNames
    from hydra_gce.compute import Instance
    from hydra_gce.money.ledger import Ledger


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser("cost", help="what a sweep's VMs have cost, by job and attempt")
    verb.add_argument("sweep", nargs="?", default="last", help='its name; "last" if left out')
    verb.add_argument("--json", action="store_true", help="for programs")
    verb.add_argument("--bucket", help="where it lies, for a sweep that this machine knows nothing of")
    add_backend(verb)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from hydra_gce.money import report

    found = _found(options)
    ledger = found.ledger()
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
        print(json.dumps(content, indent=1))
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


@dataclass(frozen=True)
class _Found:
    """A sweep, and where it lies."""

    sweep: str
    backend: Backend
    bucket: Bucket

    @property
    def names(self) -> SweepNames:
        from hydra_gce.bucket import SweepNames

        return SweepNames(self.sweep)

    def ledger(self) -> Ledger:
        """:raises ConfigError: it has none, or one of another version of this package."""
        from google.api_core.exceptions import Forbidden

        from hydra_gce.money.ledger import Ledger

        try:
            return Ledger.from_json(self.bucket.read(self.names.ledger))
        except ObjectMissing as error:
            raise ConfigError(
                f"sweep {self.sweep} has no ledger in gs://{self.bucket.name}: no VM was made for it, or it lies in"
                " another bucket (hydra-gce cost <sweep> --project=<id> --bucket=<name>)"
            ) from error
        except Forbidden as error:
            raise ConfigError(
                f"gs://{self.bucket.name} may not be read by the account that you use here ({error.message})."
                " Another bucket: --bucket=<name>"
            ) from error
        except ValueError as error:
            raise ConfigError(f"the ledger of {self.sweep} cannot be read: {error}") from error


def _found(options: argparse.Namespace) -> _Found:
    """The sweep that this machine's record names; with --project or --bucket, the one that lies there."""
    from hydra_gce.bucket import Bucket

    if not (options.project or options.bucket):
        record = record_of(options.sweep)
        backend = connect_to(record)
        return _Found(record.sweep, backend, Bucket(backend.storage.bucket(record.bucket)))
    if options.sweep == "last":
        raise ConfigError(
            'hydra-gce cost: with --project or --bucket name the sweep; "last" is the last one here'
        )
    backend = connect(options)
    # To look at what a sweep has cost is no reason to make a bucket.
    return _Found(
        options.sweep, backend, Bucket(backend.storage.bucket(options.bucket or backend.default_bucket))
    )


def _put_right(found: _Found, ledger: Ledger) -> list[str]:
    """Ends in the ledger, read here and kept nowhere, the VMs that have gone while no launcher saw it.

    :returns: a sentence for each such VM, and for each one that is there and not in the ledger.
    """
    from hydra_gce.compute import OFF, HereCompute

    instances = HereCompute(found.backend).instances(found.sweep)
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


def _last_heard(found: _Found) -> dict[str, float]:
    """By VM. Those that never spoke have the ledger's own time (""): it was written when they were made, or later."""
    from hydra_gce.jobs import JobStatus

    written = found.bucket.find(found.names.ledger)
    heard = {"": written.updated if written else 0.0}
    for entry in found.bucket.list(found.names.statuses):
        instance = JobStatus.from_metadata(entry.metadata).instance
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
