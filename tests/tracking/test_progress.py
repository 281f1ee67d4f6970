"""How far a program is, as the journal of its MLflow calls tells: step, total, pace, objective."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hydra_gce.tracking.journal import Journal
from hydra_gce.tracking.progress import KEPT, Progress, ProgressReader, thinned, total_steps


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def log(
    path: Path, metrics: Mapping[str, float | str], step: int = 0, when: float = 1.0, **settings: Any
) -> None:
    params = [[key, str(value)] for key, value in settings.items()]
    rows = [[key, value, 0, step] for key, value in metrics.items()]
    append(path, {"run": "r", "metrics": rows, "params": params, "tags": []}, when)


def append(path: Path, record: dict[str, Any], when: float) -> None:
    journal = Journal(path)
    journal.append("batch", record, time=when)
    os.close(journal.file())


def of(path: Path) -> Progress:
    return ProgressReader(path).look()


def test_without_a_journal_nothing_is_known(path: Path) -> None:
    assert of(path) == Progress()


@pytest.mark.parametrize(
    ("logged", "expected"),
    [
        (["loss", "accuracy"], "loss"),
        (["loss", "val_miou"], "val_miou"),
        (["val_miou", "val_loss", "loss"], "val_miou"),
        (["val_miou.cell", "val_miou"], "val_miou"),
        (["val_accuracy", "val_miou"], "val_miou"),
        (["test/loss", "loss"], "test/loss"),
        (["learning_rate", "epoch", "images_per_s", "loss"], "loss"),
        (["images_per_s"], ""),
        (["loss", "system/eval_cpu"], "loss"),
        (["system/eval_cpu"], ""),
        (["loss", "val_miou", "checkpoint_val_miou", "best_val_miou"], "val_miou"),
    ],
)
def test_the_metric_that_tells_most_is_shown(path: Path, logged: list[str], expected: str) -> None:
    for step, name in enumerate(logged):
        log(path, {name: 0.5}, step)
    assert of(path).metric_name == expected


def test_what_is_new_is_read_alone(path: Path) -> None:
    reader = ProgressReader(path)
    log(path, {"loss": 0.9}, 1, total_steps=8)
    assert reader.look().step == 1
    size = path.stat().st_size
    path.write_bytes(b"x" * size)  # nobody reads it again
    _append(path, {"loss": 0.7}, 2)
    known = reader.look()
    assert (known.step, known.first_step, known.total_steps, known.metric) == (2, 1, 8, 0.7)


def _append(path: Path, metrics: dict[str, float], step: int) -> None:
    other = path.with_name("other.jsonl")
    log(other, metrics, step)
    with path.open("ab") as file:
        file.write(other.read_bytes())


def test_of_a_journal_that_has_run_away_the_end_is_read(path: Path) -> None:
    log(path, {"val_miou": 0.4}, 1, text="x" * 2_000_000)
    log(path, {"loss": 0.5}, 2)
    assert of(path).metric_name == "loss"


def test_a_line_that_is_being_written_is_read_when_it_is_whole(path: Path) -> None:
    reader = ProgressReader(path)
    log(path, {"loss": 0.9}, 1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert reader.look().step is None
    path.write_bytes(whole)
    assert reader.look().step == 1


def test_a_damaged_line_is_left_to_others(path: Path) -> None:
    for step in (1, 2):
        log(path, {"loss": 1.0 / step}, step)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0].replace(b'"r"', b'"s"') + lines[1])
    assert of(path).first_step == 2


def test_the_pace_is_that_of_the_last_minute(path: Path) -> None:
    for second in range(200):
        log(path, {"loss": 0.5}, second * (1 if second < 100 else 3), when=1000.0 + second)
    assert of(path).steps_per_s == pytest.approx(3.0)


def test_steps_that_come_in_batches_give_the_same_pace(path: Path) -> None:
    for second in range(0, 60, 10):
        rows = [["loss", 0.5, 0, second * 5 + step] for step in range(50)]
        append(path, {"run": "r", "metrics": rows, "params": [], "tags": []}, 500.0 + second)
    assert of(path).steps_per_s == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("images_per_s", "images/s"),
        ("train/samples_per_second", "samples/s"),
        ("examples/sec", "examples/s"),
        ("eval_samples_per_second", ""),
        ("loss", ""),
        ("seconds", ""),
    ],
)
def test_a_programs_own_throughput(path: Path, name: str, unit: str) -> None:
    log(path, {name: 16.0}, 3)
    known = of(path)
    assert (known.speed, known.speed_unit) == (16.0 if unit else None, unit)


def test_the_best_value_goes_by_the_metrics_name(path: Path) -> None:
    losses: list[float | str] = [0.9, 0.2, "nan", 0.5]
    for step, value in enumerate(losses):
        log(path, {"val_loss": value}, step)
    assert of(path).best == 0.2
    for step, value in enumerate([0.1, 0.8, 0.6]):
        log(path, {"val_miou": value}, step)
    assert of(path).best == 0.8


def test_a_curve_keeps_its_shape_however_long_it_gets(path: Path) -> None:
    reader = ProgressReader(path)
    for step in range(1000):
        log(path, {"loss": float(step)}, step)
    history = reader.look().history
    assert len(history) == KEPT
    assert history[0] == 0.0 and history[-1] == 999.0
    gaps = [later - earlier for earlier, later in itertools.pairwise(history)]
    assert max(gaps) < 3 * min(gaps[:-1])


def test_thinned_keeps_both_ends() -> None:
    values = [random.Random(7).random() for _ in range(100)]
    kept = thinned(values, 5)
    assert len(kept) == 5 and kept[0] == values[0] and kept[-1] == values[-1]
    assert thinned(values[:5], 5) == values[:5]


@pytest.mark.parametrize(
    ("settings", "step", "epoch", "expected"),
    [
        ({"total_steps": "4000"}, 10, None, 4000),
        ({"trainer.steps": "240", "schedule.warmup_steps": "10"}, 10, None, 240),
        ({"steps": "100", "inner.steps": "7"}, 10, None, 100),
        ({"a.steps": "100", "b.steps": "7"}, 1, None, None),
        ({"a.steps": "100", "b.steps": "100"}, 1, None, 100),
        ({"max_steps": "-1", "num_train_epochs": "3.0"}, 50, 0.5, 300),
        ({"max_steps": "50", "epochs": "3"}, 60, None, None),
        ({"epochs": "20"}, 3, None, 20),
        ({"epochs": "20"}, 3, 3.0, 20),
        ({"epochs": "20"}, 21, None, None),
        ({"epochs": "None"}, 0, None, None),
        ({"epochs": True}, 0, None, None),
        ({"steps": "inf"}, 0, None, None),
        ({"Max-Steps": 12}, None, None, 12),
        ({}, 3, None, None),
    ],
)
def test_how_many_steps_there_will_be(
    settings: dict[str, object], step: int | None, epoch: float | None, expected: int | None
) -> None:
    assert total_steps(settings, step, epoch) == expected
