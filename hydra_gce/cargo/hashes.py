"""Hashes of files, remembered: a data set of many gigabytes is read once and not at each launch."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS hashes"
    " (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, sha256 TEXT) WITHOUT ROWID"
)
_Row = tuple[str, int, int, int, str]
_SETTLED_NS = 2_000_000_000
"""A file that changed so little time ago may change again within its file system's clock tick, unseen."""


class FileHashes:
    """SHA-256 by (path, size, time of change), kept in a sqlite file below the cache directory."""

    def __init__(self, database: Path, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._database = database
        self._now_ns = now_ns

    def of(self, paths: list[Path]) -> list[str]:
        """The hashes of these files, in their order.

        :raises OSError: a file cannot be read.
        """
        self._database.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._database, timeout=30)) as database:
            database.execute(_SCHEMA)
            fresh: list[_Row] = []
            hashes = [self._one(database, path, fresh) for path in paths]
            if fresh:
                with database:
                    database.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?)", fresh)
        return hashes

    def _one(self, database: sqlite3.Connection, path: Path, fresh: list[_Row]) -> str:
        name = os.fsencode(path.absolute()).decode("latin-1")  # sqlite takes no undecodable names
        stat = path.stat()
        stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        row = database.execute(
            "SELECT sha256 FROM hashes WHERE path = ? AND size = ? AND mtime_ns = ? AND ctime_ns = ?",
            (name, *stamp),
        ).fetchone()
        if row:
            known: str = row[0]
            return known
        sha256 = file_sha256(path)
        if self._now_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > _SETTLED_NS:
            fresh.append((name, *stamp, sha256))
        return sha256


def file_sha256(path: Path) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()
