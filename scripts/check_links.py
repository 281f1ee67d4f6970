"""Asks the other hosts that the README and docs/ link to whether those pages are there.

    python3 -m scripts.check_links

Only an answer that says so (404, 410) is an error. A host that cannot be reached, or does not like to be asked by a
program, is told and left: this is for a person to run now and then, and no part of continuous integration.
"""

from __future__ import annotations

import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scripts.check_docs import FENCE, LINK, ROOT, pages

GONE = (404, 410)
_WITHIN_S = 20.0
_AT_ONCE = 8
_EXAMPLES = re.compile(r"https?://(127\.0\.0\.1|localhost|example\.)")


def links() -> dict[str, list[str]]:
    """Addresses without their anchors, each with the pages that link to it."""
    found: dict[str, list[str]] = {}
    for page in pages():
        for url in sorted(set(_links_of(page))):
            found.setdefault(url, []).append(page.relative_to(ROOT).as_posix())
    return found


def _links_of(page: Path) -> Iterator[str]:
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    for match in LINK.finditer(text):
        url = (match.group(1) or match.group(2)).partition("#")[0]
        if url.startswith(("http://", "https://")) and not _EXAMPLES.match(url):
            yield url


def ask(url: str) -> tuple[int | None, str]:
    """The status that came back, None without one, and what to tell of it."""
    request = urllib.request.Request(url, headers={"User-Agent": "Mozilla/5.0 (link check)"})
    try:
        with urllib.request.urlopen(request, timeout=_WITHIN_S) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, f"HTTP {error.code}"
    except (OSError, ValueError) as error:
        return None, str(getattr(error, "reason", error))


def main() -> int:
    """Prints what is gone, and what could not be asked; the exit status says whether anything is gone."""
    found = links()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = dict(zip(found, pool.map(ask, found), strict=True))
    gone = [url for url, (status, _) in answers.items() if status in GONE]
    for url in gone:
        print(f"{', '.join(found[url])}: {url} is gone ({answers[url][1]})")
    for url, (_, why) in answers.items():
        if why and url not in gone:
            print(f"not known: {url}: {why}")
    if all(status is None for status, _ in answers.values()):
        print("no host could be reached: nothing is known of any link")
    else:
        known = sum(not why for _, why in answers.values())
        print(f"{known} of {len(answers)} pages of other hosts are there")
    return 1 if gone else 0


if __name__ == "__main__":
    sys.exit(main())
