"""Paths that mean one thing on the laptop and another on a VM."""

from __future__ import annotations

from collections.abc import Sequence


def translate(path: str, pairs: Sequence[Sequence[str]]) -> str:
    """``path`` with the first prefix that fits replaced: ``pairs`` holds (prefix, replacement), longest first."""
    for old, new in pairs:
        if path == old or path.startswith(old.rstrip("/") + "/"):
            return new + path[len(old) :]
    return path
