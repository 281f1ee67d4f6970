"""Where the catalogue's files lie: the laptop's own after a refresh, those of the package otherwise.

    <home>/catalog/current.json      which refresh counts, and the digest of each of its files
    <home>/catalog/<refresh>/*.csv   all tables of it, those that stayed as they were too

`current.json` is replaced in one step, after the files are there: what it names is complete, or is not taken.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hydra_gce.home import home

FORMAT = 1
"""Raised when a table gets another form: refreshes of another format are left aside."""

TABLES = (
    "accelerator-types", "address-rates", "attachable", "disk-rates", "gpu-rates", "gpu-zones", "gpus", "host-rates",
    "machine-parts", "machine-types", "newer-zones", "sources", "type-rates", "zones",
)  # fmt: skip


def packaged() -> Path:
    """The files that came with the package."""
    return Path(__file__).parent


def place() -> Path:
    """Where to read from: the laptop's refresh while it is whole and made over this very package."""
    return _refreshed() or packaged()


def text(where: Path, table: str) -> str:
    return (where / f"{table}.csv").read_text(encoding="utf-8")


def csv_text(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A table as its file has it."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return content.getvalue()


def shelve(tables: Mapping[str, str]) -> Path:
    """Writes a whole new set: these tables, and the others as they are now. It does not count yet.

    :returns: the directory, for `take`.
    """
    directory = _root() / uuid.uuid4().hex
    directory.mkdir(parents=True)
    now = place()
    for table in TABLES:
        content = tables[table] if table in tables else text(now, table)
        (directory / f"{table}.csv").write_text(content, encoding="utf-8", newline="\n")
    return directory


def take(directory: Path) -> None:
    """From now on this set counts. Those before the last one are deleted: what runs may still read that one."""
    before = _named()
    entry = {
        "format": FORMAT,
        "directory": directory.name,
        "package": digest(packaged()),
        "digest": digest(directory),
    }
    fresh = _root() / f"{directory.name}.json"
    fresh.write_text(json.dumps(entry, indent=1), encoding="utf-8")
    os.replace(fresh, _root() / "current.json")
    for other in _root().iterdir():
        if other.is_dir() and other.name not in (directory.name, before):
            shutil.rmtree(other, ignore_errors=True)


def discard(directory: Path) -> None:
    """A set that turned out to be unfit."""
    shutil.rmtree(directory, ignore_errors=True)


def digest(where: Path) -> str:
    """SHA-256 over all tables."""
    all_tables = hashlib.sha256()
    for table in TABLES:
        content = text(where, table)
        all_tables.update(f"{table} {len(content)}\n{content}".encode())
    return all_tables.hexdigest()


def _root() -> Path:
    return home() / "catalog"


def _entry() -> dict[str, object]:
    try:
        found = json.loads((_root() / "current.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _named() -> str | None:
    named = _entry().get("directory")
    return named if isinstance(named, str) else None


def _refreshed() -> Path | None:
    entry, name = _entry(), _named()
    if name is None or Path(name).name != name or entry.get("format") != FORMAT:
        return None
    directory = _root() / name
    try:
        whole = entry.get("digest") == digest(directory) and entry.get("package") == digest(packaged())
    except (OSError, UnicodeDecodeError):
        return None  # a file is missing or not readable
    return directory if whole else None
