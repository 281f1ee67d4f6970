"""How a person sees a sweep: a live table in a terminal, one line per event elsewhere, a table at the end.

with Display.for_terminal(sys.stdout) as display:
    display.update(view)   # as often as there is something new
    display.close(view)    # the end table
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import IO, cast

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from hydra_gce.display.ending import end_lines
from hydra_gce.display.head import Head
from hydra_gce.display.logs import logs_above
from hydra_gce.display.pace import Pace
from hydra_gce.display.plain import PlainLines
from hydra_gce.display.stream import LenientStream
from hydra_gce.display.table import live_lines
from hydra_gce.view import SweepView

__all__ = ["Display"]


class Display:
    """One sweep on one console. Draws when it is told to, takes the time from the view, and has no thread.

    A terminal that goes away (``| head``, a closed window) makes it quiet; it never raises because of one.

    :param live: a table that is drawn over itself; ``None`` = if the console is a terminal that can.
    """

    def __init__(self, console: Console, *, live: bool | None = None) -> None:
        self._stream = LenientStream(console.file)
        console.file = cast("IO[str]", self._stream)
        self._console = console
        self._is_live = console.is_terminal and not console.is_dumb_terminal if live is None else live
        self._live: Live | None = None
        self._until_stopped = ExitStack()
        self._head = Head()
        self._plain = PlainLines()
        self._pace = Pace()
        self._closed = False

    @classmethod
    def for_terminal(
        cls, stream: IO[str], environ: Mapping[str, str] = os.environ, *, lines: bool = False
    ) -> Display:
        """What suits ``stream``: live in a terminal; lines in a pipe, a dumb terminal, a CI run, and if asked for."""
        in_ci = environ.get("CI", "").lower() not in ("", "0", "false")
        console = Console(
            file=stream, highlight=False, force_jupyter=False, legacy_windows=False, _environ=environ
        )
        live = stream.isatty() and not console.is_dumb_terminal and not in_ci and not lines
        return cls(console, live=live)

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_live()

    def update(self, view: SweepView) -> None:
        """Shows what is new since the last time."""
        if self._closed or self._stream.gone:
            return
        if not self._is_live:
            self._print([Text(line) for line in self._plain.lines(view)])
            return
        remaining = self._pace.remaining(view)
        width, height = self._console.size
        self._print(self._head.new_lines(view, width))  # above the table, where it stays
        lines = live_lines(view, width, height - 1, remaining)
        self._started_live().update(Group(*lines), refresh=True)

    def close(self, view: SweepView) -> None:
        """Takes the live table away and prints the end table. Once: what comes after it is not shown."""
        if self._closed:
            return
        if not self._is_live:
            self.update(view)
        self._stop_live()
        self._closed = True
        width = self._console.width if self._is_live or self._console.is_terminal else None
        if self._is_live:  # elsewhere they stand among the lines already
            self._print([Text(note) for note in view.notes])
        self._print(end_lines(view, width))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The terminal belongs to the caller meanwhile (a question, say). The next update draws again."""
        self._stop_live()
        yield

    def _print(self, lines: list[Text]) -> None:
        for line in lines:
            self._console.print(line, soft_wrap=True, highlight=False)

    def _started_live(self) -> Live:
        if self._live is None:
            before = (sys.stdout, sys.stderr)
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                # A stream that does not go to the terminal must not be led there.
                redirect_stdout=sys.stdout.isatty(),
                redirect_stderr=sys.stderr.isatty(),
                vertical_overflow="crop",
            )
            self._until_stopped.enter_context(self._live)
            self._until_stopped.enter_context(logs_above(before))
        return self._live

    def _stop_live(self) -> None:
        self._until_stopped.close()
        self._live = None
