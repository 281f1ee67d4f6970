"""Which checkpoints stay, in which order they are written, and what is found of them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from unet.checkpoints import Checkpoints
from unet.settings import DataSettings, ModelSettings, OptimizerSettings, Settings, TrainerSettings
from unet.state import TrainingState, new_state


@pytest.fixture(scope="module")
def state() -> TrainingState:
    settings = Settings(
        model=ModelSettings(filters=2, depth=1, dropout=0.1),
        data=DataSettings(crop=16),
        optimizer=OptimizerSettings(name="adamw", ema_decay=0.9),
    )
    return new_state(settings, tf.distribute.get_strategy())


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.fixture(autouse=True)
def fresh_notes(state: TrainingState) -> Iterator[None]:
    yield
    state.notes = type(state.notes)()
    state.model.trainable_variables[0].assign(np.zeros(state.model.trainable_variables[0].shape))


def save(checkpoints: Checkpoints, state: TrainingState, step: int, score: float | None = None) -> None:
    state.notes.step, state.notes.score = step, score
    if score is not None:
        state.judge(score)
    checkpoints.save(state)


def test_the_newest_stay_and_the_best(state: TrainingState, directory: Path) -> None:
    settings = TrainerSettings(keep_last=2, keep_best=2)
    with Checkpoints(directory, settings) as checkpoints:
        for step, score in enumerate([0.1, 0.9, 0.2, 0.8, 0.3, 0.4, 0.5], start=1):
            save(checkpoints, state, step, score)
    assert checkpoints.steps() == [2, 4, 6, 7]


def test_of_equal_scores_the_first_is_the_best(state: TrainingState, directory: Path) -> None:
    with Checkpoints(directory, TrainerSettings(keep_last=1, keep_best=1)) as checkpoints:
        for step in (1, 2, 3):
            save(checkpoints, state, step, 0.5)
    assert checkpoints.steps() == [1, 3]
    assert state.notes.best_step == 1


def test_the_best_are_known_again_by_a_later_process(state: TrainingState, directory: Path) -> None:
    settings = TrainerSettings(keep_last=1, keep_best=1)
    with Checkpoints(directory, settings) as checkpoints:
        save(checkpoints, state, 1, 0.9)
        save(checkpoints, state, 2, 0.1)
    with Checkpoints(directory, settings) as later:
        save(later, state, 3, 0.2)
    assert later.steps() == [1, 3]


def test_every_variable_comes_back(state: TrainingState, directory: Path) -> None:
    random = np.random.default_rng(1)
    with Checkpoints(directory, TrainerSettings()) as checkpoints:
        for variable in state.variables().values():
            shape, kind = variable.shape, variable.dtype.as_numpy_dtype
            variable.assign(random.integers(0, 100, shape).astype(kind))
        before = {name: variable.numpy() for name, variable in state.variables().items()}
        save(checkpoints, state, 5, 0.7)
    for variable in state.variables().values():
        variable.assign(tf.zeros_like(variable))
    state.notes = type(state.notes)()
    checkpoints.restore_newest(state)
    assert (state.notes.step, state.notes.best_score, state.notes.best_step) == (5, 0.7, 5)
    for name, variable in state.variables().items():
        np.testing.assert_array_equal(variable.numpy(), before[name], err_msg=name)
    assert any("seed" in name for name in before)
    assert {name.split("/")[0] for name in before} == {"model", "averaged", "optimizer", "rate_scale"}


def test_a_state_is_written_as_it_was_when_it_was_saved(
    state: TrainingState, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write, write = threading.Event(), Checkpoints._write

    def wait_and_write(self: Checkpoints, *arguments: Any) -> None:
        assert may_write.wait(30)
        write(self, *arguments)

    monkeypatch.setattr(Checkpoints, "_write", wait_and_write)
    kernel = state.model.trainable_variables[0]
    with Checkpoints(directory, TrainerSettings()) as checkpoints:
        kernel.assign(np.ones(kernel.shape))
        save(checkpoints, state, 1)  # returns, though nothing can be written yet
        kernel.assign(np.full(kernel.shape, 2.0))
        state.notes.step = 2
        may_write.set()
    checkpoints.restore_newest(state)
    assert state.notes.step == 1
    np.testing.assert_array_equal(np.asarray(kernel.value), 1)


def test_the_last_good_one_may_be_under_way_still(
    state: TrainingState, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, write = threading.Event(), Checkpoints._write

    def write_slowly(self: Checkpoints, *arguments: Any) -> None:
        begun.set()
        time.sleep(0.3)
        write(self, *arguments)

    monkeypatch.setattr(Checkpoints, "_write", write_slowly)
    with Checkpoints(directory, TrainerSettings()) as checkpoints:
        save(checkpoints, state, 1)
        assert begun.wait(30)
        assert checkpoints.last_good() == checkpoints.path(1)


def test_metrics_that_mlflow_has_not_confirmed_are_kept(state: TrainingState, directory: Path) -> None:
    with Checkpoints(directory, TrainerSettings()) as checkpoints:
        state.notes.step = 3
        checkpoints.save(state, [(3, 1000.5, {"loss": 0.25})])
    checkpoints.restore_newest(state)
    ((step, moment, metrics),) = state.notes.unrecorded
    assert (step, moment, metrics) == (3, 1000.5, {"loss": 0.25})


def test_what_a_killed_process_left_half_written_is_removed(directory: Path) -> None:
    directory.mkdir()
    half = directory / ".step-00000004.npz.partial"
    half.write_bytes(b"PK")
    with Checkpoints(directory, TrainerSettings()) as checkpoints:
        assert not half.exists()
        assert checkpoints.newest() is None


def test_a_checkpoint_is_due_by_its_number_and_by_the_age_of_the_last(
    state: TrainingState, directory: Path
) -> None:
    now = [1000.0]
    settings = TrainerSettings(checkpoint_every=60, checkpoint_minutes=2.0)
    with Checkpoints(directory, settings, clock=lambda: now[0]) as checkpoints:
        assert [step for step in range(1, 121) if checkpoints.is_due(step)] == [60, 120]
        now[0] += 120
        assert checkpoints.is_due(61)
        save(checkpoints, state, 61)
        assert not checkpoints.is_due(62)


def test_anybody_can_read_it_with_numpy(state: TrainingState, directory: Path) -> None:
    with Checkpoints(directory, TrainerSettings()) as checkpoints:
        save(checkpoints, state, 7, 0.5)
    with np.load(checkpoints.path(7), allow_pickle=False) as file:
        notes = json.loads(str(file["notes"]))
        assert "rate_scale" in file.files
    assert notes["step"] == 7
    assert notes["best_score"] == 0.5
