"""Decodes every image and mask once, by several threads, finds what is wrong, and keeps the pixels."""

import hashlib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np
from PIL import Image

from unet.data.cache import Keeper, Room, Store, cache_folder
from unet.data.cache_file import TABLE, Table, find_cache_file
from unet.data.examples import IGNORED, Classes, Example, Pixels
from unet.data.files import REMOTE_THREADS, is_remote
from unet.data.source import Problems, Source, listing
from unet.errors import DatasetError
from unet.settings import DataSettings

log = logging.getLogger(__name__)

SAY_EVERY = 10.0
"""Seconds between two lines about how far the reading is."""


@dataclass(frozen=True)
class Decoded:
    """All examples of a source, as they are read again and again."""

    source: Source
    store: Store
    table: Table
    white: float
    deep: bool
    """Whether pixels have 16 bit: all, if those of one image have."""

    def read(self, number: int) -> Example:
        example = self.store.read(number)
        if self.deep and example.image.dtype == np.uint8:
            # 257 = 65535 / 255: white stays white.
            return Example(example.image.astype(np.uint16) * np.uint16(257), example.mask)
        return example


class Subset:
    """Some of the examples: what is trained on, or validated with."""

    def __init__(self, decoded: Decoded, numbers: Sequence[int]) -> None:
        self._decoded, self._numbers = decoded, tuple(numbers)
        self.names: Sequence[str] = tuple(decoded.source.names[number] for number in self._numbers)
        self.files: Sequence[str] = tuple(decoded.source.files[number] for number in self._numbers)
        self.white = decoded.white

    def __len__(self) -> int:
        return len(self._numbers)

    def read(self, index: int) -> Example:
        return self._decoded.read(self._numbers[index])


def decode_all(
    source: Source,
    settings: DataSettings,
    room: Room | None = None,
) -> tuple[Decoded, list[str]]:
    """Decode, check and keep all examples, or find them in a cache file of an earlier training.

    Returns them, and what is wrong with single files. With problems, the examples are not to be used.
    """
    folder = cache_folder(settings.cache_dir)
    fingerprint = _fingerprint(source, settings)
    problems: list[str] = []
    found = None
    if settings.cache in ("auto", "file"):
        found = find_cache_file(folder, fingerprint, len(source.names), settings.channels)
    if found:
        store, table = found
        log.info("Decoded images are in the cache already (%s).", folder)
        _warn(source, table, settings)
        return _decoded(source, store, table, settings), []

    table = np.zeros(len(source.names), TABLE)
    keeper = Keeper(settings.cache, folder, fingerprint, table, room or Room.here(folder))
    try:
        problems = _Pass(source, settings, table, keeper).run()
        kept = None if problems else keeper.finish(settings.channels)
    except BaseException:
        keeper.abandon()
        raise
    if problems:
        keeper.abandon()
    else:
        _warn(source, table, settings)
    return _decoded(source, kept or SourceStore(source, settings), table, settings), problems


class SourceStore:
    """Decodes an example whenever it is asked for."""

    def __init__(self, source: Source, settings: DataSettings) -> None:
        self._source, self._settings = source, settings

    def read(self, number: int) -> Example:
        (loaded,) = self._source.load([number])
        if isinstance(loaded, Example):
            return resized(loaded, self._settings.resize)
        raise DatasetError(
            self._settings.folder, [f"{said} (it has changed since the training began)" for said in loaded]
        )


def resized(example: Example, shorter: int | None) -> Example:
    """Image (area-weighted) and mask (nearest pixel) with the shorter side of so many pixels."""
    height, width = example.mask.shape
    if not shorter or min(height, width) == shorter:
        return example
    scale = shorter / min(height, width)
    to = (max(shorter, round(width * scale)), max(shorter, round(height * scale)))
    kind = example.image.dtype
    # Pillow's bilinear filter weighs all pixels that become one; float, because it has none for 16-bit colour.
    planes = [
        np.asarray(Image.fromarray(plane).resize(to, Image.Resampling.BILINEAR))
        for plane in np.moveaxis(example.image.astype(np.float32), -1, 0)
    ]
    image: Pixels = np.ascontiguousarray(np.rint(np.stack(planes, axis=-1)).astype(kind))
    mask: Classes = np.array(Image.fromarray(example.mask).resize(to, Image.Resampling.NEAREST))
    return Example(image, mask)


