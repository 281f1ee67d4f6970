"""docs/benchmarks.md: each table stands between two markers, below the machine, the versions and the date."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from datetime import date
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"


def replace_section(name: str, content: str, page: Path = PAGE) -> None:
    """Puts the content between `<!-- name -->` and `<!-- /name -->`.

    Raises:
        ValueError: when the page has no such markers.
    """
    text = page.read_text(encoding="utf-8")
    section = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    if not section.search(text):
        raise ValueError(
            f"{page} has no place for the table: put <!-- {name} --> and <!-- /{name} --> into it."
        )
    page.write_text(section.sub(lambda match: match[1] + content + match[2], text), encoding="utf-8")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""
    lines = [header, [":--", *["--:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def circumstances(packages: Sequence[str], load_before: float) -> str:
    """One paragraph: date, machine, how busy it was, versions of the packages that are installed."""
    versions = ", ".join(
        f"{package} {metadata.version(package)}" for package in packages if installed(package)
    )
    return (
        f"Measured on {date.today().isoformat()}: {_processor()}, {_cores()} cores, {_memory_gb():.0f} GB of "
        f"memory, {platform.system()} {platform.release()}; load {load_before:.1f} when it began. "
        f"Python {platform.python_version()}, {versions}.\n"
    )


def installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def load() -> float:
    """Runnable processes over the last minute: what else the machine was doing."""
    return os.getloadavg()[0]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return match[1].strip() if match else platform.machine()


def _memory_gb() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
