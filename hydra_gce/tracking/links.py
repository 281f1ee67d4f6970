"""Where a person looks at a sweep's runs: MLflow's own pages."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from urllib.parse import quote, urlencode

from hydra_gce.tracking.relay.address import from_anywhere, without_password
from hydra_gce.tracking.relay.destination import ROLE_TAG, SWEEP_TAG

LOCAL_SERVER = "http://127.0.0.1:5000"
LIVE_PAGES = "hydra-gce"
"""The name of ``tracking.live_pages`` among MLflow's apps."""
_MOST_COMPARED = 20  # a longer link no longer fits a terminal, nor a picture of so many runs a page
_PAGE = 1000


def is_served(uri: str) -> bool:
    """Whether the store is a server's, which has pages."""
    return uri.startswith(("http://", "https://"))


def server_of(uri: str) -> str:
    """Address of the server that shows the store: its own, or that of ``mlflow ui`` on this machine."""
    return without_password(uri).rstrip("/") if is_served(uri) else LOCAL_SERVER


def server_command(port: int) -> list[str]:
    """What serves a store of this machine, which ``server_environment`` names, with pages that follow a sweep.

    Where MLflow's server is none that they can stand in front of, its pages are as they are.
    """
    from hydra_gce.tracking import versions

    pages = ["--app-name", LIVE_PAGES] if versions.SERVER_HAS_ASGI_APP else []
    return [
        *(sys.executable, "-m", "mlflow", "server", *pages),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
    ]


def server_environment(uri: str) -> dict[str, str]:
    """The store's address may hold a password, and everybody on a machine can read commands.

    Without MLflow's four processes for jobs: this server shows runs, and should be up soon.
    """
    return {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": uri,
    }


def runs_page(server: str, sweep: str, runs: Sequence[str], experiments: Sequence[str]) -> str:
    """The page that compares ``runs``; for many, the experiment's page with the sweep's runs chosen."""
    if len(runs) == 1:
        return f"{server}/#/experiments/{experiments[0]}/runs/{runs[0]}"
    if len(runs) <= _MOST_COMPARED:
        return f"{server}/#/compare-runs?runs={_json(runs)}&experiments={_json(experiments)}"
    chosen = quote(f"tags.`{SWEEP_TAG}` = '{sweep}'")
    return f"{server}/#/experiments/{experiments[0]}/runs?searchFilter={chosen}"


def curves_page(server: str, sweep: str, experiments: Sequence[str]) -> str:
    """The page with the metrics of a sweep's points as curves, which MLflow renews while they run."""
    asked = {
        "searchFilter": f"tags.`{SWEEP_TAG}` = '{sweep}' AND tags.`{ROLE_TAG}` = 'point'",
        "compareRunsMode": "CHART",
        # By time, MLflow would hide them below the sweep's own run.
        "orderByKey": "tags.`mlflow.runName`",
        "orderByAsc": "true",
        "workflowType": "machine_learning",
    }
    if len(experiments) == 1:
        return f"{server}/#/experiments/{experiments[0]}/runs?{urlencode(asked, quote_via=quote)}"
    asked["experiments"] = json.dumps(list(experiments))
    return f"{server}/#/compare-experiments/s?{urlencode(asked, quote_via=quote)}"


def points_of(uri: str, sweep: str) -> tuple[list[str], list[str]]:
    """Ids of the runs that stand for a sweep's points, by job, and of the experiments that they are in."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=from_anywhere(uri))
    experiments = [experiment.experiment_id for experiment in client.search_experiments(max_results=_PAGE)]
    wanted = f"tags.`{SWEEP_TAG}` = '{sweep}' AND tags.`{ROLE_TAG}` = 'point'"
    found = client.search_runs(experiments, wanted, max_results=_PAGE)
    runs = sorted(found, key=lambda run: int(run.data.tags["hydra_gce.job"]))
    return [run.info.run_id for run in runs], list(dict.fromkeys(run.info.experiment_id for run in runs))


def _json(ids: Sequence[str]) -> str:
    return quote(json.dumps(list(ids), separators=(",", ":")), safe=",")
