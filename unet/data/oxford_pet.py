"""Oxford-IIIT Pet as tensorflow-datasets keeps it: 3,680 images to train on and 3,669 for the test, each with a mask.

Masks have 1 for the pet, 2 for the background and 3 for the border between them. tensorflow-datasets itself is
needed only to fetch them.
"""

import importlib

from unet.data.files import files_below, is_folder, join
from unet.data.split import ReadList, Split, split
from unet.data.tfrecord import Features, Place, ShardSource, missing_shards, places_of
from unet.settings import DataSettings

NAME = "oxford_iiit_pet"

_FEATURES = Features("image", "segmentation_mask", "file_name")


def find_pets(settings: DataSettings, read_list: ReadList, problems: list[str]) -> tuple[ShardSource, Split]:
    """What is selected: data.train and data.validation of the images to train on, data.test of those for the test."""
    try:
        folder = _prepared(settings.folder) or _fetch(settings.folder, problems)
    except OSError as error:
        problems.append(
            f"{settings.folder} cannot be listed ({error}); check the address and your credentials"
        )
        folder = None
    if folder is None:
        return ShardSource(settings, settings.folder, {}, {}), Split()
    paths = [path for path in sorted(files_below(folder)) if ".tfrecord" in path]
    problems += missing_shards(paths)
    found: dict[str, dict[str, Place]] = {}
    for part in ("train", "test"):
        shards = [path for path in paths if path.startswith(f"{NAME}-{part}.tfrecord")]
        found[part], facts = places_of(settings, shards, _FEATURES, problems, folder)
        found[part] = {name.rpartition(".")[0] or name: place for name, place in found[part].items()}
    parts = split(list(found["train"]), settings, read_list, list(found["test"]))
    problems += parts.problems
    everything = found["train"] | found["test"]
    chosen = {name: place for name, place in everything.items() if name in parts.all}
    return ShardSource(settings, folder, chosen, facts, _FEATURES), parts


def _prepared(folder: str) -> str | None:
    """The newest version 4 that lies there whole."""
    root = join(folder, NAME)
    if not is_folder(root):
        return None
    files = list(files_below(root))
    versions = sorted({path.split("/")[0] for path in files if path.startswith("4.")})
    ready = [v for v in versions if any(path.startswith(f"{v}/{NAME}-train.tfrecord") for path in files)]
    return join(root, ready[-1]) if ready else None


def _fetch(folder: str, problems: list[str]) -> str | None:
    try:
        tfds = importlib.import_module("tensorflow_datasets")
    except ImportError:
        problems.append(
            f"{NAME} is not in {folder}, and tensorflow-datasets, which fetches it, is not installed; install it by "
            "pip install 'hydra-gce-launcher[pets]', or let data.folder name the directory that has it"
        )
        return None
    try:
        builder = tfds.builder(f"{NAME}:4.*.*", data_dir=folder, file_format="tfrecord")
        builder.download_and_prepare()
    except Exception as error:  # whatever stops a download: network, disk, checksums
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        problems.append(
            f"{NAME} is not in {folder} and cannot be fetched ({reason}); fetch it on a machine with a network by "
            f"python -c \"import tensorflow_datasets as t; t.builder('{NAME}').download_and_prepare()\", and copy its "
            f"folder {NAME}/ there"
        )
        return None
    return str(builder.data_dir)
