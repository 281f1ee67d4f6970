"""``hydra-gce down``: no VM is left."""

from __future__ import annotations

import argparse

from hydra_gce.cli.common import Verbs, add_backend, connect, connect_to
from hydra_gce.errors import ConfigError


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser("down", help="delete a sweep's VMs, wherever they are")
    verb.add_argument("sweep", nargs="?", help="its name; all sweeps with --all")
    verb.add_argument("--all", action="store_true", help="every VM that hydra-gce made in the project")
    add_backend(verb)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from hydra_gce.compute import HereCompute
    from hydra_gce.home import sweep_records
    from hydra_gce.leave import delete_all

    if bool(options.sweep) == options.all:
        raise ConfigError("hydra-gce down: name one sweep (hydra-gce ls shows them), or say --all")
    known = [record for record in sweep_records() if record.sweep == options.sweep]
    backend = connect_to(known[0]) if known else connect(options)
    compute = HereCompute(backend)
    wanted = compute.instances(options.sweep)
    for instance in wanted:
        print(f"deleting {instance.name} in {instance.zone.rpartition('/')[2]}")
    print(delete_all(compute, options.sweep))
    return 0
