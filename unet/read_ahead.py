"""Reads the next while the last is worked on."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")


def read_ahead(items: Iterator[_T]) -> Iterator[_T]:
    """The same items in the same order, one of them made in advance, in another thread."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as reader:
        upcoming = reader.submit(_next, items)
        while item := upcoming.result():
            upcoming = reader.submit(_next, items)
            yield item[0]


def _next(items: Iterator[_T]) -> tuple[_T] | None:
    try:
        return (next(items),)
    except StopIteration:
        return None
