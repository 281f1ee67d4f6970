"""Lines of aligned cells that never wrap: a table without room gives up its least needed parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from hydra_gce.display.figures import shorten_end, shorten_middle

SPANNING_LIMIT = 28
"""A cell that covers its right neighbour may widen the two up to this, then it is cut."""


@dataclass(frozen=True)
class Column:
    """``least``: it shrinks to this many cells, its texts lose their middle. One column may have it."""

    title: str
    right: bool = False
    least: int | None = None


Row = Sequence["Text | None"]
"""A cell for each column. ``None`` is covered by the cell at its left."""


def grid(
    columns: Sequence[Column], rows: Sequence[Row], width: int | None, gap: int = 2
) -> list[Text] | None:
    """Title line and rows, none wider than ``width`` (``None`` = no limit); ``None`` if they do not fit."""
    widths = _natural_widths(columns, rows, gap)
    if width is not None:
        excess = sum(widths) + gap * (len(widths) - 1) - width
        if excess > 0 and not _shrink(columns, widths, excess):
            return None
    titles = [Text(column.title, style="dim") for column in columns]
    return [_line(columns, row, widths, gap) for row in [titles, *rows]]


def pack(segments: Sequence[str], width: int | None, separator: str = " · ") -> list[str]:
    """Segments on as few lines as hold them; only a segment that is wider than a line makes it longer."""
    lines: list[str] = []
    for segment in segments:
        longer = f"{lines[-1]}{separator}{segment}" if lines else segment
        if lines and (width is None or cell_len(longer) <= width):
            lines[-1] = longer
        else:
            lines.append(segment)
    return lines


def _natural_widths(columns: Sequence[Column], rows: Sequence[Row], gap: int) -> list[int]:
    widths = [cell_len(column.title) for column in columns]
    for row in rows:
        for at, cell in enumerate(row):
            if cell is not None and not _spans(row, at):
                widths[at] = max(widths[at], cell.cell_len)
    for row in rows:
        for at, cell in enumerate(row):
            if cell is not None and _spans(row, at):
                needed = min(cell.cell_len, SPANNING_LIMIT) - gap - widths[at]
                widths[at + 1] = max(widths[at + 1], needed)
    return widths


def _spans(row: Row, at: int) -> bool:
    return at + 1 < len(row) and row[at + 1] is None


def _shrink(columns: Sequence[Column], widths: list[int], excess: int) -> bool:
    for at, column in enumerate(columns):
        if column.least is not None and widths[at] - excess >= min(column.least, widths[at]):
            widths[at] -= excess
            return True
    return False


def _line(columns: Sequence[Column], row: Row, widths: Sequence[int], gap: int) -> Text:
    line = Text(no_wrap=True)
    for at, (column, cell) in enumerate(zip(columns, row, strict=True)):
        if cell is None:
            continue
        spans = _spans(row, at)
        width = widths[at] + gap + widths[at + 1] if spans else widths[at]
        cut = shorten_end if column.least is None else shorten_middle
        if cell.cell_len > width:
            cell = Text(cut(cell.plain, width), style=cell.style)
        blanks = " " * (width - cell.cell_len)
        line.append(" " * gap if at else "")
        line.append_text(Text(blanks) + cell if column.right and not spans else cell + Text(blanks))
    line.rstrip()
    return line
