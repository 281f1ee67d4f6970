"""MLflow 2 and 3, on the laptop and on the VM: records are those that the laptop's own version would have made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from bench.mlflow_server import MLflowServer
from hydra_gce.bucket import Bucket
from hydra_gce.jobs import JobState
from tests.tracking.equality import with_models_as_files
from tests.tracking.lab import ROOT, STARTED, TRAINING, relay_for, run_on_vm, run_program

LAPTOP = Path(__file__).with_name("laptop.py")
OTHER = ".venv-mlflow-2"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),  # the first one fetches an environment
    pytest.mark.skipif(
        mlflow.__version__.startswith("2."),
        reason="in the environment of MLflow 3, which makes the other one",
    ),
]


@pytest.fixture(scope="session")
def pythons() -> dict[int, str]:
    """By the version of their MLflow: the one that runs this, and one that ``make`` sees to."""
    made = subprocess.run(
        ["make", f"{OTHER}/.installed"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return {2: str(ROOT / OTHER / "bin" / "python"), 3: sys.executable}


@pytest.mark.parametrize("on_vm", [2, 3])
@pytest.mark.parametrize("on_laptop", [2, 3])
def test_each_version_takes_what_each_has_logged(
    on_laptop: int, on_vm: int, pythons: dict[int, str], bucket: Bucket, storage_url: str, tmp_path: Path
) -> None:
    vm, laptop, plain = (tmp_path / name for name in ("vm", "laptop", "plain"))
    run_on_vm(TRAINING, bucket, vm, num=0, attempt=1, python=pythons[on_vm])
    laptop.mkdir()
    plain.mkdir()
    stores = {name: f"sqlite:///{tmp_path / name / 'mlflow.db'}" for name in ("laptop", "plain")}
    alone = {"MLFLOW_TRACKING_URI": stores["plain"], "MLFLOW_EXPERIMENT_NAME": "membrane"}
    run_program(TRAINING, alone, plain, python=pythons[on_laptop])
    order = {
        **{"storage": storage_url, "bucket": bucket.name, "vm": str(vm)},
        **{"store": stores["laptop"], "plain": stores["plain"], "answer": str(tmp_path / "answer.json")},
    }
    run_program(LAPTOP, {}, laptop, [json.dumps(order)], python=pythons[on_laptop])

    answer = json.loads((tmp_path / "answer.json").read_text())
    assert answer["version"].startswith(f"{on_laptop}.")
    assert answer["trouble"] == "" and answer["refused"] == []
    same = (lambda record: record) if on_laptop == on_vm else with_models_as_files
    assert same(answer["found"]) == same(answer["wanted"])
    assert answer["predicted"] == [0.0, 1.0]
    if on_laptop == 2 or on_vm == 2:
        (entry,) = answer["history"]
        assert entry["artifact_path"] == "model" and entry["run_id"] == answer["run"]
        assert "python_function" in entry["flavors"]
        assert answer["found"]["models"] == []
    else:
        assert [model["name"] for model in answer["found"]["models"]] == ["model"]


def test_a_server_that_is_older_than_the_laptop_has_models_as_files(
    pythons: dict[int, str], bucket: Bucket, tmp_path: Path
) -> None:
    vm = run_on_vm(TRAINING, bucket, tmp_path / "vm", num=0, attempt=1)
    with MLflowServer(tmp_path / "server", python=pythons[2]) as server:
        relay = relay_for(bucket, server.uri)
        relay.tick({0: vm.upload()})
        relay = relay_for(bucket, server.uri)  # the launch was started again
        relay.tick({0: vm.status(JobState.RUNNING)})
        relay.finish(vm.status(JobState.COMPLETED), STARTED + 100, {})
        relay.close(JobState.COMPLETED, STARTED + 200, {})
        assert relay.trouble == "" and relay.refused == []
        run = MlflowClient(server.uri).get_run(str(relay.run_id(0)))
    assert run.data.metrics["val_miou"] == 0.75 and run.info.status == "FINISHED"
    (entry,) = json.loads(run.data.tags["mlflow.log-model.history"])
    assert entry["run_id"] == run.info.run_id
    (artifacts,) = (server.directory / "files").glob(f"*/{run.info.run_id}/artifacts")
    assert {path.name for path in (artifacts / "model").iterdir()} > {"MLmodel", "python_model.pkl"}
    assert (artifacts / "notes" / "a.txt").read_text() == "hello\n"
