"""A page of the documentation as somebody follows it: files that are written, commands that are typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
_FENCE = re.compile(
    r"^```(?P<language>\w+)?(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$", re.M | re.S
)


def script_of(page: str) -> str:
    """All of a page in one shell: what has a title becomes that file, what is ``sh`` is typed; the rest is to look at.

    The shell ends with the first command that fails.
    """
    parts = ["set -e"]
    for fence in _FENCE.finditer((DOCS / page).read_text(encoding="utf-8")):
        if fence["title"]:
            parts.append(_written(fence["title"], fence["text"]))
        elif fence["language"] == "sh":
            commands = re.split(r"(?<!\\)\n", fence["text"].rstrip())
            parts += [f"echo {shlex.quote(f'$ {command}')}\n{command}" for command in commands]
    return "\n".join(parts) + "\n"


def _written(name: str, text: str) -> str:
    folder = shlex.quote(str(Path(name).parent))
    return f"mkdir -p {folder}\ncat > {shlex.quote(name)} <<'END OF FILE'\n{text}END OF FILE"
