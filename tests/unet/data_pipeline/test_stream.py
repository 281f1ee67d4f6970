"""Batches: which images, in which order, the same ones again from any step and with any number of threads."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.unet.data_pipeline.memory import (
    EVERYTHING,
    STILL,
    InMemory,
    assert_same,
    plain,
    stream,
    take,
    twins,
)
from unet.data.examples import Example
from unet.data.pipeline import Batch
from unet.errors import DatasetError
from unet.settings import AugmentSettings

EXACT = AugmentSettings(brightness=0.2)


@pytest.mark.parametrize("augment", [STILL, EXACT, EVERYTHING], ids=["still", "exact", "everything"])
@pytest.mark.parametrize("border_weight", [0.0, 10.0], ids=["", "border"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_has_the_shapes_and_ranges_that_the_model_takes(
    augment: AugmentSettings, border_weight: float, channels: int
) -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (40, 50, channels), dtype=np.uint8)
    examples = InMemory([Example(image, random.integers(0, 2, (40, 50), dtype=np.uint8))])
    [(images, masks, *border)] = take(stream(examples, augment, border_weight, channels=channels), 1)

    assert images.shape == (4, 16, 16, channels)
    assert images.dtype == np.float32
    assert 0 <= images.min() < images.max() <= 1
    assert masks.shape == (4, 16, 16)
    assert masks.dtype == np.int32
    assert set(np.unique(masks)) == {0, 1}
    assert len(border) == (border_weight > 0)
    for factors in border:
        assert factors.shape == (4, 16, 16)
        assert factors.dtype == np.float32
        assert factors.min() >= 1


def test_each_image_comes_once_in_each_pass_and_passes_differ() -> None:
    batches = take(stream(plain(range(6))), 6)  # four passes of six images
    order = np.concatenate([masks[:, 0, 0] for _, masks in batches]).reshape(4, 6)

    assert all(sorted(one_pass) == [0, 1, 2, 3, 4, 5] for one_pass in order.tolist())
    assert len({tuple(one_pass) for one_pass in order.tolist()}) > 1


def test_without_short_batches_a_pass_goes_on_in_the_batch_where_the_last_one_ends() -> None:
    plain_stream = stream(plain(range(6)))
    assert plain_stream.steps_per_pass == 1.5
    assert [len(images) for images, _ in take(plain_stream, 4)] == [4, 4, 4, 4]


def test_with_short_batches_a_pass_ends_with_what_is_left_of_it() -> None:
    short = stream(plain(range(6)), short_batches=True)
    batches = take(short, 6)

    assert short.steps_per_pass == 2
    assert [len(images) for images, _ in batches] == [4, 2, 4, 2, 4, 2]
    for first, second in zip(batches[::2], batches[1::2], strict=True):
        assert sorted([*first[1][:, 0, 0], *second[1][:, 0, 0]]) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("short_batches", [False, True], ids=["filled", "short"])
@pytest.mark.parametrize("augment", [EXACT, EVERYTHING], ids=["exact", "everything"])
def test_from_any_step_on_batches_are_those_of_an_uninterrupted_sequence(
    augment: AugmentSettings, short_batches: bool
) -> None:
    whole_stream = stream(twins(7), augment, 5.0, short_batches=short_batches, batch=3)
    whole = take(whole_stream, 9)  # three passes or more, most steps in the middle of one
    for step in range(1, 9):
        again = stream(twins(7), augment, 5.0, short_batches=short_batches, batch=3)
        assert_same(take(again, min(2, 9 - step), step), whole[step : step + 2])


@pytest.mark.parametrize("augment", [EXACT, EVERYTHING], ids=["exact", "everything"])
def test_the_number_of_readers_changes_no_bit(augment: AugmentSettings) -> None:
    alone, together = (take(stream(twins(), augment, 5.0, readers=readers), 8) for readers in (1, 4))
    assert_same(alone, together)


@pytest.mark.parametrize("augment", [STILL, EXACT, EVERYTHING], ids=["still", "exact", "everything"])
def test_another_seed_gives_other_batches(augment: AugmentSettings) -> None:
    one, other = (take(stream(twins(), augment, seed=seed), 1)[0] for seed in (1, 2))
    assert not np.array_equal(one[0], other[0])


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_the_first_and_the_last_seed_work(seed: int) -> None:
    assert_same(*(take(stream(twins(), EVERYTHING, seed=seed), 2) for _ in range(2)))


def test_an_image_that_comes_twice_is_cut_and_deformed_in_another_way() -> None:
    same = InMemory(twins(1).examples)
    for augment in (STILL, EVERYTHING):
        crops = [crop.tobytes() for images, _ in take(stream(same, augment), 2) for crop in images]
        assert len(set(crops)) == 8


def test_several_steps_in_a_call_are_stacked() -> None:
    single = take(stream(twins(), EXACT, 5.0), 6, first=2)
    for number, batch in enumerate(itertools.islice(stream(twins(), EXACT, 5.0).batches(2, 3), 2)):
        assert batch.images.shape == (3, 4, 16, 16, 1)
        stacked = [tuple(tensor[k].numpy() for tensor in batch) for k in range(3)]
        assert_same(stacked, single[3 * number : 3 * number + 3])


@pytest.mark.parametrize("short_batches", [False, True], ids=["filled", "short"])
@pytest.mark.parametrize("augment", [STILL, EVERYTHING], ids=["still", "everything"])
def test_the_files_of_a_step_are_those_whose_pixels_are_in_its_batch(
    augment: AugmentSettings, short_batches: bool
) -> None:
    examples = plain([0, 40, 80, 120, 160, 200, 240])
    told = stream(examples, augment, short_batches=short_batches)
    for step, (_, masks) in enumerate(take(told, 9, first=1), start=1):
        files = [examples.files[int(value) // 40] for value in masks[:, 8, 8]]
        assert list(told.files_of(step)) == files


def test_files_of_looks_far_ahead_without_reading_anything() -> None:
    class Unreadable(InMemory):
        def read(self, index: int) -> Example:
            raise AssertionError("nothing is to be read")

    files = stream(Unreadable(plain(range(5)).examples)).files_of(10**12)
    assert len(files) == 4


@pytest.mark.parametrize("augment", [STILL, EVERYTHING], ids=["still", "everything"])
@pytest.mark.parametrize("short_batches", [False, True], ids=["filled", "short"])
def test_an_image_that_vanishes_in_mid_training_is_named_in_a_message_of_our_own(
    augment: AugmentSettings, short_batches: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    class Vanishing(InMemory):
        def read(self, index: int) -> Example:
            if index == 4:
                raise FileNotFoundError(2, "No such file or directory", self.files[index])
            return super().read(index)

    vanishing = stream(
        Vanishing(plain(range(6)).examples), augment, folder="some/where", short_batches=short_batches
    )
    missing = next(step for step in itertools.count() if "images/4.png" in vanishing.files_of(step))
    batches = vanishing.batches(0)
    assert len([next(batches) for _ in range(missing)]) == missing  # those before it come whole
    with pytest.raises(DatasetError, match=r"images/4\.png or its mask cannot be read any more") as raised:
        next(batches)
    assert raised.value.folder == "some/where"
    assert "Traceback" not in capfd.readouterr().err  # nor does TensorFlow write one


def test_a_file_that_is_put_back_is_read_again() -> None:
    class Replaced(InMemory):
        is_there = False

        def read(self, index: int) -> Example:
            if not self.is_there:
                raise OSError("gone")
            return super().read(index)

    examples = Replaced(plain(range(3)).examples)
    replaced = stream(examples)
    with pytest.raises(DatasetError):
        next(replaced.batches(0))
    examples.is_there = True
    assert_same(take(replaced, 3), take(stream(plain(range(3))), 3))


def test_an_error_of_the_source_itself_goes_through_as_it_is() -> None:
    class Broken(InMemory):
        def read(self, index: int) -> Example:
            raise DatasetError("folder", [f"{self.files[index]} is torn"])

    with pytest.raises(DatasetError, match="is torn"):
        take(stream(Broken(plain(range(3)).examples), EVERYTHING), 1)


@pytest.mark.parametrize("steps_per_call", [1, 3])
def test_the_failure_that_is_told_is_that_of_the_image_which_comes_first(steps_per_call: int) -> None:
    class Broken(InMemory):
        def read(self, index: int) -> Example:
            raise OSError("gone")

    broken = stream(Broken(plain(range(8)).examples), readers=8, batch=2)
    with pytest.raises(DatasetError) as raised:
        next(broken.batches(5, steps_per_call))
    assert broken.files_of(5)[0] in str(raised.value)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        (np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20), np.uint8)),
        (np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)),
        (np.zeros((20, 20, 1), np.uint8), np.zeros((20, 21), np.uint8)),
        (np.zeros((20, 20, 1), np.float32), np.zeros((20, 20), np.uint8)),
    ],
    ids=["colour", "no channels", "other size", "float"],
)
def test_an_image_that_is_not_what_the_source_promised_is_named(
    image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    mask: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> None:
    with pytest.raises(DatasetError, match=r"images/0\.png came as"):
        take(stream(InMemory([Example(image, mask)])), 1)


@pytest.mark.parametrize("border_weight", [0.0, 10.0], ids=["", "border"])
@pytest.mark.parametrize("steps_per_call", [1, 2])
def test_a_batch_can_be_split_mapped_and_given_to_a_compiled_function(
    border_weight: float, steps_per_call: int
) -> None:
    batch = next(stream(twins(), STILL, border_weight).batches(0, steps_per_call))

    @tf.function  # type: ignore[untyped-decorator]
    def half(batch: Batch) -> Any:
        mapped = tf.nest.map_structure(lambda tensor: tensor[: len(tensor) // 2], batch)
        flat = [tf.split(tensor, 2)[0] for tensor in tf.nest.flatten(batch)]
        again = tf.nest.pack_sequence_as(batch, flat)
        tf.debugging.assert_equal(again.images, mapped.images)
        return tf.map_fn(lambda one: one, again)

    halved = half(batch)
    assert isinstance(halved, Batch)
    np.testing.assert_array_equal(halved.images, batch.images[: len(batch.images) // 2])
    assert (halved.seen(0)[1] is None) == (border_weight == 0)


def test_what_a_network_without_padding_sees_is_the_middle() -> None:
    batch = next(stream(twins(), STILL, 10.0).batches(0, 2))
    masks, border = batch.seen(3)
    np.testing.assert_array_equal(masks, batch.masks[:, :, 3:-3, 3:-3])
    np.testing.assert_array_equal(border, np.asarray(batch.border)[:, :, 3:-3, 3:-3])
    assert batch.seen(0)[0] is batch.masks
    assert Batch(batch.images, batch.masks).seen(3)[1] is None


def test_decoding_at_each_read_copies_only_what_a_crop_needs() -> None:
    class Counted(np.ndarray[tuple[int, ...], np.dtype[np.uint8]]):
        largest = 0

        def __getitem__(self, key: Any) -> Any:
            part = super().__getitem__(key)
            Counted.largest = max(Counted.largest, int(np.size(part)))
            return np.asarray(part)

    image = np.zeros((4000, 3000, 1), np.uint8).view(Counted)
    mask = np.zeros((4000, 3000), np.uint8)
    for augment in (STILL, replace(EVERYTHING, noise=0.0)):
        take(stream(InMemory([Example(image, mask)]), augment), 3)
    assert 16 * 16 <= Counted.largest < 64 * 64


def test_reads_of_one_image_are_as_many_as_its_crops() -> None:
    reads: Counter[int] = Counter()

    class Counting(InMemory):
        def read(self, index: int) -> Example:
            reads[index] += 1
            return super().read(index)

    take(stream(Counting(plain(range(4)).examples), EVERYTHING, 10.0, readers=1), 5)
    assert max(reads.values()) - min(reads.values()) <= 1


PROGRAM = """
import atexit, gc, sys

