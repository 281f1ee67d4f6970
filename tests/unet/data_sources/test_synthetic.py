"""Drawn images are the same each time, and can be learned from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from unet.data.dataset import read_dataset
from unet.errors import DatasetError, SettingsError
from unet.settings import DataSettings, SyntheticSettings


def drawn(**changed: object) -> DataSettings:
    classes = [f"class_{number}" for number in range(4)]
    settings = DataSettings(
        name="synthetic",
        train="*",
        validation="25%",
        classes=classes,
        mask_values=[0, 1, 2, 3],
        crop=32,
        cache="memory",
        synthetic=SyntheticSettings(images=8, height=64, width=96),
    )
    return replace(settings, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [1, 3])
def test_all_classes_are_drawn_in_the_size_that_is_wanted(channels: int) -> None:
    dataset = read_dataset(drawn(channels=channels))
    assert (len(dataset.training), len(dataset.validation)) == (6, 2)
    for index in range(6):
        example = dataset.training.read(index)
        assert example.image.shape == (64, 96, channels) and example.image.dtype == np.uint8
        assert np.unique(example.mask).tolist() == [0, 1, 2, 3]
        # A threshold between the classes' brightness is right about nearly all pixels.
        guess = np.rint((example.image[..., 0].astype(float) - 60) / (140 / 3)).clip(0, 3)
        assert (guess == example.mask).mean() > 0.9


def test_the_same_seed_draws_the_same_and_another_others() -> None:
    first, again, other = (read_dataset(drawn(split_seed=seed)).training for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.read(0).image, again.read(0).image)
    assert (first.read(0).image != other.read(0).image).any()
    assert (first.read(0).image != first.read(1).image).any()


def test_an_image_smaller_than_a_crop_is_refused() -> None:
    with pytest.raises(
        DatasetError, match=r"synthetic image \d is 96x64, smaller than a crop of data.crop=128"
    ):
        read_dataset(drawn(crop=128))


def own(settings: DataSettings) -> object:
    """A source of data as a user would write it."""
    return read_dataset(drawn(crop=settings.crop))


def own_nothing(settings: DataSettings) -> object:
    return [settings]


OWN = __name__


def test_a_function_of_ones_own_gives_the_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "my_data", sys.modules[OWN])
    assert len(read_dataset(DataSettings(name="my_data:own", crop=16)).training) == 6
    with pytest.raises(
        SettingsError, match=r"which gave a list; it has to return a unet.data.examples.Dataset"
    ):
        read_dataset(DataSettings(name="my_data:own_nothing"))
    with pytest.raises(SettingsError, match="my_data has no nobody"):
        read_dataset(DataSettings(name="my_data:nobody"))


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match="no_such_module_here cannot be imported"):
        read_dataset(DataSettings(name="no_such_module_here:read"))


def test_a_name_that_is_no_source_is_refused() -> None:
    with pytest.raises(
        SettingsError, match="one of folder, tfrecord, oxford_pet, synthetic, or module:function"
    ):
        DataSettings(name="coco")
