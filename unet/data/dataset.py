"""The one way to images and masks: by settings, whatever they come from."""

from unet.data.cache import Room
from unet.data.examples import Dataset
from unet.data.files import join, read_bytes
from unet.data.folder import FolderSource, find_pages, missing_mask
from unet.data.reading import Decoded, Subset, decode_all
from unet.data.source import Source
from unet.data.split import ReadList, Split, numbers_of, split
from unet.errors import DatasetError, SettingsError
from unet.own import own_function
from unet.settings import DataSettings


def read_dataset(settings: DataSettings, room: Room | None = None) -> Dataset:
    """Everything that `settings` selects, checked and divided.

    Args:
        room: memory and disk that decoded images may take; None = what this machine has.

    Raises:
        DatasetError: with everything that is wrong, found in one pass.
        SettingsError: data.name is a function that cannot be imported, or gives no Dataset.
    """
    if ":" in settings.name:
        return _own(settings)
    problems: list[str] = []
    source: Source
    if settings.name == "folder":
        source, parts = _folder(settings, problems)
    elif settings.name == "tfrecord":
        from unet.data.tfrecord import find_shards

        source, parts = find_shards(settings, list_reader(settings), problems)
    elif settings.name == "oxford_pet":
        from unet.data.oxford_pet import find_pets

        source, parts = find_pets(settings, list_reader(settings), problems)
    else:
        from unet.data.synthetic import Drawn

        source = Drawn(settings)
        parts = split(source.names, settings, list_reader(settings))
        problems += parts.problems
    where = settings.folder if settings.name != "synthetic" else "data.synthetic"
    if not source.names:
        raise DatasetError(
            where, problems or ["no image is selected; data.train names them, such as * for all"]
        )
    decoded, found = decode_all(source, settings, room)
    problems += found
    if not found:
        problems += _too_small(decoded, parts, settings)
    if problems:
        raise DatasetError(where, problems)
    training, validation, test = (
        Subset(decoded, numbers_of(source.names, names))
        for names in (parts.training, parts.validation, parts.test)
    )
    return Dataset(training, validation, test)


def list_reader(settings: DataSettings) -> ReadList:
    """Reads `@list` files: below the folder, or where the path says."""

    def read(name: str) -> str:
        try:
            data = read_bytes(join(settings.folder, name))
        except OSError:
            data = read_bytes(name)
        return data.decode("utf-8-sig")

    return read


def _folder(settings: DataSettings, problems: list[str]) -> tuple[Source, Split]:
    pages = find_pages(settings, problems)
    parts = split([page.name for page in pages], settings, list_reader(settings)) if pages else Split()
    problems += parts.problems
    chosen = [page for page in pages if page.name in parts.all]
    problems += dict.fromkeys(missing_mask(page, settings) for page in chosen if not page.pair.mask)
    return FolderSource(settings, [page for page in chosen if page.pair.mask]), parts


def _too_small(decoded: Decoded, parts: Split, settings: DataSettings) -> list[str]:
    """Images that no crop can be cut from."""
    table, training = decoded.table, set(parts.training)
    return [
        f"{file} is {width}x{height}, smaller than a crop of data.crop={settings.crop}; take a smaller crop, scale the "
        "images up by data.resize, or leave this one out of data.train"
        for name, file, height, width in zip(
            decoded.source.names, decoded.source.files, table["height"], table["width"], strict=True
        )
        if min(height, width) < settings.crop and name in training
    ]


def _own(settings: DataSettings) -> Dataset:
    """A function of somebody else's module."""
    dataset = own_function("data.name", settings.name)(settings)
    if not isinstance(dataset, Dataset):
        raise SettingsError(
            f"data.name is {settings.name!r}, which gave a {type(dataset).__name__}; it has to return a "
            "unet.data.examples.Dataset."
        )
    if not len(dataset.training):
        raise DatasetError(settings.name, ["it gave no training images"])
    return dataset