@atexit.register  # the first to be registered is the last to be called
def look():
    print(sum(type(one).__name__ == "OwnedIterator" for one in gc.get_objects()), "iterators left")

import tensorflow as tf
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.config.threading.set_intra_op_parallelism_threads(1)
from tests.unet.data_pipeline.memory import EVERYTHING, stream, twins
kernel = tf.Variable(tf.ones([3, 3, 1, 1]))

@tf.function
def step(images):
    return tf.reduce_sum(tf.nn.conv2d(images, kernel, 1, "SAME"))

for short_batches in (False, True):
    batches = stream(twins(), EVERYTHING, 10.0, readers=int(sys.argv[1]), short_batches=short_batches).batches(0)
    for _ in range(20):
        step(next(batches).images)
print("done")
"""


@pytest.mark.parametrize("readers", ["1", pytest.param("3", marks=pytest.mark.slow)])
def test_a_process_with_one_thread_for_operations_trains_and_ends(readers: str) -> None:
    root = Path(__file__).parents[3]
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, readers], cwd=root, capture_output=True, text=True, timeout=120
    )
    # An iterator that outlives Python waits for readers that wait for Python: the process would hang, now and then.
    assert (ended.returncode, ended.stdout) == (0, "done\n0 iterators left\n"), ended.stderr
