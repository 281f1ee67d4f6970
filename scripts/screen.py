"""pyte's screens: their lines with colours, what another size does to them, pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from copy import copy

import pyte
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.style import Style
from rich.text import Text

Row = Mapping[int, "pyte.screens.Char"]


def plain_of(row: Row, columns: int) -> str:
    return "".join(row[column].data for column in range(columns)).rstrip()


def lines_of(screen: pyte.Screen) -> list[Text]:
    """The screen's lines with their colours, less the empty ones at its end."""
    lines = [_line(screen.buffer[row], screen.columns) for row in range(screen.lines)]
    while lines and not lines[-1].plain:
        lines.pop()
    return lines


def reflow(screen: pyte.Screen, columns: int, rows: int, *, wraps: bool) -> None:
    """Gives the screen another size as terminals do: the line with the cursor stays in view, lines leave at the top.

    ``wraps``: what does not fit into a line goes on in the next one. pyte's own ``resize`` cuts it off, and takes lines
    from the top although those below the cursor are empty.
    """
    known = [_Padded(screen.buffer[row], screen) for row in range(screen.cursor.y + 1)]
    wrapped: list[dict[int, pyte.screens.Char]] = []
    for row in known:
        filled = len(plain_of(row, screen.columns))
        pieces = max(1, -(-filled // columns)) if wraps else 1
        for piece in range(pieces):
            start = piece * columns
            wrapped.append({at - start: char for at, char in row.items() if start <= at < start + columns})
    shown = wrapped[-rows:]
    x = min(screen.cursor.x, columns - 1)
    style = copy(screen.cursor.attrs)
    screen.resize(rows, columns)
    screen.erase_in_display(2)
    for at, cells in enumerate(shown):
        for column, char in cells.items():
            screen.buffer[at][column] = char
    screen.cursor.y, screen.cursor.x, screen.cursor.attrs = len(shown) - 1, x, style
    screen.dirty.update(range(rows))


class _Padded(dict[int, "pyte.screens.Char"]):
    """A row whose unwritten cells are blank."""

    def __init__(self, row: Mapping[int, pyte.screens.Char], screen: pyte.Screen) -> None:
        super().__init__(row)
        self._blank = screen.default_char

    def __missing__(self, column: int) -> pyte.screens.Char:
        return self._blank


def _line(row: Row, columns: int) -> Text:
    line = Text(no_wrap=True)
    for column in range(columns):
        cell = row[column]
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


def svg(lines: Sequence[Text], columns: int, title: str) -> str:
    """A picture that needs nothing from elsewhere: a README's images may not load fonts."""
    with open(os.devnull, "w") as nowhere:
        console = Console(
            record=True, width=columns, file=nowhere, force_terminal=True, color_system="truecolor"
        )
        for line in lines:
            console.print(line, soft_wrap=False, highlight=False)
    without_fonts = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    families = "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace"
    drawn = console.export_svg(
        title=title, code_format=without_fonts.replace("Fira Code, monospace", families), unique_id="sweep"
    )
    return re.sub(r"[ \t]+$", "", drawn, flags=re.MULTILINE)
