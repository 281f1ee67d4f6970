"""Decoded images are kept where there is room, found again by the next training, and never half-written."""

from __future__ import annotations

import logging
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unet.data_sources.conftest import image_of, mask_of, save
from unet.data import images, reading
from unet.data.cache import Room
from unet.data.dataset import read_dataset
from unet.data.examples import Dataset
from unet.errors import DatasetError
from unet.settings import DataSettings

KINDS = ("memory", "file", "none")
PLENTY = Room(10**9, 10**9)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were opened as images."""
    opened: list[str] = []
    original = images.ImageFile.__init__

    def opening(self: images.ImageFile, source: str | bytes) -> None:
        opened.append(str(source))
        original(self, source)

    monkeypatch.setattr(images.ImageFile, "__init__", opening)
    return opened


def cache_files(settings: DataSettings) -> list[Path]:
    folder = Path(settings.cache_dir or "")
    return sorted(folder.iterdir()) if folder.exists() else []


def check(dataset: Dataset) -> None:
    for part, numbers in ((dataset.training, range(4)), (dataset.validation, (4, 5))):
        for index, number in enumerate(numbers):
            example = part.read(index)
            np.testing.assert_array_equal(example.image[..., 0], image_of(number))
            np.testing.assert_array_equal(example.mask, mask_of(number) // 255)


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """No file becomes larger than this: a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("kind", KINDS)
def test_examples_are_the_same_wherever_they_are_kept(settings: DataSettings, kind: str) -> None:
    dataset = read_dataset(replace(settings, cache=kind), PLENTY)
    check(dataset)
    with ThreadPoolExecutor(8) as pool:
        examples = list(pool.map(lambda number: dataset.training.read(number % 4), range(64)))
    for number, example in enumerate(examples):
        np.testing.assert_array_equal(example.image[..., 0], image_of(number % 4))


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_reading_copies_nothing(settings: DataSettings, kind: str) -> None:
    training = read_dataset(replace(settings, cache=kind)).training
    assert np.shares_memory(training.read(1).image, training.read(1).image)
    assert np.shares_memory(training.read(1).mask, training.read(1).mask)


@pytest.mark.parametrize(
    ("room", "kept", "said"),
    [
        (Room(10**6, 10**6), "memory", "kept in memory (17 kB, 17 kB fit into 1.0 MB of free memory)"),
        (Room(9000, 10**6), "file", "17 kB are too much for 9 kB of free memory"),
        (Room(9000, 9000), "none", "data.cache_dir may name a larger disk"),
    ],
)
def test_auto_takes_what_has_room_and_says_why(
    settings: DataSettings, caplog: pytest.LogCaptureFixture, room: Room, kept: str, said: str
) -> None:
    caplog.set_level(logging.INFO)

    check(read_dataset(replace(settings, cache="auto"), room))

    lines = [record.getMessage() for record in caplog.records if "Decoded images" in record.getMessage()]
    assert len(lines) == 1 and said in lines[0]
    assert bool(cache_files(settings)) == (kept == "file")


def test_the_next_training_finds_the_file_and_decodes_nothing(
    settings: DataSettings, decoded: list[str]
) -> None:
    settings = replace(settings, cache="file")
    read_dataset(settings)
    decoded.clear()

    check(read_dataset(settings))
    check(read_dataset(replace(settings, cache="auto"), Room(0, 0)))
    check(read_dataset(replace(settings, crop=8, batch=3, max_value=200)))
    assert not decoded


def test_folds_share_a_file(settings: DataSettings, decoded: list[str]) -> None:
    settings = replace(settings, cache="file", train="*", validation="", folds=3)
    read_dataset(settings)
    decoded.clear()
    read_dataset(replace(settings, fold=2))
    assert not decoded


