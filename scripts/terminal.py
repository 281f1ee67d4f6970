"""A command in a real pseudo-terminal: what its screen shows, keys that are pressed, sizes that change, pictures of it.

with Terminal(["python", "train.py", "-m", "lr=1,2"], 80, 24) as terminal:
    terminal.wait_for(r"RUNNING.*RUNNING")
    terminal.resize(200, 50)
    terminal.interrupt()
    terminal.wait_for("keep watching")
    terminal.send("k")
    terminal.save(Path("running.svg"), typed="python train.py -m lr=1,2")
    status = terminal.end()

Needs ptyprocess (which pexpect brings) for the pseudo-terminal, pyte for the screen and rich for the pictures.
"""

from __future__ import annotations

import codecs
import os
import re
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyte
from ptyprocess import PtyProcess
from rich.text import Text

from scripts.screen import lines_of, plain_of, reflow, svg

PATIENCE_S = 120.0
_READ, _CATCH_UP_S = 65536, 1.0
_LINES_KEPT = 5000
_NOT_OF_THE_CALLER = (
    "COLUMNS",
    "LINES",
    "NO_COLOR",
    "FORCE_COLOR",
    "CI",
    "JPY_PARENT_PID",
    "PYTHONUNBUFFERED",
)


class NotShown(AssertionError):
    """The screen has not come to show what was waited for; the message has it as it was last."""


class Terminal:
    """``environ`` is set on top of this process's environment, less what would change how a program shows itself.

    ``reflows``: lines that a smaller width cuts go on in the next one, as in most terminals of today.
    """

    def __init__(
        self,
        command: Sequence[str],
        columns: int = 80,
        rows: int = 24,
        *,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        reflows: bool = True,
    ) -> None:
        self._screen = pyte.HistoryScreen(columns, rows, history=_LINES_KEPT, ratio=0.5)
        self._stream = pyte.Stream(self._screen)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._reflows = reflows
        self.written = ""
        """All that the command has written, escape sequences included."""
        kept = {name: value for name, value in os.environ.items() if name not in _NOT_OF_THE_CALLER}
        self._process = PtyProcess.spawn(
            list(command),
            cwd=str(cwd) if cwd else None,
            env={**kept, "TERM": "xterm-256color", **(environ or {})},
            dimensions=(rows, columns),
            preexec_fn=_hears_ctrl_c,
        )
        self._poll = select.poll()
        self._poll.register(self._process.fd, select.POLLIN)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What is to be seen

    @property
    def columns(self) -> int:
        return int(self._screen.columns)

    @property
    def text(self) -> str:
        """The screen as it is, without colours."""
        self._catch_up()
        return "\n".join(self._rows())

    @property
    def transcript(self) -> str:
        """All lines, those that have left the screen at its top among them."""
        self._catch_up()
        gone = [plain_of(row, self.columns) for row in self._screen.history.top]
        return "\n".join([*gone, *self._rows()])

    def lines(self) -> list[Text]:
        """The screen as it was last looked at, with its colours, less the empty lines at its end."""
        return lines_of(self._screen)

    def save(
        self,
        path: Path,
        *,
        typed: str = "",
        title: str = "hydra-gce",
        shown: Callable[[str], str] = str,
    ) -> None:
        """The screen as an SVG, below a prompt with what was ``typed``. ``shown`` takes from a line what is private."""
        prompt = [Text.assemble(("$ ", "bold green"), typed)] if typed else []
        lines = [
            line if shown(line.plain) == line.plain else Text(shown(line.plain)) for line in self.lines()
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(svg([*prompt, *lines], self.columns, title), encoding="utf-8")

    # Waiting

    def wait_for(self, wanted: str | Callable[[str], object], within_s: float = PATIENCE_S) -> str:
        """The first screen that has this regular expression (a dot is also an end of line), or of which it is true.

        :raises NotShown: not within so many seconds, or the command has ended before.
        """
        shown = re.compile(wanted, re.DOTALL).search if isinstance(wanted, str) else wanted
        deadline = time.monotonic() + within_s
        while not shown(screen := "\n".join(self._rows())):
            if time.monotonic() >= deadline:
                raise NotShown(f"not within {within_s:g} s: {wanted!r}. The screen was:\n{self._framed()}")
            if not self._read(0.1) and not shown("\n".join(self._rows())):
                raise NotShown(f"ended before {wanted!r} was shown. Its last words:\n{self.transcript}")
        return screen

    def wait_for_more(self, written: str, times: int = 2, within_s: float = PATIENCE_S) -> None:
        """Until the command has written this text so many more times: a table, say, that has certainly been drawn anew.

        :raises NotShown: as ``wait_for``.
        """
        before = self.written.count(written)
        self.wait_for(lambda screen: self.written.count(written) >= before + times, within_s)

    def screens(self, within_s: float = PATIENCE_S) -> Iterator[str]:
        """Each screen from now on, until the command ends.

        :raises NotShown: it goes on for longer than so many seconds.
        """
        deadline = time.monotonic() + within_s
        while self._read(0.1):
            yield "\n".join(self._rows())
            if time.monotonic() >= deadline:
                raise NotShown(f"has not ended within {within_s:g} s. The screen was:\n{self._framed()}")

    def end(self, within_s: float = PATIENCE_S) -> int:
        """The command's exit status; minus the signal's number if one ended it.

        :raises NotShown: it has not ended within so many seconds.
        """
        for _ in self.screens(within_s):
            pass
        status = self._process.wait()
        return -self._process.signalstatus if status is None else int(status)

    # Doing

    def send(self, keys: str) -> None:
        """Keys that are pressed: ``"k"``, ``"\\r"`` for Enter."""
        self._process.write(keys.encode())

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.send("\x03")

    def resize(self, columns: int, rows: int) -> None:
        """The window gets another size, and what runs in it is told (SIGWINCH)."""
        self._catch_up()
        reflow(self._screen, columns, rows, wraps=self._reflows)
        self._process.setwinsize(rows, columns)

    def close(self) -> None:
        """Ends the command if it goes on."""
        self._process.close(force=True)

    def _rows(self) -> list[str]:
        return [line.rstrip() for line in self._screen.display]

    def _framed(self) -> str:
        edge = "-" * self.columns
        return "\n".join([edge, *self._rows(), edge])

    def _read(self, wait_s: float) -> bool:
        """Takes a piece of what the command has written, or writes within so many seconds. Whether more may come."""
        if not self._poll.poll(wait_s * 1000):
            return True
        try:
            data = os.read(self._process.fd, _READ)
        except OSError:  # Linux says EIO when the command has closed its terminal
            return False
        text = self._decoder.decode(data)
        self.written += text
        self._stream.feed(text)
        return bool(data)

    def _catch_up(self) -> None:
        """Takes all that the command has written by now; for a while, if it writes faster than we read."""
        until = time.monotonic() + _CATCH_UP_S
        while self._poll.poll(0) and self._read(0) and time.monotonic() < until:
            pass


def _hears_ctrl_c() -> Any:
    """A shell that starts us in the background has SIGINT ignored, and we hand that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
