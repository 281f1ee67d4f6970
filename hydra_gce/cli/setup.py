"""``hydra-gce setup``: a fresh catalogue of machines, zones and prices for this laptop."""

from __future__ import annotations

import argparse
import os
from datetime import datetime, timezone

from hydra_gce.cli.common import Verbs, add_backend, connect

API_KEY = "HYDRA_GCE_BILLING_API_KEY"


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser("setup", help="fresh machine types, zones and prices from Google")
    verb.add_argument(
        "--refresh",
        action="store_true",
        required=True,
        help=f"ask for them anew (a minute or two); {API_KEY} may hold an API key for the price list",
    )
    add_backend(verb)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from hydra_gce.catalog.refresh import refresh

    backend = connect(options)
    print(f"asking Compute Engine, project {backend.project}, for all its machine types ...", flush=True)
    made = refresh(backend, datetime.now(timezone.utc).date(), os.environ.get(API_KEY))
    print(f"{made.types} machine types, {made.zones} zones in {made.regions} regions")
    if made.strange:
        print(f"left out, because what they bring is not known here: {', '.join(made.strange)}")
    if made.prices_stay is None:
        print("prices of today")
    else:
        print(f"prices stay as they were: {made.prices_stay}")
    print(f"written to {made.directory}")
    return 0
