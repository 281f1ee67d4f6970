"""Sweeps into an MLflow server that VMs reach: the server, what it has of a sweep, and words to a VM's program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.cloud import compute_v1
from mlflow import MlflowClient

from bench.mlflow_server import MLflowServer, User, address_seen_by_vms
from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import HereCompute

# To stand in a program: whether the test has said a word to its VM.
TOLD = """
    import urllib.error, urllib.request

    def told(word):
        place = f"http://169.254.169.254/computeMetadata/v1/instance/attributes/{word}"
        asking = urllib.request.Request(place, headers={"Metadata-Flavor": "Google"})
        try:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asking, timeout=10).close()
        except urllib.error.HTTPError:
            return False
        return True
"""


def tell(engine: Backend, sweep: str, word: str) -> None:
    """Says a word to the programs on all VMs of a sweep: an attribute of their instances' metadata."""
    for vm in HereCompute(engine).instances(sweep):
        place: dict[str, Any] = {
            "project": engine.project,
            "zone": vm.zone.rpartition("/")[2],
            "instance": vm.name,
        }
        known = engine.instances.get(**place).metadata
        metadata = compute_v1.Metadata(
            fingerprint=known.fingerprint, items=[*known.items, compute_v1.Items(key=word, value="true")]
        )
        engine.instances.set_metadata_unary(**place, metadata_resource=metadata)


@contextmanager
def server_for_vms(directory: Path, user: User) -> Iterator[MLflowServer]:
    """One that lets this user in; the test's own client is hers, too."""
    host = address_seen_by_vms()
    if host is None:
        pytest.skip("this machine has no address but its loopback, which no VM sees")
    with MLflowServer(directory, host, user=user) as server, pytest.MonkeyPatch.context() as environment:
        for name, value in server.environment.items():
            environment.setenv(name, value)
        yield server


def runs_in(server: MLflowServer, experiment: str) -> list[Any]:
    """All that are not deleted; none while there is no such experiment."""
    client = MlflowClient(server.uri)
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id])) if found else []


def tags_of(run: Any) -> Mapping[str, str]:
    tags: Mapping[str, str] = run.data.tags
    return tags


def steps_of(server: MLflowServer, experiment: str, job: int, metric: str) -> list[int]:
    """Of the metric in the run of a sweep's point, in order, each as often as it is there."""
    points = [
        run
        for run in runs_in(server, experiment)
        if tags_of(run).get("hydra_gce.job") == str(job) and metric in run.data.metrics
    ]
    if not points:
        return []
    (point,) = points
    history = MlflowClient(server.uri).get_metric_history(point.info.run_id, metric)
    return sorted(point.step for point in history)
