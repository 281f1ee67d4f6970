"""What a person sees of a sweep is in the logs, too: those that Hydra was told to write, else ``hydra-gce.log``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from hydra_gce.display.plain import Event

FILE_NAME = "hydra-gce.log"
_FORMAT = "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"  # Hydra's own
_LOGGER = "hydra_gce.sweep"


class SweepLog:
    """Writes events to all handlers of Hydra's logging but those of the console, where they are shown already.

    ``directory``: where ``hydra-gce.log`` goes if none of those handlers writes a file; None for no file of ours.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._logger = logging.getLogger(_LOGGER)
        self._undo: ExitStack | None = None

    def write(self, event: Event) -> None:
        if self._undo is None:
            self._undo = self._opened()
        if self._logger.hasHandlers():
            self._logger.log(event.level, "%s", event.text)

    @property
    def is_verbose(self) -> bool:
        """As ``hydra.verbose`` makes it."""
        return self._logger.isEnabledFor(logging.DEBUG)

    def close(self) -> None:
        if self._undo is not None:
            self._undo.close()
        self._undo = None

    def _opened(self) -> ExitStack:
        undo = ExitStack()
        handlers = list(_handlers_of(self._logger))
        for handler in filter(_is_console, handlers):
            handler.addFilter(_not_ours)
            undo.callback(handler.removeFilter, _not_ours)
        if self._directory is not None and not any(isinstance(one, logging.FileHandler) for one in handlers):
            self._add_file(self._directory / FILE_NAME, undo)
        return undo

    def _add_file(self, path: Path, undo: ExitStack) -> None:
        try:
            handler = _File(path, encoding="utf-8")
        except OSError:  # the sweep can do without
            return
        handler.setFormatter(logging.Formatter(_FORMAT))
        root = logging.getLogger()
        root.addHandler(handler)
        undo.callback(handler.close)
        undo.callback(root.removeHandler, handler)
        if not self._logger.isEnabledFor(logging.INFO):  # nobody has set logging up
            before = self._logger.level
            self._logger.setLevel(logging.INFO)
            undo.callback(self._logger.setLevel, before)


class _File(logging.FileHandler):
    """A full disk costs lines of a log; it is nothing to talk of on the terminal, line by line."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


def _handlers_of(logger: logging.Logger) -> Iterator[logging.Handler]:
    """Its own, and those that its records go up to."""
    at: logging.Logger | None = logger
    while at is not None:
        yield from at.handlers
        at = at.parent if at.propagate else None


def _is_console(handler: logging.Handler) -> bool:
    is_stream = isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
    return is_stream or hasattr(handler, "console")  # rich's


def _not_ours(record: logging.LogRecord) -> bool:
    return record.name != _LOGGER
