"""What loggers say by the way, and when they had better not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_notes(logger: logging.Logger, least: int = logging.WARNING) -> Iterator[None]:
    """The logger says nothing below that level meanwhile."""
    before = logger.level
    logger.setLevel(least)
    try:
        yield
    finally:
        logger.setLevel(before)