def test_what_was_found_out_is_said_again_with_the_file(
    settings: DataSettings, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(folder / "masks/1.png", np.zeros((36, 40), np.uint8))
    for _ in range(2):
        caplog.clear()
        read_dataset(replace(settings, cache="file"))
        assert "1 of 6 masks show a single class: 1." in caplog.text
    with pytest.raises(DatasetError, match="smaller than a crop"):
        read_dataset(replace(settings, cache="file", crop=64))


@pytest.mark.parametrize("change", ["image", "mask", "values", "channels", "resize"])
def test_a_change_is_decoded_again(
    settings: DataSettings, folder: Path, decoded: list[str], change: str
) -> None:
    settings = replace(settings, cache="file")
    read_dataset(settings)
    decoded.clear()

    if change == "image":
        save(folder / "images/0.png", image_of(77))
    elif change == "mask":
        save(folder / "masks/0.png", mask_of(7))
    changed = {
        "values": replace(settings, mask_values=[255, 0]),
        "channels": replace(settings, channels=3),
        "resize": replace(settings, resize=20),
    }.get(change, settings)
    example = read_dataset(changed).training.read(0)

    assert decoded
    assert example.image.shape[-1] == changed.channels
    if change == "image":
        np.testing.assert_array_equal(example.image[..., 0], image_of(77))


@pytest.mark.parametrize("damage", ["cut off", "longer", "other", "empty", "table"])
def test_a_file_that_is_not_whole_is_made_again(
    settings: DataSettings, decoded: list[str], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = replace(settings, cache="file")
    read_dataset(settings)
    (path,) = cache_files(settings)
    whole = path.read_bytes()
    torn = {
        "cut off": whole[:-100],
        "longer": whole + b"more",
        "other": os.urandom(len(whole)),
        "empty": b"",
        "table": whole[:-80] + bytes([whole[-80] ^ 1]) + whole[-79:],
    }[damage]
    path.write_bytes(torn)
    decoded.clear()

    check(read_dataset(settings))

    assert decoded
    assert "is damaged; it is made again" in caplog.text
    assert path.stat().st_size == len(whole)
    decoded.clear()
    check(read_dataset(settings))
    assert not decoded


def test_a_full_disk_is_a_warning(settings: DataSettings, caplog: pytest.LogCaptureFixture) -> None:
    with small_files(8000):
        check(read_dataset(replace(settings, cache="file")))
    assert (
        "cannot be written (File too large): images are decoded each time they are used. Make room"
        in caplog.text
    )
    assert not cache_files(settings)


def test_the_disk_is_not_filled_to_the_last_byte(
    settings: DataSettings, caplog: pytest.LogCaptureFixture
) -> None:
    check(read_dataset(replace(settings, cache="file"), Room(0, 10_000)))
    assert "cannot be written (No space left on device)" in caplog.text
    assert not cache_files(settings)


def test_a_long_reading_says_how_far_it_is(
    settings: DataSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(reading, "SAY_EVERY", 0.0)
    said = threading.Event()
    say, opening = reading._Pass._say, images.ImageFile.__init__

    def saying(self: reading._Pass) -> None:
        say(self)
        said.set()

    def opening_late(self: images.ImageFile, source: str | bytes) -> None:
        assert said.wait(30)
        opening(self, source)

    monkeypatch.setattr(reading._Pass, "_say", saying)
    monkeypatch.setattr(images.ImageFile, "__init__", opening_late)
    read_dataset(settings)
    assert "Read and checked 0 of 6 images (0 %)." in caplog.text


def test_a_cache_folder_that_cannot_be_made_is_a_warning(
    settings: DataSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    check(read_dataset(replace(settings, cache="file", cache_dir=str(tmp_path / "file/below"))))
    assert "cannot be written (Not a directory)" in caplog.text


def test_bad_data_leave_no_file(settings: DataSettings, folder: Path) -> None:
    (folder / "images/3.png").write_text("hello")
    with pytest.raises(DatasetError):
        read_dataset(replace(settings, cache="file"))
    assert not cache_files(settings)


def test_old_files_are_cleared(settings: DataSettings) -> None:
    folder = Path(settings.cache_dir or "")
    folder.mkdir()
    old, left, young, other = (folder / name for name in ("a.pixels", "b.partial", "c.partial", "d.txt"))
    for path in (old, left, young, other):
        path.write_text("")
    long_ago = time.time() - 40 * 86400
    for path in (old, left, other):
        os.utime(path, (long_ago, long_ago))

    read_dataset(replace(settings, cache="file"))

    assert not old.exists() and not left.exists()
    assert young.exists() and other.exists()


def test_16_bit_examples_come_from_the_file_as_they_were(settings: DataSettings, folder: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (36, 40), np.uint16)
    save(folder / "images/0.png", deep)
    for _ in range(2):
        training = read_dataset(replace(settings, cache="file")).training
        np.testing.assert_array_equal(training.read(0).image[..., 0], deep)
        np.testing.assert_array_equal(training.read(1).image[..., 0], image_of(1).astype(np.uint16) * 257)


def test_a_file_that_changes_under_an_uncached_training_is_named(
    settings: DataSettings, folder: Path
) -> None:
    training = read_dataset(replace(settings, cache="none")).training
    (folder / "images/2.png").write_text("hello")
    with pytest.raises(DatasetError, match=r"images/2.png cannot be read as an image"):
        training.read(2)
