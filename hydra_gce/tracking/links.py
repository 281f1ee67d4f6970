"""Where a person looks at a sweep's runs: MLflow's own pages."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from urllib.parse import quote

from hydra_gce.tracking.relay.destination import SWEEP_TAG, without_password

LOCAL_SERVER = "http://127.0.0.1:5000"
_MOST_COMPARED = 20  # a longer link no longer fits a terminal, nor a picture of so many runs a page


def server_of(uri: str) -> str:
    """Address of the server that shows the store: its own, or that of ``mlflow ui`` on this machine."""
    return without_password(uri).rstrip("/") if uri.startswith(("http://", "https://")) else LOCAL_SERVER


def serve_command(uri: str) -> str | None:
    """What to type before the pages can be seen; None where a server is up already."""
    if uri.startswith(("http://", "https://")):
        return None
    return f"mlflow ui --backend-store-uri {shlex.quote(without_password(uri))}"


def runs_page(uri: str, sweep: str, runs: Sequence[str], experiments: Sequence[str]) -> str:
    """The page that compares ``runs``; for many, the experiment's page with the sweep's runs chosen."""
    server = server_of(uri)
    if len(runs) == 1:
        return f"{server}/#/experiments/{experiments[0]}/runs/{runs[0]}"
    if len(runs) <= _MOST_COMPARED:
        return f"{server}/#/compare-runs?runs={_json(runs)}&experiments={_json(experiments)}"
    chosen = quote(f"tags.`{SWEEP_TAG}` = '{sweep}'")
    return f"{server}/#/experiments/{experiments[0]}/runs?searchFilter={chosen}"


def _json(ids: Sequence[str]) -> str:
    return quote(json.dumps(list(ids), separators=(",", ":")), safe=",")
