"""Log lines above the live table, not in it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def logs_above(before: tuple[TextIO, TextIO]) -> Iterator[None]:
    """Log handlers that kept ``before``, the stdout and stderr of earlier, write to those of now meanwhile.

    Hydra sets its console handler up before a launcher starts: it holds the stream that the table is on.
    """
    moved: list[tuple[logging.StreamHandler[TextIO], TextIO]] = []
    streams = list(zip(before, (sys.stdout, sys.stderr), strict=True))
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:
            for old, new in streams:
                if handler.stream is old and new is not old:
                    handler.setStream(new)
                    moved.append((handler, old))
                    break
    try:
        yield
    finally:
        for handler, stream in moved:
            handler.setStream(stream)
