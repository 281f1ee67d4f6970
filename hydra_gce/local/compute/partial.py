"""Partial answers: the `fields` parameter, as in `items(name,status),nextPageToken` or `items/*/name`.

https://developers.google.com/discovery/v1/performance#partial-response
"""

from __future__ import annotations

import re
from typing import Any

from hydra_gce.local.compute.errors import invalid_value

_TOKEN = re.compile(r"[(),/]|[^(),/\s]+")
Mask = dict[str, Any]


def select_fields(body: Any, fields: str | None) -> Any:
    """The part of `body` that `fields` asks for; all of it without. Raises 400 for a mask that cannot be read."""
    if not fields or fields == "*":
        return body
    tokens = _TOKEN.findall(fields)
    mask, rest = _masks(tokens, fields)
    if rest:
        raise _bad(fields)
    return _select(body, mask)


def _masks(tokens: list[str], text: str) -> tuple[Mask, list[str]]:
    mask: Mask = {}
    while True:
        tokens = _one(tokens, mask, text)
        if not tokens or tokens[0] == ")":
            return mask, tokens
        if tokens[0] != ",":
            raise _bad(text)
        tokens = tokens[1:]


def _one(tokens: list[str], mask: Mask, text: str) -> list[str]:
    if not tokens or tokens[0] in "(),/":
        raise _bad(text)
    name, tokens = tokens[0], tokens[1:]
    inner: Mask = mask.setdefault(name, {})
    if tokens and tokens[0] == "/":
        return _one(tokens[1:], inner, text)
    if tokens and tokens[0] == "(":
        below, tokens = _masks(tokens[1:], text)
        if not tokens or tokens[0] != ")":
            raise _bad(text)
        inner.update(below)
        tokens = tokens[1:]
    return tokens


def _select(value: Any, mask: Mask) -> Any:
    if not mask:
        return value
    if isinstance(value, list):
        return [_select(item, mask) for item in value]
    if not isinstance(value, dict):
        return value
    if "*" in mask:
        return {key: _select(item, mask["*"]) for key, item in value.items()}
    return {key: _select(value[key], below) for key, below in mask.items() if key in value}


def _bad(text: str) -> Exception:
    return invalid_value("fields", text, "Invalid field selection.")
