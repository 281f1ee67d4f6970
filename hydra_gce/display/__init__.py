"""How a person sees a sweep: a live table in a terminal, one line per event elsewhere, a table at the end.

with Display.for_terminal(sys.stdout) as display:
    display.update(view)   # as often as there is something new
    display.close(view)    # the end table
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, cast

from rich.console import Console
from rich.text import Text

from hydra_gce.display.ending import end_lines
from hydra_gce.display.figures import money
from hydra_gce.display.live import LiveTable
from hydra_gce.display.log import SweepLog
from hydra_gce.display.notebook import WIDTH, NotebookCell, is_notebook, is_under_notebook
from hydra_gce.display.pace import Pace
from hydra_gce.display.plain import Event, Events
from hydra_gce.display.stream import LenientStream
from hydra_gce.view import SweepView

__all__ = ["Display"]


class Display:
    """One sweep on one console. Draws when it is told to, takes the time from the view, and has no thread.

    A terminal that goes away (``| head``, a closed window) makes it quiet; it never raises because of one.

    :param live: a table that is drawn over itself; ``None`` = if the console is a terminal that can.
    :param log_dir: where ``hydra-gce.log`` is written, if Hydra's own logging writes no file.
    :param notebook: the cell's output takes the place of the console.
    """

    def __init__(
        self,
        console: Console,
        *,
        live: bool | None = None,
        log_dir: Path | None = None,
        notebook: NotebookCell | None = None,
    ) -> None:
        self._stream = LenientStream(console.file)
        console.file = cast("IO[str]", self._stream)
        self._console = console
        is_live = console.is_terminal and not console.is_dumb_terminal if live is None else live
        self._table = LiveTable(console) if is_live and notebook is None else None
        self._notebook = notebook
        self._events = Events()
        self._log = SweepLog(log_dir)
        self._pace = Pace()
        self._closed = False

    @classmethod
    def for_terminal(
        cls,
        stream: IO[str],
        environ: Mapping[str, str] = os.environ,
        log_dir: Path | None = None,
        *,
        lines: bool = False,
    ) -> Display:
        """What suits ``stream``: live in a terminal and in a notebook's cell; lines in a pipe, a dumb terminal, a CI
        run, with NO_COLOR (https://no-color.org), where a cell has started the program, and if asked for.
        """
        under_notebook, no_color = is_under_notebook(environ), environ.get("NO_COLOR", "") != ""
        console = Console(
            file=stream,
            highlight=False,
            color_system=None if no_color else "auto",
            force_jupyter=False,
            force_terminal=False if under_notebook else None,
            legacy_windows=False,
            _environ=environ,
        )
        in_ci = environ.get("CI", "").lower() not in ("", "0", "false")
        notebook = NotebookCell() if is_notebook(stream) and not lines else None
        lines = lines or in_ci or under_notebook or no_color or console.is_dumb_terminal
        return cls(console, live=stream.isatty() and not lines, log_dir=log_dir, notebook=notebook)

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def update(self, view: SweepView) -> None:
        """Shows what is new since the last time."""
        if self._closed:
            return
        remaining, expected = self._pace.remaining(view), self._pace.expected(view)
        if not view.outlook and expected is not None:
            view = replace(view, outlook=f"about {money(expected)} in all")
        events = self._news(view)
        if self._stream.gone:
            return
        if self._table is not None:
            self._table.show(view, remaining)
        elif self._notebook is not None:
            self._notebook.show(view, remaining)
        else:
            self._print([Text(str(event)) for event in events])

    def close(self, view: SweepView) -> None:
        """Takes the live table away and prints the end table. Once: what comes after it is not shown."""
        if self._closed:
            return
        self._closed = True
        events = self._news(view)
        for line in end_lines(view, None):
            self._log.write(Event(view.now, line.plain))
        self._stop()
        notes = [Text(note) for note in view.notes]
        if self._notebook is not None:
            self._notebook.end(view, [*notes, *end_lines(view, WIDTH)])
        elif (
            self._table is not None
        ):  # what went by in it is said again; elsewhere it stands among the lines already
            self._print([*notes, *end_lines(view, self._console.width)])
        else:
            self._print([Text(str(event)) for event in events])
            self._print(end_lines(view, self._console.width if self._console.is_terminal else None))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The terminal belongs to the caller meanwhile (a question, say). The next update draws again."""
        if self._table is not None:
            self._table.stop()
        yield

    def _news(self, view: SweepView) -> list[Event]:
        events = list(self._events.of(view))
        for event in events:
            self._log.write(event)
        if self._log.is_verbose:
            for event in self._events.details(view):
                self._log.write(event)
        return events

    def _stop(self) -> None:
        if self._table is not None:
            self._table.stop()
        self._log.close()

    def _print(self, lines: Sequence[Text]) -> None:
        for line in lines:
            self._console.print(line, soft_wrap=True, highlight=False)
