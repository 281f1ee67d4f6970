"""The example's launcher presets: what they ask for can be had, and says what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import train  # noqa: F401  the schema of the example's config is registered there
from hydra_gce import validation
from hydra_gce.machines import resolve
from hydra_gce.request import vm_request
from hydra_gce.settings import Settings

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "preset", sorted(path.stem for path in (ROOT / "conf/hydra/launcher").glob("*.yaml"))
)
def test_a_preset_asks_for_what_there_is(preset: str) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", overrides=[f"hydra/launcher={preset}"], return_hydra_config=True)
    launcher = {key: value for key, value in config.hydra.launcher.items() if key != "_target_"}
    merged = OmegaConf.merge(OmegaConf.structured(Settings), OmegaConf.create(launcher))
    settings = cast(Settings, OmegaConf.to_object(merged))

    validation.check(settings, {})
    cheapest = resolve(vm_request(settings.vm))[0]

    assert cheapest.price.hourly > 0
    assert settings.env.requirements is None or (ROOT / settings.env.requirements).exists()
