"""What a command shows in a terminal, as an SVG: run in a real pseudo-terminal, the last screen is drawn.

    python scripts/record_sweep.py -- python train.py -m hydra/launcher=gce lr=1e-3,1e-4
    python scripts/record_sweep.py --last-with 'RUNNING.*RUNNING' --output docs/images/running.svg -- python …

Needs pyte (the terminal) and rich (the drawing). Ends with the command's own exit status.
"""

from __future__ import annotations

import argparse
import codecs
import fcntl
import os
import pty
import re
import shlex
import struct
import sys
import termios
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyte
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.style import Style
from rich.text import Text

COLUMNS, ROWS = 100, 30


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _arguments(arguments)
    terminal = Terminal(*asked.size)
    wanted = re.compile(asked.last_with, re.DOTALL) if asked.last_with else None
    shown: list[Text] | None = None
    process, master = start(asked.command, *asked.size)
    for text in output_of(master):
        terminal.write(text)
        if wanted is None or wanted.search(terminal.plain()):
            shown = terminal.lines()
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if shown is None:
        print(f"no screen had {asked.last_with!r}; the last one:\n{terminal.plain()}", file=sys.stderr)
        return status or 1
    prompt = Text.assemble(("$ ", "bold green"), asked.typed or shlex.join(asked.command))
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text(drawn([prompt, *shown], asked.size[0], asked.title), encoding="utf-8")
    print(f"{asked.output}: {len(shown)} lines")
    return status


def start(command: Sequence[str], columns: int, rows: int) -> tuple[int, int]:
    """The process and the terminal's other end; the size is set before the command can ask for it."""
    process, master = pty.fork()
    if process == 0:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(sys.stdin.fileno(), termios.TIOCSWINSZ, size)
        unwanted = {"COLUMNS", "LINES", "NO_COLOR", "CI"}
        environment = {name: value for name, value in os.environ.items() if name not in unwanted}
        os.execvpe(command[0], list(command), {**environment, "TERM": "xterm-256color"})
    return process, master


def output_of(master: int) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # Linux says EIO when the command has closed its terminal
            return
        if not data:
            return
        yield decoder.decode(data)


class Terminal:
    """A screen that understands escape sequences. What scrolls off its top is gone: ask for more rows."""

    def __init__(self, columns: int, rows: int) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self._screen)

    def write(self, text: str) -> None:
        self._stream.feed(text)

    def plain(self) -> str:
        return "\n".join(line.rstrip() for line in self._screen.display)

    def lines(self) -> list[Text]:
        """The screen's lines with their colours, less the empty ones at its end."""
        lines = [self._line(row) for row in range(self._screen.lines)]
        while lines and not lines[-1].plain:
            lines.pop()
        return lines

    def _line(self, row: int) -> Text:
        line = Text(no_wrap=True)
        for column in range(self._screen.columns):
            cell = self._screen.buffer[row][column]
            line.append(cell.data, _style(cell))
        line.rstrip()
        return line


def _style(cell: pyte.screens.Char) -> Style:
    return Style(
        color=_color(cell.fg),
        bgcolor=_color(cell.bg),
        bold=cell.bold,
        italic=cell.italics,
        underline=cell.underscore,
        reverse=cell.reverse,
    )


def _color(name: str) -> str | None:
    """pyte's names for colours in rich's: ``brown`` is what terminals draw as yellow, six digits are RGB."""
    if name == "default":
        return None
    if re.fullmatch("[0-9a-f]{6}", name):
        return f"#{name}"
    bright = name.startswith("bright")
    base = name.removeprefix("bright").replace("brown", "yellow")
    return f"bright_{base}" if bright else base


def drawn(lines: Sequence[Text], columns: int, title: str) -> str:
    """An SVG that needs nothing from elsewhere: a README's images may not load fonts."""
    with open(os.devnull, "w") as nowhere:
        console = Console(
            record=True, width=columns, file=nowhere, force_terminal=True, color_system="truecolor"
        )
        for line in lines:
            console.print(line, soft_wrap=False, highlight=False)
    without_fonts = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    families = "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace"
    svg = console.export_svg(
        title=title, code_format=without_fonts.replace("Fira Code, monospace", families), unique_id="sweep"
    )
    return re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("docs/images/sweep.svg"))
    parser.add_argument("--size", type=_size, default=(COLUMNS, ROWS), help="columns x rows (100x30)")
    parser.add_argument("--title", default="hydra-gce", help="of the window (hydra-gce)")
    parser.add_argument("--typed", help="the command as the picture shows it (as it is)")
    parser.add_argument(
        "--last-with", metavar="REGEX", help="the last screen that has this, not the very last"
    )
    parser.add_argument("command", nargs="+")
    return parser.parse_args(arguments)


def _size(text: str) -> tuple[int, int]:
    columns, _, rows = text.partition("x")
    return int(columns), int(rows)


if __name__ == "__main__":
    sys.exit(main())
