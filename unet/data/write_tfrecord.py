"""Writes a folder of images and masks as TFRecord shards: python -m unet.data.write_tfrecord FOLDER INTO

Many small files become few large ones, which a bucket hands out faster. Everything is checked first; the shards
get their names when they are whole.
"""

import argparse
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from unet.data.dataset import read_dataset
from unet.data.examples import IGNORED, Example, Examples
from unet.data.files import files_below, is_folder, join
from unet.data.shards import FOOTER, HEADER, INDEX, Record, framed, index_text
from unet.errors import DatasetError, UnetError
from unet.notes import without_notes
from unet.settings import DataSettings

log = logging.getLogger(__name__)


def write_shards(settings: DataSettings, into: str, shard_bytes: int) -> list[str]:
    """Write all that `settings` selects for the training.

    Returns the names of the shards.

    Raises:
        DatasetError: something is wrong with the images, or `into` is not empty.
        OSError: the disk does not take it.
    """
    if is_folder(into) and next(iter(files_below(into)), None) is not None:
        raise DatasetError(into, ["there are files in it already; name a new folder, or remove them"])
    examples = read_dataset(settings).training
    import tensorflow as tf

    partial = f"{into.rstrip('/')}.partial"
    if is_folder(partial):
        tf.io.gfile.rmtree(partial)  # of a run that was ended
    tf.io.gfile.makedirs(partial)
    shards: list[list[Record]] = []
    file = None
    for name, data in _serialized(examples, settings):
        if file is None or shards[-1][-1].end + HEADER + len(data) + FOOTER > shard_bytes:
            if file is not None:
                file.close()
            shards.append([])
            file = tf.io.gfile.GFile(join(partial, f"{len(shards) - 1}"), "wb")
        offset = shards[-1][-1].end if shards[-1] else 0
        file.write(framed(data))
        shards[-1].append(Record(name, offset, len(data)))
    if file is not None:
        file.close()
    names = [f"data-{number:05d}-of-{len(shards):05d}.tfrecord" for number in range(len(shards))]
    index = index_text(dict(zip(names, shards, strict=True)))
    tf.io.gfile.makedirs(into)
    for number, name in enumerate(names):
        tf.io.gfile.rename(join(partial, str(number)), join(into, name))
    # Last: an index is there only when all shards are.
    with tf.io.gfile.GFile(join(into, INDEX), "w") as written:
        written.write(index)
    tf.io.gfile.rmtree(partial)
    return names


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 where something is wrong with the images or the disk, after saying what."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = _parser().parse_args(arguments)
    try:
        settings = DataSettings(
            folder=given.folder,
            images=given.images,
            masks=given.masks,
            classes=given.classes or [f"class_{value}" for value in given.mask_values],
            mask_values=given.mask_values,
            ignore_values=given.ignore_values,
            channels=given.channels,
            train=given.only,
            validation="",
            crop=1,
            cache="none",
            readers=given.readers,
        )
        with without_notes(logging.getLogger("unet.data.cache")):  # nothing is kept here, on purpose
            names = write_shards(settings, given.into, given.shard_mb * 10**6)
    except UnetError as error:
        log.error("%s", error)
        return 1
    except OSError as error:
        log.error(
            "%s cannot be written (%s); nothing in it is to be used.", given.into, error.strerror or error
        )
        return 1
    log.info(
        "Wrote %d shards into %s. Train on them with data=tfrecord data.folder=%s",
        len(names),
        given.into,
        given.into,
    )
    return 0


def _serialized(examples: Examples, settings: DataSettings) -> Iterator[tuple[str, bytes]]:
    """Names and tf.train.Examples, encoded by several threads, in order."""
    import tensorflow as tf

    # As the files have them: the same data.mask_values read folder and shards.
    values = np.zeros(256, np.uint16)
    values[: len(settings.mask_values)] = settings.mask_values
    values[IGNORED] = next(iter(settings.ignore_values), 0)
    if values.max() < 256:
        values = values.astype(np.uint8)

    def bytes_feature(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def serialized(number: int) -> tuple[str, bytes]:
        example: Example = examples.read(number)
        name = examples.names[number]
        features = {
            "image": bytes_feature(tf.io.encode_png(example.image).numpy()),
            "mask": bytes_feature(tf.io.encode_png(values[example.mask][..., np.newaxis]).numpy()),
            "name": bytes_feature(name.encode()),
        }
        return name, tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()

    threads = settings.readers or os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(examples), 8 * threads):  # no more in memory than that
            yield from pool.map(serialized, range(start, min(start + 8 * threads, len(examples))))


def _parser() -> argparse.ArgumentParser:
    defaults = DataSettings()
    parser = argparse.ArgumentParser(
        prog="python -m unet.data.write_tfrecord",
        description="Write a folder of images and masks as TFRecord shards, for data=tfrecord.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )

    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",") if part.strip()]

    def words(text: str) -> list[str]:
        return [part.strip() for part in text.split(",") if part.strip()]

    numbers.__name__ = "list of numbers"  # argparse names it where the text is none
    parser.add_argument("folder", metavar="FOLDER", help="directory or gs:// address of images and masks")
    parser.add_argument("into", metavar="INTO", help="new directory or gs:// address for the shards")
    parser.add_argument(
        "--images", default=defaults.images, help="pattern of the images below FOLDER, as data.images"
    )
    parser.add_argument(
        "--masks", default=defaults.masks, help="pattern of the masks below FOLDER, as data.masks"
    )
    parser.add_argument("--only", default="*", help="names of images to write, as data.train")
    parser.add_argument(
        "--mask-values", type=numbers, default=defaults.mask_values, help="values of the classes, as 0,255"
    )
    parser.add_argument(
        "--classes", type=words, default=None, help="their names, for messages, as membrane,cell"
    )
    parser.add_argument(
        "--ignore-values", type=numbers, default=[], help="values of pixels that do not count, as 254"
    )
    parser.add_argument(
        "--channels", type=int, choices=[1, 3], default=defaults.channels, help="1: grey, 3: colour"
    )
    parser.add_argument("--shard-mb", type=_at_least_one, default=128, help="size of a shard in MB, at most")
    parser.add_argument("--readers", type=int, default=0, help="threads; 0 = as many as pay")
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


if __name__ == "__main__":
    raise SystemExit(main())
