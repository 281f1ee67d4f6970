"""Oxford-IIIT Pet is read from the files of tensorflow-datasets, with or without that package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from unet.data.dataset import read_dataset
from unet.errors import DatasetError
from unet.settings import DataSettings

TRAIN = ("Abyssinian_1", "Abyssinian_10", "beagle_2", "pug_3")
TEST = ("Bengal_7", "havanese_1")


def image_of(name: str) -> npt.NDArray[np.uint8]:
    random = np.random.default_rng(len(name))
    smooth = np.linspace(0, 200, 40)[None, :, None] + random.uniform(0, 50, (1, 1, 3))
    return np.broadcast_to(smooth, (30, 40, 3)).astype(np.uint8)


def mask_of(name: str) -> npt.NDArray[np.uint8]:
    """1 is the pet, 2 the background, 3 the border between them."""
    mask = np.full((30, 40), 2, np.uint8)
    mask[5:15, 5 : 10 + len(name)] = 3
    mask[7:13, 7 : 8 + len(name)] = 1
    return mask


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as tensorflow-datasets makes it, by its own writer, with a few made-up pets."""
    tfds: Any = pytest.importorskip("tensorflow_datasets")

    class OxfordIIITPet(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
        name = "oxford_iiit_pet"
        VERSION = tfds.core.Version("4.0.0")

        def _info(self) -> Any:
            return self.dataset_info_from_configs(
                features=tfds.features.FeaturesDict(
                    {
                        "image": tfds.features.Image(),
                        "label": tfds.features.ClassLabel(num_classes=37),
                        "species": tfds.features.ClassLabel(names=["Cat", "Dog"]),
                        "head_bbox": tfds.features.BBoxFeature(),
                        "file_name": tfds.features.Text(),
                        "segmentation_mask": tfds.features.Image(shape=(None, None, 1), use_colormap=True),
                    }
                )
            )

        def _split_generators(self, download: Any) -> Any:
            return {"train": self._generate_examples(TRAIN), "test": self._generate_examples(TEST)}

        def _generate_examples(self, names: Any) -> Any:
            for name in names:
                yield (
                    name,
                    {
                        "image": image_of(name),
                        "label": 3,
                        "species": 0,
                        "head_bbox": tfds.features.BBox(0.0, 0.0, 0.5, 0.5),
                        "file_name": f"{name}.jpg",
                        "segmentation_mask": mask_of(name)[..., np.newaxis],
                    },
                )

    folder = tmp_path_factory.mktemp("tfds")
    OxfordIIITPet(data_dir=folder, file_format="tfrecord").download_and_prepare()
    return folder


def pets(folder: Path, **changed: Any) -> DataSettings:
    values: dict[str, Any] = {
        "name": "oxford_pet",
        "folder": str(folder),
        "classes": ["pet", "border", "background"],
        "mask_values": [1, 3, 2],
        "channels": 3,
        "train": "*",
        "validation": "25%",
        "test": "*",
        "crop": 16,
        "cache": "memory",
        "cache_dir": str(folder.parent / "cache"),
    }
    return DataSettings(**(values | changed))


def test_both_parts_are_read_with_the_classes_of_the_masks(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)  # not needed for what is there

    dataset = read_dataset(pets(prepared))

    assert sorted([*dataset.training.names, *dataset.validation.names]) == sorted(TRAIN)
    assert len(dataset.validation) == 1
    assert tuple(dataset.test.names) == TEST
    classes = np.array([99, 0, 2, 1], np.uint8)  # of the values 1, 2 and 3
    for part in (dataset.training, dataset.validation, dataset.test):
        for index, name in enumerate(part.names):
            np.testing.assert_array_equal(part.read(index).mask, classes[mask_of(name)])
            assert np.abs(part.read(index).image.astype(int) - image_of(name)).mean() < 8


def test_pets_are_selected_by_name_and_scaled(prepared: Path) -> None:
    dataset = read_dataset(
        pets(prepared, train="Abyss*,pug_3", validation="beagle_2", test="Bengal_*", resize=16)
    )
    assert tuple(dataset.training.names) == ("Abyssinian_1", "Abyssinian_10", "pug_3")
    assert tuple(dataset.test.names) == ("Bengal_7",)
    assert dataset.training.read(0).image.shape == (16, 21, 3)


def test_without_files_and_package_both_remedies_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DatasetError) as caught:
        read_dataset(pets(tmp_path))
    assert f"oxford_iiit_pet is not in {tmp_path}" in str(caught.value)
    assert "pip install 'hydra-gce-launcher[pets]'" in str(caught.value)


def test_without_a_network_another_way_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tfds: Any = pytest.importorskip("tensorflow_datasets")

    class Builder:
        def download_and_prepare(self) -> None:
            raise ConnectionError("no route to www.robots.ox.ac.uk\nand a long trace")

    monkeypatch.setattr(tfds, "builder", lambda *_, **__: Builder())
    with pytest.raises(
        DatasetError, match=r"cannot be fetched \(no route to www.robots.ox.ac.uk\); fetch it on a"
    ):
        read_dataset(pets(tmp_path))
