"""Checkpoints of a training on a VM are models in the laptop's MLflow while they come, and go as they go there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient

from hydra_gce.bucket import Bucket
from hydra_gce.jobs import JobState
from hydra_gce.tracking.relay.relay import Relay
from tests.tracking.lab import STARTED, relay_for, run_on_vm

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

pytestmark = pytest.mark.skipif(
    not hasattr(MlflowClient, "create_logged_model"), reason="MLflow 2 has no logged models"
)

TRAINING = """
import os, sys
from functools import partial
from pathlib import Path

import mlflow

from tests.patience import wait_until
from tests.unet.conftest import make_settings
from unet.checkpoints import Checkpoints
from unet.training import train

data, output, stop_at = Path({data!r}), Path({output!r}), {stop_at!r}
client = mlflow.MlflowClient()
finish, save = mlflow.MlflowClient.finalize_logged_model, Checkpoints.save


def is_there(name):
    experiment = client.get_run((output / "mlflow_run_id").read_text()).info.experiment_id
    found = client.search_logged_models([experiment], f"name = '{{name}}'")
    return [str(model.status) for model in found] == ["READY"]


def save_and_wait(self, state, *more):
    save(self, state, *more)
    self.settle()
    wait_until(partial(is_there, f"checkpoint-{{state.notes.step}}"), "MLflow has it")


def finish_or_end(self, model_id, status):
    if client.get_logged_model(model_id).name == stop_at:
        os._exit(0)  # the machine is lost
    return finish(self, model_id, status)


mlflow.MlflowClient.finalize_logged_model = finish_or_end
Checkpoints.save = save_and_wait
settings = make_settings(data)
settings.tracking.checkpoints = True
settings.trainer.steps, settings.trainer.keep_last, settings.trainer.keep_best = 12, 2, 0
settings.trainer.validate_every = 2
train(settings, output)
"""

PRUNES = """
import mlflow
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

client = mlflow.MlflowClient()
with mlflow.start_run() as run:
    experiment = run.info.experiment_id
    for name in ("kept", "deleted", "deleted-with-files"):
        model = client.create_logged_model(experiment, name=name, source_run_id=run.info.run_id,
                                           tags={"t": "1"}, params={"p": "2"})
        client.log_model_artifact(model.model_id, __file__)
        client.finalize_logged_model(model.model_id, "READY")
        if name == "deleted-with-files":
            get_artifact_repository(model.artifact_location).delete_artifacts()
        if name != "kept":
            client.delete_logged_model(model.model_id)
    twice = [client.create_logged_model(experiment, name="twice", source_run_id=run.info.run_id) for _ in range(2)]
    assert twice[0].model_id != twice[1].model_id
"""


def models(relay: Relay, store: str) -> dict[str, LoggedModel]:
    """Of the job's run, by name; that each name is there once is checked."""
    client = MlflowClient(store)
    run = client.get_run(str(relay.run_id(0)))
    found = client.search_logged_models([run.info.experiment_id])
    assert len({model.name for model in found}) == len(found)
    assert {model.source_run_id for model in found} <= {run.info.run_id}
    return {model.name: model for model in found}


def files_of(model: LoggedModel) -> list[str]:
    folder = Path(model.artifact_location.removeprefix("file://"))
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_training_that_goes_on_elsewhere_has_each_checkpoint_once(
    bucket: Bucket, store: str, tmp_path: Path
) -> None:
    from tests.unet.conftest import make_folder

    data = make_folder(tmp_path / "data")
    relay = relay_for(bucket, store, experiment="membrane")
    seen: dict[str, LoggedModel] = {}
    for attempt, stop_at in ((1, "checkpoint-6"), (2, "")):
        script = tmp_path / f"train-{attempt}.py"
        # The output directory goes along from one VM to the next.
        content = TRAINING.format(data=str(data), output=str(tmp_path / "out"), stop_at=stop_at)
        script.write_text(content)
        vm = run_on_vm(script, bucket, tmp_path / f"vm-{attempt}", 0, attempt)
        relay.tick({0: vm.upload()})
        assert relay.trouble == ""
        if attempt == 1:
            seen = models(relay, store)
            assert {name: str(model.status) for name, model in seen.items()} == {
                "checkpoint-2": "READY",  # on the disk it is gone already
                "checkpoint-4": "READY",
                "checkpoint-6": "PENDING",
            }
            assert "MLmodel" in files_of(seen["checkpoint-4"])
    relay.finish(vm.status(JobState.COMPLETED), STARTED + 600, {})
    assert relay.trouble == "" and relay.refused == []

    there = models(relay, store)
    assert {name: str(model.status) for name, model in there.items()} == {
        "checkpoint-10": "READY",
        "checkpoint-12": "READY",
    }
    for model in seen.values():
        assert files_of(model) == []
    run = MlflowClient(store).get_run(str(relay.run_id(0)))
    outputs = run.outputs.model_outputs if run.outputs else []
    steps = {output.model_id: output.step for output in outputs}
    assert len(steps) == len(outputs) == 6
    for name, model in there.items():
        assert files_of(model) == sorted(
            ["MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt"]
            + [f"data/{file}" for file in ("keras_module.txt", "model.keras", "save_format.txt")]
        )
        (metric,) = model.metrics or []
        assert name == f"checkpoint-{metric.step}" == f"checkpoint-{steps[model.model_id]}"
        described = Path(model.artifact_location.removeprefix("file://"), "MLmodel").read_text()
        assert f"run_id: {run.info.run_id}" in described
    history = MlflowClient(store).get_metric_history(run.info.run_id, "checkpoint_val_miou")
    assert sorted(metric.step for metric in history) == [2, 4, 6, 8, 10, 12]


@pytest.fixture
def pruned(tmp_path: Path) -> Path:
    script = tmp_path / "prunes.py"
    script.write_text(PRUNES)
    return script


def test_models_are_deleted_as_the_program_deletes_them(
    bucket: Bucket, store: str, pruned: Path, tmp_path: Path
) -> None:
    relay = relay_for(bucket, store, experiment="membrane")
    vm = run_on_vm(pruned, bucket, tmp_path / "vm", 0, 1)
    relay.tick({0: vm.upload()})
    relay = relay_for(bucket, store, experiment="membrane")  # the laptop was started again
    relay.finish(vm.status(JobState.COMPLETED), STARTED + 60, {})
    assert relay.trouble == "" and relay.refused == []
    client = MlflowClient(store)
    run = client.get_run(str(relay.run_id(0)))
    found = client.search_logged_models([run.info.experiment_id])
    assert sorted(model.name for model in found) == ["kept", "twice", "twice"]
    (kept,) = (model for model in found if model.name == "kept")
    assert files_of(kept) == ["prunes.py"]
    assert kept.params == {"p": "2"} and kept.tags["t"] == "1"
