"""Shards give what the folder gave that they were written from, and torn ones are named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unet.data_sources.conftest import image_of, mask_of, save
from unet.data import shards as shards_module
from unet.data.dataset import read_dataset
from unet.data.examples import IGNORED, Dataset
from unet.errors import DatasetError
from unet.settings import DataSettings

tf = pytest.importorskip("tensorflow")

from unet.data import write_tfrecord  # noqa: E402 (after the check for TensorFlow)

INDEX = "index.json"


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "shards"


@pytest.fixture
def sharded(settings: DataSettings, into: Path) -> DataSettings:
    """Six examples in three shards."""
    write_tfrecord.write_shards(all_of(settings), str(into), 4200)
    return replace(settings, name="tfrecord", folder=str(into))


def all_of(settings: DataSettings) -> DataSettings:
    return replace(settings, train="*", validation="", crop=1)


def shard(folder: Path, number: int = 0) -> Path:
    return sorted(folder.glob("*.tfrecord"))[number]


def same(one: Dataset, other: Dataset) -> None:
    for part in ("training", "validation", "test"):
        first, second = getattr(one, part), getattr(other, part)
        assert tuple(first.names) == tuple(second.names)
        assert first.white == second.white
        for index in range(len(first)):
            np.testing.assert_array_equal(first.read(index).image, second.read(index).image)
            np.testing.assert_array_equal(first.read(index).mask, second.read(index).mask)


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("cache", ["memory", "file", "none"])
def test_shards_give_what_the_folder_gives(
    settings: DataSettings, sharded: DataSettings, into: Path, cache: str, indexed: bool
) -> None:
    assert len(list(into.glob("data-*-of-00003.tfrecord"))) == 3
    if not indexed:
        (into / INDEX).unlink()
    for changed in (
        {},
        {"train": "5,1", "validation": "0", "test": "2-3"},
        {"validation": "", "folds": 3, "fold": 1},
    ):
        same(
            read_dataset(replace(settings, **changed)), read_dataset(replace(sharded, cache=cache, **changed))
        )


def test_16_bit_colour_and_ignored_pixels_survive(settings: DataSettings, folder: Path, into: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (36, 40, 3), np.uint16)
    (folder / "images/0.png").write_bytes(tf.io.encode_png(deep).numpy())
    mask = np.where(mask_of(0) > 0, 1000, 3).astype(np.uint16)
    mask[:5] = 7
    save(folder / "masks/0.png", mask)
    settings = replace(
        settings, train="0", validation="", mask_values=[3, 1000], ignore_values=[7], channels=3, crop=8
    )

    write_tfrecord.write_shards(settings, str(into), 10**6)

    training = read_dataset(replace(settings, name="tfrecord", folder=str(into))).training
    np.testing.assert_array_equal(training.read(0).image, deep)
    np.testing.assert_array_equal(training.read(0).mask[5:], mask_of(0)[5:] // 255)
    assert (training.read(0).mask[:5] == IGNORED).all()


def test_tensorflow_reads_the_shards_too(sharded: DataSettings, into: Path) -> None:
    names = []
    for record in tf.data.TFRecordDataset([str(path) for path in sorted(into.glob("*.tfrecord"))]):
        found = tf.io.parse_single_example(
            record, {name: tf.io.FixedLenFeature([], tf.string) for name in ("image", "mask", "name")}
        )
        number = int(found["name"].numpy())
        np.testing.assert_array_equal(tf.io.decode_png(found["image"])[..., 0], image_of(number))
        np.testing.assert_array_equal(tf.io.decode_png(found["mask"])[..., 0], mask_of(number))
        names.append(number)
    assert names == [0, 1, 2, 3, 4, 5]


def test_shards_are_scanned_once(sharded: DataSettings, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (into / INDEX).unlink()
    read_dataset(sharded)
    monkeypatch.setattr(shards_module, "data_of", lambda *_: pytest.fail("scanned again"))
    monkeypatch.setattr("unet.data.tfrecord.scan", lambda *_: pytest.fail("scanned again"))
    with pytest.raises(DatasetError, match="selects no image"):
        read_dataset(replace(sharded, validation="nothing"))


def test_records_larger_than_what_is_read_at_once_are_scanned(
    sharded: DataSettings, settings: DataSettings, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (into / INDEX).unlink()
    monkeypatch.setattr(shards_module, "_BLOCK", 700)
    same(read_dataset(sharded), read_dataset(settings))


def test_an_index_of_other_shards_is_not_believed(
    sharded: DataSettings, settings: DataSettings, into: Path
) -> None:
    index = json.loads((into / INDEX).read_text())
    for about in index["shards"].values():
        about["size"] += 1
    (into / INDEX).write_text(json.dumps(index))
    same(read_dataset(sharded), read_dataset(settings))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 255
    path.write_bytes(data)


def record_of(path: Path, **features: bytes) -> None:
    """One more shard, of one record."""
    values = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for name, value in features.items()
    }
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(tf.train.Example(features=tf.train.Features(feature=values)).SerializeToString())


def compressed(path: Path) -> None:
    path.unlink()
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        writer.write(b"something")


def remove_shards(root: Path) -> None:
    for path in root.glob("*.tfrecord"):
        path.unlink()


PNG = tf.io.encode_png(image_of(0)[..., np.newaxis]).numpy()
MASK = tf.io.encode_png(mask_of(0)[..., np.newaxis]).numpy()

BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut off": (
        lambda root: shard(root, 1).write_bytes(shard(root, 1).read_bytes()[:-9]),
        r"data-00001-of-00003.tfrecord is cut off in record 1; write it again",
    ),
    "damaged data": (
        lambda root: flip(shard(root, 2), 300),
        r"data-00002-of-00003.tfrecord is damaged: its checksum is wrong; write it again.*\(record 0\)",
    ),
    "no shard": (
        lambda root: shard(root).write_bytes(b"hello, this is a text, and a long one"),
        r"data-00000-of-00003.tfrecord is no TFRecord file, or a compressed one; write it with python -m",
    ),
    "compressed": (lambda root: compressed(shard(root)), r"is no TFRecord file, or a compressed one"),
    "missing": (
        lambda root: shard(root, 1).unlink(),
        r"of the 3 shards data-\*-of-00003 these are missing: 1; copy the folder again",
    ),
    "twice the same name": (
        lambda root: record_of(root / "more.tfrecord", image=PNG, mask=MASK, name=b"0"),
        r"both have an example '0'; write the shards again with different names",
    ),
    "no name": (
        lambda root: record_of(root / "more.tfrecord", image=PNG, mask=MASK),
        r"more.tfrecord has a record without the feature 'name'; it has image, mask",
    ),
    "other features": (
        lambda root: record_of(root / "more.tfrecord", picture=PNG, label=MASK, name=b"6"),
        r"more.tfrecord record 6: has no feature 'image' with the bytes of an image; it has label, name, picture",
    ),
    "torn image": (
        lambda root: record_of(root / "more.tfrecord", image=PNG[:200], mask=MASK, name=b"6"),
        r"more.tfrecord record 6: its image cannot be read as an image",
    ),
    "other size": (
        lambda root: record_of(
            root / "more.tfrecord",
            image=PNG,
            mask=tf.io.encode_png(mask_of(0)[:9, :, None]).numpy(),
            name=b"6",
        ),
        r"more.tfrecord record 6: its image is 40x36 and its mask 40x9",
    ),
    "other values": (
        lambda root: record_of(root / "more.tfrecord", image=PNG, mask=PNG, name=b"6"),
        r"more.tfrecord record 6: its mask has the values .* which are no class; data.mask_values",
    ),
    "no shards": (
        remove_shards,
        r"no file in .* ends in .tfrecord; python -m unet.data.write_tfrecord FOLDER",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_shards_are_said_with_their_names(sharded: DataSettings, into: Path, kind: str) -> None:
    change, expected = BAD[kind]
    (into / INDEX).unlink()
    change(into)
    with pytest.raises(DatasetError, match=expected):
        read_dataset(replace(sharded, train="*", validation=""))


def test_damage_is_found_with_an_index_too(sharded: DataSettings, into: Path) -> None:
    flip(shard(into, 2), 300)
    with pytest.raises(DatasetError, match=r"data-00002-of-00003.tfrecord is damaged"):
        read_dataset(sharded)


def run(*arguments: str) -> int:
    return write_tfrecord.main(list(arguments))


def test_the_tool_writes_what_can_be_trained_on(
    settings: DataSettings, folder: Path, into: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert run(str(folder), str(into), "--mask-values", "0,255", "--classes", "a,b", "--only", "0-4") == 0
    assert f"Wrote 1 shards into {into}. Train on them with data=tfrecord data.folder={into}" in caplog.text
    assert sorted(path.name for path in into.iterdir()) == ["data-00000-of-00001.tfrecord", INDEX]
    assert not into.with_name("shards.partial").exists()
    training = read_dataset(
        replace(settings, name="tfrecord", folder=str(into), train="*", validation="")
    ).training
    assert tuple(training.names) == ("0", "1", "2", "3", "4")


def test_the_tool_writes_behind_an_address(settings: DataSettings, folder: Path, tmp_path: Path) -> None:
    address = f"ram://{tmp_path.name}/shards"
    assert run(str(folder), address) == 0
    same(read_dataset(replace(settings, name="tfrecord", folder=address)), read_dataset(settings))


def test_the_tool_names_bad_data_and_writes_nothing(
    folder: Path, into: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "images/3.png").write_text("hello")
    assert run(str(folder), str(into)) == 1
    assert "images/3.png cannot be read as an image" in caplog.text
    assert not into.exists()


def test_the_tool_does_not_write_among_other_files(
    folder: Path, into: Path, caplog: pytest.LogCaptureFixture
) -> None:
    into.mkdir()
    (into / "precious.txt").write_text("keep me")
    assert run(str(folder), str(into)) == 1
    assert "there are files in it already; name a new folder" in caplog.text


def test_a_tool_that_is_ended_leaves_no_shard_under_its_name(
    settings: DataSettings, folder: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(*_: object) -> object:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(write_tfrecord, "index_text", torn)
        with pytest.raises(KeyboardInterrupt):
            write_tfrecord.write_shards(all_of(settings), str(into), 4200)
    assert not into.exists()
    write_tfrecord.write_shards(all_of(settings), str(into), 4200)
    same(read_dataset(replace(settings, name="tfrecord", folder=str(into))), read_dataset(settings))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--mask-values", "0,x"), "argument --mask-values: invalid list of numbers value: '0,x'"),
        (("--shard-mb", "0"), "argument --shard-mb: 0 is less than 1"),
        (("--channels", "2"), "argument --channels: invalid choice: 2"),
    ],
)
def test_the_tool_refuses_what_makes_no_sense(
    folder: Path, into: Path, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(str(folder), str(into), *arguments)
    assert said in capsys.readouterr().err


def test_the_tool_names_a_setting_that_contradicts(
    folder: Path, into: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(str(folder), str(into), "--mask-values", "0,255", "--classes", "a,b,c") == 1
    assert "data.mask_values is [0, 255]; it has to be one different value for each of the 3" in caplog.text


def test_help_is_quick_and_needs_no_tensorflow() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "unet.data.write_tfrecord", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "FOLDER" in done.stdout
    assert "tensorflow" not in done.stderr
