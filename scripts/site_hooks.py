"""What MkDocs asks us while it builds the site (``hooks:`` in mkdocs.yml)."""

from __future__ import annotations

import logging
import re
from typing import Any

# With --strict a warning ends the build.
log = logging.getLogger("mkdocs.hooks")

_CODE = re.compile(r"<(pre|code)\b.*?</\1>", re.DOTALL)
_LEFT_OVER = {
    "a list": re.compile(r"^(?:<p>)?\s*(?:[-*+]|\d+\.) \S", re.MULTILINE),
    "a fence": re.compile(r"```|~~~"),
    "a table": re.compile(r"^(?:<p>)?\|.*\|", re.MULTILINE),
}
"""Markdown that is still Markdown on the page: GitHub takes it for what is meant, MkDocs for words."""


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Warns of what GitHub shows as a list, a fence or a table and this site as running text.

    MkDocs wants an empty line before a list, and four spaces before what belongs to an item.
    """
    words = _CODE.sub("", html)
    for what, pattern in _LEFT_OVER.items():
        if found := pattern.search(words):
            line = words[found.start() : found.start() + 60].strip().partition("\n")[0]
            log.warning("%s: %s became running text: %r", page.file.src_uri, what, line)
    return html
