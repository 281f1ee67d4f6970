"""The table that is drawn over itself in a terminal, with the sweep's title above it."""

from __future__ import annotations

import sys
from contextlib import ExitStack

from rich.console import Console, Group
from rich.control import Control
from rich.live import Live
from rich.text import Text

from hydra_gce.display.head import Head
from hydra_gce.display.logs import logs_above
from hydra_gce.display.table import live_lines
from hydra_gce.view import SweepView


class LiveTable:
    """Draws when it is told to, in the size that the terminal has then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._until_stopped = ExitStack()
        self._head = Head()
        self._width = 0

    def show(self, view: SweepView, remaining: float | None) -> None:
        width, height = self._console.size
        if self._live is not None and width < self._width:
            self._wipe()
        self._width = width
        for line in self._head.new_lines(view, width):  # above the table, where it stays
            self._console.print(line, soft_wrap=True, highlight=False)
        lines = live_lines(view, width, height - 1, remaining)
        self._started().update(Group(*lines), refresh=True)

    def stop(self) -> None:
        """Takes the table away; the next ``show`` draws it again."""
        self._until_stopped.close()
        self._live = None

    def _wipe(self) -> None:
        """A narrower terminal has wrapped what stood there, and where the table begins is not known any more."""
        self.stop()
        self._console.control(Control.clear(), Control.home())
        self._head = Head()

    def _started(self) -> Live:
        if self._live is None:
            before = (sys.stdout, sys.stderr)
            self._live = Live(
                Text(""),
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
