"""What a command shows in a terminal, as an SVG: run in a real pseudo-terminal, the last screen is drawn.

    python -m scripts.record_sweep -- python train.py -m hydra/launcher=gce lr=1e-3,1e-4
    python -m scripts.record_sweep --last-with 'RUNNING.*RUNNING' --output docs/images/running.svg -- python …

Needs pyte (the terminal) and rich (the drawing). Ends with the command's own exit status.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from scripts.screen import svg
from scripts.terminal import Terminal

COLUMNS, ROWS = 100, 30
_LONGEST_S = 3600.0


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _arguments(arguments)
    wanted = re.compile(asked.last_with, re.DOTALL) if asked.last_with else None
    shown: list[Text] | None = None
    with Terminal(asked.command, *asked.size) as terminal:
        for screen in terminal.screens(_LONGEST_S):
            if wanted is None or wanted.search(screen):
                shown = terminal.lines()
        status = terminal.end()
        if wanted is None or wanted.search(terminal.text):
            shown = terminal.lines()
        if shown is None:
            print(f"no screen had {asked.last_with!r}; the last one:\n{terminal.text}", file=sys.stderr)
            return status or 1
    prompt = Text.assemble(("$ ", "bold green"), asked.typed or shlex.join(asked.command))
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text(svg([prompt, *shown], asked.size[0], asked.title), encoding="utf-8")
    print(f"{asked.output}: {len(shown)} lines")
    return status


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
