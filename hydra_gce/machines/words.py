"""How lists and near misses are put into a sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import takewhile


def nearest(word: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The names most like `word`, best first; never empty while anything is known."""
    likeness = {name: _likeness(word.lower(), name.lower()) for name in known}
    return sorted(likeness, key=lambda name: (-likeness[name], name))[:most]


def _likeness(word: str, name: str) -> float:
    # What a person typed first is more often right than what came last.
    same = takewhile(lambda pair: pair[0] == pair[1], zip(word, name, strict=False))
    return difflib.SequenceMatcher(None, word, name).ratio() + sum(1 for _ in same) / max(len(word), 1) / 2


def one_of(items: Iterable[object]) -> str:
    """ "a, b, c" """
    return ", ".join(str(item) for item in items)


def either(items: Iterable[object]) -> str:
    """ "a, b or c" """
    words = [str(item) for item in items]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def shortened(items: Iterable[object], most: int = 8) -> str:
    """ "a, b, c and 5 more" """
    words = [str(item) for item in items]
    if len(words) <= most:
        return ", ".join(words)
    return f"{', '.join(words[: most - 1])} and {len(words) - most + 1} more"


def an(word: str) -> str:
    """The word with its article, as it is spoken: an A100, an L4, an H100, a T4, a V100."""
    return f"{'an' if word[0] in 'AEFHILMNORSX' else 'a'} {word}"
