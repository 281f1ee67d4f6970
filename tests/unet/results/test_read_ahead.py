"""Reading the next while the last is worked on."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from unet.read_ahead import read_ahead


def test_all_items_come_in_order_also_those_that_count_as_false() -> None:
    assert list(read_ahead(iter([0, None, "", 3]))) == [0, None, "", 3]
    assert list(read_ahead(iter([]))) == []


def test_the_next_item_is_made_while_the_last_is_worked_on_and_no_more() -> None:
    made = [threading.Event() for _ in range(4)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    numbers = read_ahead(items())
    assert next(numbers) == 0
    assert made[1].wait(10)
    assert not made[2].is_set()
    assert next(numbers) == 1
    assert made[2].wait(10)
    assert not made[3].is_set()


def test_an_error_comes_out_where_the_item_would_have() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    numbers = read_ahead(items())
    assert next(numbers) == 1
    with pytest.raises(OSError, match="gone"):
        next(numbers)
