"""The configs of conf/data are settings, and say what they are for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from omegaconf import OmegaConf

from unet.data.dataset import read_dataset
from unet.settings import DataSettings

CONFIGS = sorted((Path(__file__).parents[3] / "conf/data").glob("*.yaml"))


def loaded(path: Path) -> DataSettings:
    merged = OmegaConf.merge(OmegaConf.structured(DataSettings), OmegaConf.load(path))
    return cast(DataSettings, OmegaConf.to_object(merged))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_is_settings_and_opens_with_a_sentence(path: Path) -> None:
    settings = loaded(path)
    assert settings.name in (path.stem, "folder")
    assert path.read_text().startswith("# ")
    assert "." in path.read_text().splitlines()[0]


def test_the_synthetic_config_can_be_read(tmp_path: Path) -> None:
    (path,) = (path for path in CONFIGS if path.stem == "synthetic")
    dataset = read_dataset(replace(loaded(path), cache_dir=str(tmp_path)))
    assert (len(dataset.training), len(dataset.validation)) == (12, 4)


def test_the_membrane_config_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    (path,) = (path for path in CONFIGS if path.stem == "membrane")
    dataset = read_dataset(replace(loaded(path), cache_dir=str(tmp_path)))
    assert (len(dataset.training), len(dataset.validation)) == (24, 6)
