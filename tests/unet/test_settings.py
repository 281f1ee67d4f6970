"""Settings that make no sense are refused with the name of the field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from unet.errors import SettingsError
from unet.settings import (
    DataSettings,
    LossSettings,
    ModelSettings,
    OptimizerSettings,
    ScheduleSettings,
    Settings,
    TrackingSettings,
    TrainerSettings,
)

REFUSED: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (Settings, {"lr": 0.0}, "lr"),
    (Settings, {"lr": float("nan")}, "lr"),
    (Settings, {"lr": 1e6}, "lr"),
    (Settings, {"seed": -1}, "seed"),
    (Settings, {"data": DataSettings(crop=100)}, "data.crop"),
    (Settings, {"schedule": ScheduleSettings(warmup_steps=240)}, "schedule.warmup_steps"),
    (ModelSettings, {"name": "vnet"}, "model.name"),
    (ModelSettings, {"filters": 0}, "model.filters"),
    (ModelSettings, {"depth": 8}, "model.depth"),
    (ModelSettings, {"dropout": 1.0}, "model.dropout"),
    (ModelSettings, {"norm_momentum": 1.0}, "model.norm_momentum"),
    (DataSettings, {"classes": ["cell"]}, "data.classes"),
    (DataSettings, {"mask_values": [0]}, "data.mask_values"),
    (DataSettings, {"mask_values": [0, 0]}, "data.mask_values"),
    (DataSettings, {"mask_values": [0, 256]}, "data.mask_values"),
    (DataSettings, {"channels": 2}, "data.channels"),
    (DataSettings, {"train": " "}, "data.train"),
    (DataSettings, {"holdout": ""}, "data.holdout"),
    (DataSettings, {"crop": 0}, "data.crop"),
    (DataSettings, {"batch": 0}, "data.batch"),
    (DataSettings, {"brightness": -0.1}, "data.brightness"),
    (LossSettings, {"dice_weight": -1.0}, "loss.dice_weight"),
    (OptimizerSettings, {"name": "adma"}, "optimizer.name"),
    (OptimizerSettings, {"weight_decay": 0.1}, "optimizer.weight_decay"),
    (OptimizerSettings, {"momentum": 1.0}, "optimizer.momentum"),
    (OptimizerSettings, {"clip_norm": 0.0}, "optimizer.clip_norm"),
    (ScheduleSettings, {"name": "linear"}, "schedule.name"),
    (ScheduleSettings, {"warmup_steps": -1}, "schedule.warmup_steps"),
    (ScheduleSettings, {"final_fraction": 2.0}, "schedule.final_fraction"),
    (TrainerSettings, {"steps": 0}, "trainer.steps"),
    (TrainerSettings, {"validate_every": 0}, "trainer.validate_every"),
    (TrainerSettings, {"checkpoint_every": 0}, "trainer.checkpoint_every"),
    (TrainerSettings, {"keep_checkpoints": 0}, "trainer.keep_checkpoints"),
    (TrainerSettings, {"log_every": 0}, "trainer.log_every"),
    (TrackingSettings, {"experiment": ""}, "tracking.experiment"),
]


@pytest.mark.parametrize(("kind", "values", "field"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_value_that_makes_no_sense_is_refused_by_name(
    kind: Callable[..., Any], values: dict[str, Any], field: str
) -> None:
    with pytest.raises(SettingsError, match=rf"^{field} is "):
        kind(**values)


def test_the_message_says_what_to_give_instead() -> None:
    with pytest.raises(SettingsError, match="one of adam, adamw, sgd"):
        OptimizerSettings(name="adma")


def test_the_defaults_make_sense() -> None:
    assert Settings().model.size_multiple == 16