class _Pass:
    """One pass over all files."""

    def __init__(self, source: Source, settings: DataSettings, table: Table, keeper: Keeper) -> None:
        self._source, self._settings, self._table, self._keeper = source, settings, table, keeper
        self._problems, self._done = dict[int, Problems](), 0

    def run(self) -> list[str]:
        """What is wrong, in the order of the examples."""
        many = REMOTE_THREADS if is_remote(self._settings.folder) else 2 * (os.cpu_count() or 1)
        threads = self._settings.readers or min(REMOTE_THREADS, many)
        pool = ThreadPoolExecutor(threads, thread_name_prefix="read")
        try:
            pending: set[Future[None]] = {pool.submit(self._group, group) for group in self._source.groups}
            while pending:
                done, pending = wait(pending, SAY_EVERY, FIRST_EXCEPTION)
                for future in done:
                    future.result()
                if pending:
                    self._say()
        finally:
            pool.shutdown(cancel_futures=True)
        said = [problem for number in sorted(self._problems) for problem in self._problems[number]]
        return list(dict.fromkeys(said))

    def _say(self) -> None:
        count = len(self._source.names)
        log.info("Read and checked %d of %d images (%d %%).", self._done, count, 100 * self._done // count)

    def _group(self, numbers: Sequence[int]) -> None:
        for number, loaded in zip(numbers, self._source.load(numbers), strict=True):
            self._done += 1  # for the log only: a lost count does not matter
            if not isinstance(loaded, Example):
                self._problems[number] = loaded
                continue
            example = resized(loaded, self._settings.resize)
            row = self._table[number]
            row["height"], row["width"] = example.mask.shape
            row["bytes"] = example.image.dtype.itemsize
            row["brightest"] = example.image.max()
            first = int(example.mask.flat[0])
            row["only_class"] = first if (example.mask == first).all() else -1
            self._keeper.put(number, example)


def _decoded(source: Source, store: Store, table: Table, settings: DataSettings) -> Decoded:
    deep = bool((table["bytes"] == 2).any())
    return Decoded(source, store, table, float(settings.max_value or (65535 if deep else 255)), deep)


def _warn(source: Source, table: Table, settings: DataSettings) -> None:
    """Of what can be trained on, and may still be a mistake."""
    deep = bool((table["bytes"] == 2).any())
    white = settings.max_value or (65535 if deep else 255)
    for ignored, what in ((False, "show a single class"), (True, "consist of ignored pixels only")):
        alone = np.flatnonzero((table["only_class"] == IGNORED) if ignored else table["only_class"] >= 0)
        if not ignored:
            alone = alone[table["only_class"][alone] != IGNORED]
        if len(alone):
            log.warning(
                "%d of %d masks %s: %s.",
                len(alone),
                len(table),
                what,
                listing([source.names[int(n)] for n in alone]),
            )
    scale = np.where(table["bytes"] == 1, 257 if deep else 1, 1)
    brightest = int((table["brightest"] * scale).max(initial=0))
    if brightest > white:
        log.warning("Pixels reach %d, above data.max_value=%g: they are taken for white.", brightest, white)
    elif deep and settings.max_value is None and 0 < brightest < 16384:
        log.warning(
            "The images have 16 bit, but their brightest pixel is %d, so that a model sees them nearly black; "
            "data.max_value=%d makes that one white.",
            brightest,
            brightest,
        )


def _fingerprint(source: Source, settings: DataSettings) -> str:
    meant = (
        "unet pixels 1",
        settings.name,
        settings.channels,
        settings.mask_values,
        settings.ignore_values,
        settings.resize,
        source.fingerprint,
    )
    return hashlib.sha256(repr(meant).encode()).hexdigest()
