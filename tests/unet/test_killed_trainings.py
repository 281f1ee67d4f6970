"""SIGKILL at any moment costs steps, and nothing else: what comes of the training is the same to the last bit."""

from __future__ import annotations

import random
import signal
from collections.abc import Mapping
from pathlib import Path

import mlflow
import numpy as np
import pytest

from tests.unet import processes
from tests.unet.conftest import make_folder
from unet.tracking import RUN_ID_FILE

KEYS = ("loss", "accuracy", "grad_norm", "lr", "val_miou", "val_dice", "val_accuracy")


def run(data: Path, output: Path, store: str, **kill: float) -> int:
    """The exit status of a training in a process of its own."""
    done = processes.run("killed_training", {"data": str(data), "output": str(output), **kill}, store)
    assert done.returncode in (0, -signal.SIGKILL), done.stdout + done.stderr
    return done.returncode


def final_state(output: Path) -> Mapping[str, np.ndarray]:
    with np.load(max((output / "checkpoints").glob("step-*.npz"))) as file:
        return {name: file[name] for name in file.files if name != "notes"}


def assert_same(one: Path, other: Path, store: str) -> None:
    """The same variables in the last checkpoint, bit for bit, and in MLflow each step once with the same values."""
    state, state_of_other = final_state(one), final_state(other)
    assert state.keys() == state_of_other.keys()
    for name, values in state.items():
        np.testing.assert_array_equal(values, state_of_other[name], err_msg=name)
    client = mlflow.MlflowClient(store)
    runs = [(output / RUN_ID_FILE).read_text() for output in (one, other)]
    for key in KEYS:
        histories = [sorted((m.step, m.value) for m in client.get_metric_history(run, key)) for run in runs]
        assert histories[0] == histories[1], key
        assert histories[0], key
    for run in runs:
        assert [m.step for m in client.get_metric_history(run, "loss")] == list(range(1, 151))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("killed") / "data")


@pytest.fixture(scope="module")
def undisturbed(data: Path, mlflow_store: str) -> Path:
    output = data.parent / "undisturbed"
    assert run(data, output, mlflow_store) == 0
    return output


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param([{"kill_in_write": 2}], id="one"),
        pytest.param([{"kill_in_write": 2}, {"kill_after_s": 0.6}], marks=pytest.mark.slow, id="two"),
        pytest.param(
            [{"kill_in_write": n} if n % 3 == 0 else {"kill_after_s": None} for n in range(1, 11)],
            marks=[pytest.mark.slow, pytest.mark.timeout(1500)],
            id="ten",
        ),
    ],
)
def test_a_killed_training_comes_to_the_same_end(
    kills: list[dict[str, float | None]], data: Path, undisturbed: Path, mlflow_store: str, tmp_path: Path
) -> None:
    moments = random.Random(len(kills))
    output = tmp_path / "killed"
    killed = 0
    for kill in kills:
        how = {key: moments.uniform(0.05, 1.5) if value is None else value for key, value in kill.items()}
        if run(data, output, mlflow_store, **how) == 0:
            break  # it had come to its end before
        killed += 1
    assert killed >= min(len(kills), 2)
    assert run(data, output, mlflow_store) == 0
    assert_same(undisturbed, output, mlflow_store)
