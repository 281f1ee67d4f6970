"""Settings that make no sense are refused with the name of the field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from unet.errors import SettingsError
from unet.settings import (
    AugmentSettings,
    DataSettings,
    InferenceSettings,
    LossSettings,
    ModelSettings,
    OptimizerSettings,
    ScheduleSettings,
    Settings,
    SyntheticSettings,
    TrackingSettings,
    TrainerSettings,
)
from unet.settings.names import refuse_unknown_names


def unvalidated() -> DataSettings:
    return DataSettings(validation="")


REFUSED: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (Settings, {"lr": 0.0}, "lr"),
    (Settings, {"lr": float("nan")}, "lr"),
    (Settings, {"lr": 1e6}, "lr"),
    (Settings, {"seed": -1}, "seed"),
    (Settings, {"data": DataSettings(crop=100)}, "data.crop"),
    (Settings, {"data": DataSettings(crop=144), "model": ModelSettings(stem=2)}, "data.crop"),
    (Settings, {"data": DataSettings(crop=576), "model": ModelSettings(padding="valid")}, "data.crop"),
    (Settings, {"data": DataSettings(crop=172), "model": ModelSettings(padding="valid")}, "data.crop"),
    (Settings, {"loss": LossSettings(class_weights=[1.0])}, "loss.class_weights"),
    (Settings, {"loss": LossSettings(border_class="nucleus")}, "loss.border_class"),
    (Settings, {"schedule": ScheduleSettings(warmup_steps=240)}, "schedule.warmup_steps"),
    (Settings, {"schedule": ScheduleSettings(name="plateau"), "data": unvalidated()}, "schedule.name"),
    (
        Settings,
        {"trainer": TrainerSettings(early_stopping=3), "data": unvalidated()},
        "trainer.early_stopping",
    ),
    (Settings, {"trainer": TrainerSettings(accumulate=3)}, "trainer.accumulate"),
    (
        Settings,
        {"trainer": TrainerSettings(steps_per_call=2), "data": DataSettings(short_batches=True)},
        "trainer.steps_per_call",
    ),
    (Settings, {"trainer": TrainerSettings(steps=252, steps_per_call=7)}, "trainer.validate_every"),
    (Settings, {"trainer": TrainerSettings(steps=250, steps_per_call=20)}, "trainer.steps"),
    (ModelSettings, {"name": "vnet"}, "model.name"),
    (ModelSettings, {"filters": 0}, "model.filters"),
    (ModelSettings, {"depth": 8}, "model.depth"),
    (ModelSettings, {"stem": 3}, "model.stem"),
    (ModelSettings, {"norm": "layer"}, "model.norm"),
    (ModelSettings, {"norm": "group", "filters": 12}, "model.norm_groups"),
    (ModelSettings, {"dropout": 1.0}, "model.dropout"),
    (ModelSettings, {"norm_momentum": 1.0}, "model.norm_momentum"),
    (ModelSettings, {"upsampling": "nearest"}, "model.upsampling"),
    (ModelSettings, {"padding": "valid", "name": "resunet"}, "model.padding"),
    (ModelSettings, {"name": "mobilenet_unet"}, "model.depth"),
    (ModelSettings, {"freeze_encoder": True}, "model.freeze_encoder"),
    (DataSettings, {"name": "zip"}, "data.name"),
    (DataSettings, {"classes": ["cell"]}, "data.classes"),
    (DataSettings, {"classes": ["cell", "cell"]}, "data.classes"),
    (DataSettings, {"mask_values": [0]}, "data.mask_values"),
    (DataSettings, {"mask_values": [0, 0]}, "data.mask_values"),
    (DataSettings, {"mask_values": [0, 65536]}, "data.mask_values"),
    (DataSettings, {"ignore_values": [255]}, "data.ignore_values"),
    (DataSettings, {"images": "{name}/{name}.png"}, "data.images"),
    (DataSettings, {"masks": "masks.tif"}, "data.masks"),
    (DataSettings, {"channels": 2}, "data.channels"),
    (DataSettings, {"max_value": 0.0}, "data.max_value"),
    (DataSettings, {"train": " "}, "data.train"),
    (DataSettings, {"folds": 1, "validation": ""}, "data.folds"),
    (DataSettings, {"folds": 4, "fold": 4, "validation": ""}, "data.fold"),
    (DataSettings, {"folds": 4}, "data.validation"),
    (DataSettings, {"crop": 0}, "data.crop"),
    (DataSettings, {"batch": 0}, "data.batch"),
    (DataSettings, {"cache": "ram"}, "data.cache"),
    (DataSettings, {"readers": -1}, "data.readers"),
    (AugmentSettings, {"brightness": -0.1}, "data.augment.brightness"),
    (AugmentSettings, {"overhang": 0.6}, "data.augment.overhang"),
    (AugmentSettings, {"rotate": 270.0}, "data.augment.rotate"),
    (AugmentSettings, {"contrast": 1.0}, "data.augment.contrast"),
    (AugmentSettings, {"elastic_knots": 1}, "data.augment.elastic_knots"),
    (SyntheticSettings, {"images": 1}, "data.synthetic.images"),
    (LossSettings, {"dice": -1.0}, "loss.dice"),
    (LossSettings, {"cross_entropy": 0.0, "dice": 0.0}, "loss.cross_entropy"),
    (LossSettings, {"class_weights": [-1.0, 1.0]}, "loss.class_weights"),
    (LossSettings, {"border_sigma": 0.0}, "loss.border_sigma"),
    (OptimizerSettings, {"name": "adma"}, "optimizer.name"),
    (OptimizerSettings, {"weight_decay": 0.1}, "optimizer.weight_decay"),
    (OptimizerSettings, {"momentum": 1.0}, "optimizer.momentum"),
    (OptimizerSettings, {"nesterov": True}, "optimizer.nesterov"),
    (OptimizerSettings, {"clip_norm": 0.0}, "optimizer.clip_norm"),
    (OptimizerSettings, {"ema_decay": 1.0}, "optimizer.ema_decay"),
    (ScheduleSettings, {"name": "linear"}, "schedule.name"),
    (ScheduleSettings, {"warmup_steps": -1}, "schedule.warmup_steps"),
    (ScheduleSettings, {"final_fraction": 2.0}, "schedule.final_fraction"),
    (ScheduleSettings, {"power": 0.0}, "schedule.power"),
    (ScheduleSettings, {"factor": 1.0}, "schedule.factor"),
    (TrainerSettings, {"steps": 0}, "trainer.steps"),
    (TrainerSettings, {"validate_every": 0}, "trainer.validate_every"),
    (TrainerSettings, {"checkpoint_every": 0}, "trainer.checkpoint_every"),
    (TrainerSettings, {"checkpoint_minutes": -1.0}, "trainer.checkpoint_minutes"),
    (TrainerSettings, {"keep_last": 0}, "trainer.keep_last"),
    (TrainerSettings, {"keep_best": -1}, "trainer.keep_best"),
    (TrainerSettings, {"monitor": "loss"}, "trainer.monitor"),
    (TrainerSettings, {"log_every": 0}, "trainer.log_every"),
    (TrainerSettings, {"precision": "float64"}, "trainer.precision"),
    (TrainerSettings, {"devices": "two"}, "trainer.devices"),
    (TrainerSettings, {"devices": "all", "jit_compile": True}, "trainer.jit_compile"),
    (TrainerSettings, {"profile": "30-20"}, "trainer.profile"),
    (TrackingSettings, {"experiment": ""}, "tracking.experiment"),
    (InferenceSettings, {"tile": 8}, "inference.tile"),
    (InferenceSettings, {"overlap": 300}, "inference.overlap"),
    (InferenceSettings, {"average": "all"}, "inference.average"),
    (InferenceSettings, {"shifts": 0}, "inference.shifts"),
    (InferenceSettings, {"class_weights": [1.0, 0.0]}, "inference.class_weights"),
]


@pytest.mark.parametrize(("kind", "values", "field"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_value_that_makes_no_sense_is_refused_by_name(
    kind: Callable[..., Any], values: dict[str, Any], field: str
) -> None:
    with pytest.raises(SettingsError, match=rf"^{field} is "):
        kind(**values)


def test_the_message_says_what_to_give_instead() -> None:
    with pytest.raises(SettingsError, match="one of adam, adamw, lion, rmsprop, sgd"):
        OptimizerSettings(name="adma")


def test_the_defaults_make_sense() -> None:
    assert Settings().model.size_multiple == 16


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"learning_rate": 1}, "there is no setting learning_rate"),
        ({"optimizer": {"lr": 1}}, r"optimizer\.lr \(is lr meant\?\)"),
        ({"data": {"rotate": 1}}, r"data\.rotate \(is data\.augment\.rotate meant\?\)"),
        ({"trainer": {"step": 1}}, r"trainer\.step \(is trainer\.steps"),
        ({"lr": 1, "a": 2, "b": 3}, "there is no setting a; there is no setting b"),
    ],
)
def test_a_name_that_no_setting_has_is_refused_with_what_was_meant(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        refuse_unknown_names(given, Settings)


def test_the_names_of_all_settings_are_known() -> None:
    refuse_unknown_names(asdict(Settings()), Settings)


def test_the_papers_network_loses_the_papers_margin() -> None:
    paper = ModelSettings(padding="valid", depth=4)
    assert (572 - 2 * paper.margin, 572 % paper.size_multiple) == (388, paper.size_remainder)
    Settings(model=paper, data=DataSettings(crop=572))
