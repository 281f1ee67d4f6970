"""Programs that talk to the server themselves: plain MLflow, and all the same one run for each point."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from hydra_gce.bucket import Bucket
from hydra_gce.jobs import JobState, JobStatus
from hydra_gce.tracking.environment import variables
from hydra_gce.tracking.mode import Mode
from tests.tracking.lab import STARTED, SWEEP, relay_for, run_program

PROGRAM = """
import mlflow
from hydra_gce.tracking.vm.direct import go_on
go_on()  # as the agent's process does before it calls the program
mlflow.set_experiment("EXPERIMENT")
with mlflow.start_run() as run:
    mlflow.log_metric("loss", 0.5, step=ATTEMPT)
    with mlflow.start_run(run_name="fold", nested=True):
        mlflow.log_param("fold", 1)
    if ATTEMPT == 1:
        import os; os._exit(0)  # the VM is gone
with mlflow.start_run(run_name="second"):
    pass
"""


@pytest.fixture
def experiment() -> str:
    """The server is shared by all tests of a session."""
    return f"membrane-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def sweep() -> str:
    return f"{SWEEP}-{uuid.uuid4().hex[:8]}"


def attempt(server: str, directory: Path, sweep: str, experiment: str, number: int) -> None:
    script = directory / f"train-{number}.py"
    script.write_text(PROGRAM.replace("EXPERIMENT", experiment).replace("ATTEMPT", str(number)))
    run_program(script, {"MLFLOW_TRACKING_URI": server, **variables(None, sweep, 0, number)}, directory)


def runs(server: str, experiment: str) -> list[Any]:
    client = MlflowClient(server)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(client.search_runs([found.experiment_id], order_by=["attributes.start_time ASC"]))


@pytest.mark.parametrize("named", [True, False])
def test_attempts_go_on_in_one_run_below_the_sweeps(
    named: bool, server: str, sweep: str, experiment: str, bucket: Bucket, tmp_path: Path
) -> None:
    client = MlflowClient(server)
    known: dict[str, Any] = {"experiment": experiment if named else None, "mode": Mode.DIRECT, "sweep": sweep}
    relay = relay_for(bucket, server, **known)
    relay.tick({})
    assert relay.trouble == ""
    attempt(server, tmp_path, sweep, experiment, 1)
    relay.tick({0: JobStatus(0, JobState.RUNNING, 1, instance="hg-1")})
    relay = relay_for(bucket, server, **known)
    attempt(server, tmp_path, sweep, experiment, 2)
    relay.finish(JobStatus(0, JobState.COMPLETED, 2, instance="hg-2"), STARTED + 60, {"cost_usd": "1"})
    relay.finish(JobStatus(1, JobState.CANCELLED), STARTED + 60, {})
    relay.close(JobState.COMPLETED, STARTED + 61, {})
    assert relay.trouble == ""

    by_name = {run.info.run_name: run for run in runs(server, experiment)}
    parent, point = by_name[sweep], client.get_run(str(relay.run_id(0)))
    assert [(m.step, m.value) for m in client.get_metric_history(point.info.run_id, "loss")] == [
        (1, 0.5),
        (2, 0.5),
    ]
    assert point.info.status == "FINISHED" and parent.info.status == "FINISHED"
    assert point.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert (
        point.data.tags["hydra_gce.overrides"] == "lr=1e-3" and point.data.tags["hydra_gce.cost_usd"] == "1"
    )
    folds = [run for run in runs(server, experiment) if run.info.run_name == "fold"]
    assert {run.data.tags["mlflow.parentRunId"] for run in folds} == {point.info.run_id} and len(folds) == 2
    assert by_name["second"].data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert not [run for run in runs(server, experiment) if run.info.run_name == "lr=1e-3"]
    assert client.get_run(str(relay.run_id(1))).info.status == "KILLED"


def test_a_program_elsewhere_makes_runs_as_ever(server: str, experiment: str, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(f"import mlflow; mlflow.set_experiment({experiment!r}); mlflow.start_run()")
    run_program(script, {"MLFLOW_TRACKING_URI": server}, tmp_path)
    (run,) = runs(server, experiment)
    assert not [key for key in run.data.tags if key.startswith("hydra_gce")], json.dumps(run.data.tags)


def test_a_relay_is_not_needed_for_a_run_to_be_whole(
    server: str, sweep: str, experiment: str, tmp_path: Path
) -> None:
    attempt(server, tmp_path, sweep, experiment, 2)
    assert {run.data.tags["hydra_gce.sweep"] for run in runs(server, experiment)} == {sweep}


RACES = """
import mlflow
from pathlib import Path
from mlflow import MlflowClient
from hydra_gce.tracking.vm.direct import have_experiment

find = MlflowClient.get_experiment_by_name
def found_too_late(self, name):
    found = find(self, name)
    if found is None:
        MlflowClient.get_experiment_by_name = find
        MlflowClient().create_experiment(name)  # as another VM does in this very moment
    return found
MlflowClient.get_experiment_by_name = found_too_late
have_experiment()
mlflow.start_run()
"""


def test_vms_that_make_the_same_experiment_at_once_all_have_it(
    server: str, sweep: str, experiment: str, tmp_path: Path
) -> None:
    script = tmp_path / "train.py"
    script.write_text(RACES)
    run_program(script, {"MLFLOW_TRACKING_URI": server, **variables(None, sweep, 0, 1, experiment)}, tmp_path)
    assert len(runs(server, experiment)) == 1
