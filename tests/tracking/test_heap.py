"""What stood before a pile of records is left alone by the collector for so long, and no longer."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from hydra_gce.tracking.relay.heap import Heap


@pytest.fixture(autouse=True)
def nothing_stays_frozen() -> Iterator[None]:
    yield
    gc.unfreeze()


class Knot:
    """What only the collector frees."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_new_is_collected_meanwhile_and_what_was_there_afterwards() -> None:
    before = Knot()
    old = weakref.ref(before)
    with Heap() as heap:
        heap.rest()
        heap.rest()
        del before
        made = Knot()
        new = weakref.ref(made)
        del made
        gc.collect()
        assert new() is None
        assert old() is not None
    gc.collect()
    assert old() is None
    assert gc.get_freeze_count() == 0


def test_it_lasts_until_the_last_of_several_is_done() -> None:
    with Heap() as one:
        one.rest()
        with Heap() as other:
            other.rest()
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


def test_where_there_is_no_pile_nothing_happens() -> None:
    with Heap():
        assert gc.get_freeze_count() == 0


def test_what_a_program_has_frozen_for_good_stays_so() -> None:
    gc.freeze()
    with Heap() as heap:
        heap.rest()
    assert gc.get_freeze_count() > 0


def test_an_error_ends_it_too() -> None:
    with pytest.raises(RuntimeError), Heap() as heap:
        heap.rest()
        raise RuntimeError
    assert gc.get_freeze_count() == 0
