"""Whether a command runs a program that has to do with Hydra, as far as its source tells."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

_MOST_FILES = 500


def mentions_hydra(words: Sequence[str], cwd: Path) -> bool | None:
    """Whether the script, or a module of the project that it imports, names Hydra. None: that cannot be told from here,
    as of a console script.
    """
    script = next((cwd / word for word in words if word.endswith(".py")), None)
    if script is None or not script.is_file():
        return None
    seen: set[Path] = set()
    to_read = [script]
    roots = [script.parent, cwd, cwd / "src"]
    while to_read:
        path = to_read.pop().resolve()
        if path in seen:
            continue
        seen.add(path)
        try:
            text = path.read_text(encoding="utf-8")
            tree = ast.parse(text)
        except (OSError, SyntaxError, ValueError):
            return None
        if "hydra" in text.lower():
            return True
        if len(seen) > _MOST_FILES:
            return None
        to_read += [file for name in _imported(tree) for file in _files(name, [path.parent, *roots])]
    return False


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield module
            yield from (f"{module}.{alias.name}".lstrip(".") for alias in node.names)


def _files(name: str, folders: Sequence[Path]) -> Iterator[Path]:
    """The module's file, and those of the packages that it is in."""
    parts = name.split(".")
    for folder in folders:
        for length in range(1, len(parts) + 1):
            path = folder.joinpath(*parts[:length])
            yield from (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file())
