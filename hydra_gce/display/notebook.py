"""A sweep in a notebook: one output of the cell, replaced in place."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import IO, Any

from rich.console import Console
from rich.text import Text

from hydra_gce.display.head import Head
from hydra_gce.display.table import live_lines
from hydra_gce.view import SweepView

WIDTH, HEIGHT = 110, 60
_HTML = (
    '<pre style="white-space:pre;overflow-x:auto;line-height:1.35;'
    "font-family:Menlo,'DejaVu Sans Mono',Consolas,monospace\">{code}</pre>"
)


def is_notebook(stream: IO[str]) -> bool:
    """Whether ``stream`` is a cell's output: IPython is there, has a kernel, and nobody has led its output away."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None and stream is sys.stdout and not stream.isatty()


def is_under_notebook(environ: Mapping[str, str]) -> bool:
    """Whether a cell has started this program (``!python train.py``): its pseudo-terminal can do nothing but add lines.

    https://github.com/jupyter/jupyter_client sets the variable for kernels, who hand it on.
    """
    return "JPY_PARENT_PID" in environ


class NotebookCell:
    """Shows lines where those before them were."""

    def __init__(self) -> None:
        self._handle: Any = None  # IPython's DisplayHandle

    def show(self, view: SweepView, remaining: float | None) -> None:
        lines = live_lines(view, WIDTH, HEIGHT, remaining)
        self._put([*Head().new_lines(view, WIDTH), *lines])

    def end(self, view: SweepView, lines: Sequence[Text]) -> None:
        self._put([*Head().new_lines(view, WIDTH), Text(""), *lines])

    def _put(self, lines: Sequence[Text]) -> None:
        data = {"text/plain": "\n".join(line.plain for line in lines), "text/html": _as_html(lines)}
        if self._handle is None:
            # No dependency of ours: where a cell runs, it is there.
            display = import_module("IPython.display").display
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)


def _as_html(lines: Sequence[Text]) -> str:
    console = Console(
        record=True,
        file=io.StringIO(),
        width=4 * WIDTH,
        force_terminal=True,
        force_jupyter=False,
        color_system="truecolor",
        _environ={},
    )
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)
    return console.export_html(inline_styles=True, code_format=_HTML)
