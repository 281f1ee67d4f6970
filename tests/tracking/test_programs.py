"""Programs that nobody wrote for us run unchanged, and leave the records that they leave without us."""

from __future__ import annotations

import importlib.util
import shutil
import uuid
from pathlib import Path

import pytest
from mlflow import MlflowClient

from hydra_gce.bucket import Bucket
from hydra_gce.jobs import JobState, JobStatus
from hydra_gce.tracking.environment import variables
from hydra_gce.tracking.mode import Mode
from tests.tracking.lab import STARTED, SWEEP, Machine, relay_for, run_program
from tests.tracking.recorded import differences, runs_below

PROGRAMS = Path(__file__).parent / "programs"
EXPERIMENTS = {"keras_autolog": "digits", "sklearn_autolog": "Default", "client": "by hand"}


@pytest.fixture
def make_store(empty_store: Path, tmp_path: Path) -> object:
    def make(name: str) -> str:
        (tmp_path / name).mkdir()
        shutil.copy(empty_store, tmp_path / name / "mlflow.db")
        return f"sqlite:///{tmp_path / name / 'mlflow.db'}"

    return make


def program(name: str, *marks: pytest.MarkDecorator) -> object:
    needs_keras = name.startswith("keras") and importlib.util.find_spec("keras") is None
    return pytest.param(name, marks=[*marks, pytest.mark.skipif(needs_keras, reason="without Keras")])


@pytest.mark.parametrize(
    "name", [program("keras_autolog", pytest.mark.slow), program("sklearn_autolog"), program("client")]
)
def test_through_the_bucket(name: str, bucket: Bucket, make_store: object, tmp_path: Path) -> None:
    assert callable(make_store)
    plain, played = make_store("plain"), make_store("played")
    script = PROGRAMS / f"{name}.py"
    run_program(script, {"MLFLOW_TRACKING_URI": plain}, tmp_path / "plain")

    vm = tmp_path / "vm"
    vm.mkdir()
    run_program(script, variables(vm, SWEEP, 0, 1), tmp_path / "played")
    machine = Machine(bucket, vm, 0, 1)
    relay = relay_for(bucket, played)
    relay.tick({0: machine.upload()})
    relay.finish(machine.status(JobState.COMPLETED), STARTED + 60, {"cost_usd": "0.1"})
    relay.close(JobState.COMPLETED, STARTED + 61, {})
    assert relay.trouble == "" and relay.refused == []
    # What a program left open ends as its job does.
    wanted = runs_below(MlflowClient(plain), EXPERIMENTS[name], ours=False)
    found = runs_below(MlflowClient(played), EXPERIMENTS[name], ours=True)
    found = [run for run in found if run["status"] != "SCHEDULED"]  # of the job that was not run
    assert differences(wanted, found) == []


@pytest.mark.parametrize(
    "name",
    [
        "client",
        *(program(name, pytest.mark.slow) for name in ("keras_autolog", "sklearn_autolog")),
    ],
)
def test_straight_to_the_server(
    name: str,
    bucket: Bucket,
    server: str,
    make_store: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert callable(make_store)
    plain = make_store("plain")
    script = tmp_path / f"{name}.py"
    experiment = f"{name}-{uuid.uuid4().hex[:8]}"  # the server is shared by all tests of a session
    text = (PROGRAMS / f"{name}.py").read_text()
    script.write_text(text.replace(f'"{EXPERIMENTS[name]}"', f'"{experiment}"'))
    chosen = {"MLFLOW_EXPERIMENT_NAME": experiment} if EXPERIMENTS[name] == "Default" else {}
    run_program(script, {"MLFLOW_TRACKING_URI": plain, **chosen}, tmp_path / "plain")

    sweep = f"{SWEEP}-{uuid.uuid4().hex[:8]}"
    relay = relay_for(bucket, server, experiment=experiment, mode=Mode.DIRECT, sweep=sweep)
    relay.tick({})
    run_program(script, {"MLFLOW_TRACKING_URI": server, **variables(None, sweep, 0, 1), **chosen}, tmp_path)
    relay.finish(JobStatus(0, JobState.COMPLETED, 1), STARTED + 60, {})
    relay.close(JobState.COMPLETED, STARTED + 61, {})
    assert relay.trouble == ""
    wanted = runs_below(MlflowClient(plain), experiment, ours=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)  # where MLflow 2 looks for any server's artifacts
    found = [
        run for run in runs_below(MlflowClient(server), experiment, ours=True) if run["status"] != "SCHEDULED"
    ]
    assert differences(wanted, found) == []
