"""``hydra-gce offers``: where a machine can be had, for how much, and which quota is in the way."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from hydra_gce.cli.common import Verbs, add_backend, connect

if TYPE_CHECKING:
    from hydra_gce.compute.quotas import Quotas

ROWS = 20


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser("offers", help="where a machine can be had, cheapest first, and what blocks it")
    verb.add_argument("--gpu", help="A100, T4, L4, ... (without a machine type: the cheapest of each)")
    verb.add_argument(
        "--gpu-count", type=int, metavar="N", help="GPUs in one VM (default: each that there is)"
    )
    verb.add_argument("--machine-type", metavar="TYPE", help="e2-standard-4, n2-custom-8-16384, ...")
    sold = verb.add_mutually_exclusive_group()
    sold.add_argument("--spot", action="store_true", help="spot only")
    sold.add_argument("--standard", action="store_true", help="standard (on demand) only")
    for place in ("zone", "region"):
        verb.add_argument(f"--{place}", nargs="+", action="extend", default=[], metavar="NAME")
    verb.add_argument("--all", action="store_true", help=f"all rows, not the cheapest {ROWS}")
    verb.add_argument("--json", action="store_true", help="for programs: all rows (docs/costs.md)")
    add_backend(verb)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from hydra_gce.errors import ConfigError
    from hydra_gce.offers import Asked, not_offered, offered, report, table

    if options.gpu_count is not None and options.gpu is None:
        raise ConfigError("hydra-gce offers: --gpu-count needs --gpu: of which GPU?")
    asked = Asked(
        gpu=options.gpu,
        gpu_count=options.gpu_count,
        machine_type=options.machine_type,
        spot=not options.standard,
        standard=not options.spot,
        zones=options.zone,
        regions=options.region,
        all=options.all,
    )
    quotas = _quotas(options)
    rows = offered(asked, quotas)
    absent = not_offered(asked, rows)
    if options.json:
        print(json.dumps(report(rows, absent, quotas), indent=1))
    else:
        table(rows, absent, quotas, most=None if options.all else ROWS)
    return 0


def _quotas(options: argparse.Namespace) -> Quotas:
    """What the project may have. Prices need no account: that there is none ends it only where one is asked for."""
    from hydra_gce.cloud.backend import kind_of
    from hydra_gce.compute.quotas import Quotas, read
    from hydra_gce.errors import CredentialsError

    if options.backend == "auto" and kind_of("auto", options.project) == "local":
        return Quotas(project="", unknown="Quotas are not known: no Google Cloud project was found here.")
    try:
        return read(connect(options))
    except CredentialsError as error:
        if options.backend == "cloud":
            raise
        return Quotas(project="", unknown=f"Quotas are not known: {error}")
