"""Checks that every link inside the README and docs/ leads to a file, and to a heading, that exists.

    python3 scripts/check_docs.py

It goes by GitHub's rules; `mkdocs build --strict` goes by the site's. Links to other hosts are left alone, because a
test that asks the network fails for reasons that are not ours: scripts/check_links.py asks them.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|(?:src|href)=\"([^\"]+)\"")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def pages() -> list[Path]:
    """The README and its like, and all that is in docs/."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def broken_links(page: Path, root: Path) -> list[str]:
    """One sentence for each link of the page that leads nowhere."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    problems = []
    for match in LINK.finditer(text):
        link = match.group(1) or match.group(2)
        if ELSEWHERE.match(link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        where = f"{page.relative_to(root)}: the link {link!r}"
        if not target.exists():
            problems.append(f"{where} leads to no file")
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            problems.append(f"{where} leads to no heading of {target.name}")
    return problems


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    found: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        plain = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)).strip().lower()
        anchor = base = plain.replace(" ", "-")
        count = 0
        while anchor in found:
            count += 1
            anchor = f"{base}-{count}"
        found.add(anchor)
    return found


def main() -> int:
    """Prints what is broken; the exit status says whether anything is."""
    problems = [problem for page in pages() for problem in broken_links(page, ROOT)]
    print("\n".join(problems) if problems else f"{len(pages())} pages, every link leads somewhere")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
