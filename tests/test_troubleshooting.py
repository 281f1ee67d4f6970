"""The troubleshooting page quotes what the code says, and knows every kind of error."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from hydra_gce import errors

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "troubleshooting.md"
LEAST_LETTERS = 8
"""A quotation that is shorter could stand anywhere."""


def quoted() -> list[str]:
    """What the first column of the page's tables quotes, and nothing else stands in that cell."""
    cells = re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [cell for cell in cells if not hasattr(errors, cell)]


@cache
def said_in_code() -> list[str]:
    """Every text in the package, with ``…`` for what is filled in."""
    texts: list[str] = []
    for path in sorted((ROOT / "hydra_gce").rglob("*.py")):
        texts += _texts(ast.parse(path.read_text(encoding="utf-8")))
    shell = (ROOT / "hydra_gce/agent/startup.sh").read_text(encoding="utf-8")
    inner = re.search(r"<<'PYTHON'\n(.*?)\nPYTHON\n", shell, re.DOTALL)
    assert inner
    return [" ".join(text.split()) for text in [*texts, *_texts(ast.parse(inner[1])), shell]]


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp)) and (text := _text(node)).strip("… "):
            yield text


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else "…"
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return "…"


def is_said(quotation: str) -> bool:
    pattern = re.compile(".*".join(map(re.escape, quotation.split("…"))))
    return any(pattern.search(text) for text in said_in_code())


def test_an_invented_message_would_be_seen() -> None:
    assert len(quoted()) > 60
    assert not is_said("the moon is … too far away")


@pytest.mark.parametrize("quotation", quoted())
def test_each_message_on_the_page_stands_in_the_code(quotation: str) -> None:
    assert len(re.findall(r"\w", quotation)) >= LEAST_LETTERS, "too short to find anything by it"
    assert is_said(quotation), "the code says it otherwise, or no longer: correct docs/troubleshooting.md"


def test_each_kind_of_error_is_on_the_page() -> None:
    kinds = {name for name, _ in inspect.getmembers(errors, inspect.isclass)} - {"HydraGCEError"}
    assert kinds <= set(re.findall(r"`(\w+)`", PAGE.read_text(encoding="utf-8")))
