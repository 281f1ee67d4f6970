"""Which of two values is the better one."""

from __future__ import annotations

import pytest

from hydra_gce.objective import Sense, sense_of, sought_by


@pytest.mark.parametrize(
    ("metric", "sense"),
    [
        ("val_loss", Sense.LOWEST),
        ("test/logloss", Sense.LOWEST),
        ("RMSE", Sense.LOWEST),
        ("pixel_error", Sense.LOWEST),
        ("val_miou", Sense.HIGHEST),
        ("val_iou.cell", Sense.HIGHEST),
        ("eval/top5", Sense.HIGHEST),
        ("F1-score", Sense.HIGHEST),
        ("accuracy_loss", Sense.LOWEST),
        ("val_thing", None),
        ("", None),
    ],
)
def test_a_metrics_name_tells(metric: str, sense: Sense | None) -> None:
    assert sense_of(metric) is sense


def test_the_better_value() -> None:
    nan = float("nan")
    assert Sense.HIGHEST.better(0.1, 0.2) == 0.2
    assert Sense.LOWEST.better(0.1, 0.2) == 0.1
    assert Sense.LOWEST.better(None, 0.2) == Sense.LOWEST.better(nan, 0.2) == 0.2
    assert Sense.HIGHEST.better(0.2, nan) == 0.2


@pytest.mark.parametrize(
    ("sweeper", "sense"),
    [
        ({"direction": "minimize"}, Sense.LOWEST),
        ({"direction": "maximize"}, Sense.HIGHEST),
        ({"direction": ["minimize", "maximize"]}, None),
        ({"ax_config": {"experiment": {"minimize": False}}}, Sense.HIGHEST),
        ({"optim": {"maximize": False}}, Sense.LOWEST),
        ({"optim": {"maximize": True}}, Sense.HIGHEST),
        ({"max_batch_size": None}, None),
    ],
)
def test_a_sweeper_says_what_it_seeks(sweeper: dict[str, object], sense: Sense | None) -> None:
    assert sought_by(sweeper) is sense
