"""What is said to MLflow, and which run it is said to."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from unet.errors import Preempted
from unet.settings import Settings
from unet.tracking import RUN_ID_FILE, TrackedRun, flat_params, tracked_run


@contextmanager
def opened(settings: Settings, output_dir: Path) -> Iterator[TrackedRun]:
    with tracked_run(settings, output_dir, None) as run:
        yield run


def test_nested_settings_become_flat_parameters() -> None:
    assert flat_params({"lr": 0.1, "data": {"crop": 128, "classes": ["a", "b"]}}) == {
        "lr": "0.1",
        "data.crop": "128",
        "data.classes": "['a', 'b']",
    }


def test_a_parameter_is_no_longer_than_mlflow_takes(
    settings: Settings, tmp_path: Path, tracking: str
) -> None:
    settings.data.train = "0-3," + ",".join(["0"] * 4000)
    with opened(settings, tmp_path) as run:
        pass
    assert len(mlflow.get_run(run.run_id).data.params["data.train"]) == 6000


def test_more_parameters_than_a_batch_holds_are_all_recorded(
    settings: Settings, tmp_path: Path, tracking: str
) -> None:
    with opened(settings, tmp_path) as run:
        run.log_params({f"p{n}": str(n) for n in range(250)})
    assert mlflow.get_run(run.run_id).data.params.items() >= {f"p{n}": str(n) for n in range(250)}.items()


def test_metrics_carry_their_step_and_the_time_at_which_they_were_measured(
    settings: Settings, tmp_path: Path, tracking: str
) -> None:
    with opened(settings, tmp_path) as run:
        for step in range(1, 8):
            run.log(step, {"loss": 1 / step}, 1_000_000 + step)
    history = mlflow.MlflowClient().get_metric_history(run.run_id, "loss")
    assert [(m.step, m.value, m.timestamp) for m in history] == [
        (step, 1 / step, 1_000_000_000 + 1000 * step) for step in range(1, 8)
    ]


def test_logging_does_not_wait_for_a_slow_server(
    settings: Settings, tmp_path: Path, tracking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server_answers = threading.Event()
    send = mlflow.MlflowClient.log_batch

    def slow(*args: Any, **kwargs: Any) -> Any:
        assert server_answers.wait(30)
        return send(*args, **kwargs)

    with opened(settings, tmp_path) as run:
        monkeypatch.setattr(mlflow.MlflowClient, "log_batch", slow)
        for step in range(1, 100):
            run.log(step, {"loss": 0.5}, 1_000_000 + step)
        server_answers.set()  # not reached if one of the calls above had waited
    assert len(mlflow.MlflowClient().get_metric_history(run.run_id, "loss")) == 99


def test_a_record_that_mlflow_refuses_is_an_error(settings: Settings, tmp_path: Path, tracking: str) -> None:
    with pytest.raises(MlflowException), opened(settings, tmp_path) as run:
        run.log(1, {"not a name that MLflow takes: ?!": 1.0}, 1_000_000 + 1)
    assert mlflow.get_run((tmp_path / RUN_ID_FILE).read_text()).info.status == "FAILED"


def test_the_run_of_the_environment_is_the_one_that_is_written(
    settings: Settings, tmp_path: Path, tracking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = mlflow.MlflowClient().get_experiment_by_name("tests")
    assert experiment is not None
    given = mlflow.MlflowClient().create_run(experiment.experiment_id, run_name="given").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", given)

    with opened(settings, tmp_path) as run:
        pass

    assert run.run_id == given
    assert mlflow.get_run(given).info.run_name == "given"


def test_a_run_that_mlflow_does_not_know_is_followed_by_a_new_one(
    settings: Settings, tmp_path: Path, tracking: str
) -> None:
    (tmp_path / RUN_ID_FILE).write_text("0123456789abcdef0123456789abcdef")
    with opened(settings, tmp_path) as run:
        pass
    assert mlflow.get_run(run.run_id).data.tags["resumed_from"] == "0123456789abcdef0123456789abcdef"
    assert (tmp_path / RUN_ID_FILE).read_text() == run.run_id


def test_a_parameter_that_changes_on_resume_keeps_its_value_and_the_new_one_is_a_tag(
    settings: Settings, tmp_path: Path, tracking: str
) -> None:
    with opened(settings, tmp_path):
        pass
    with opened(replace(settings, lr=0.5), tmp_path) as run:
        pass
    data = mlflow.get_run(run.run_id).data
    assert data.params["lr"] == "0.01"
    assert data.tags["changed_on_resume.lr"] == "0.5"


def test_without_a_word_from_the_environment_the_settings_name_the_experiment(
    settings: Settings, tmp_path: Path, tracking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    monkeypatch.chdir(tmp_path)
    for name in ("one", "other"):  # one after the other in a process, as a sweep without a launcher does
        settings.tracking.experiment = name
        (tmp_path / name).mkdir()
        with opened(settings, tmp_path / name) as run:
            pass
        experiment_id = mlflow.get_run(run.run_id).info.experiment_id
        assert mlflow.get_experiment(experiment_id).name == name
    assert "MLFLOW_EXPERIMENT_ID" not in os.environ


def test_preemption_is_told_apart_from_failure(settings: Settings, tmp_path: Path, tracking: str) -> None:
    with pytest.raises(Preempted), opened(settings, tmp_path) as run:
        run.log(1, {"loss": 1.0}, 1_000_000 + 1)
        raise Preempted("SIGTERM")
    assert mlflow.get_run(run.run_id).info.status == "KILLED"
    assert mlflow.get_run(run.run_id).data.metrics["loss"] == 1.0
