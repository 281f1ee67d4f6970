"""What a program reads of its own records: the journal's batches, brought into MLflow's database when somebody looks.

Writing a metric into a database costs milliseconds, appending it to the journal microseconds. So batches of metrics,
params and tags go to the journal alone, and come into the database many at a time, before anything is read there or
written there by MLflow itself. The offset up to which that is done lies in the database and is committed with them.
"""

from __future__ import annotations

import json
import math
from typing import Any

import sqlalchemy

from hydra_gce.tracking.journal import Journal

DATABASE_ROOM = 1 << 20
"""Bytes that have to be free for a write to the database: on a full disk SQLite fails in words of its own."""

_BLOCK = 4 * 1024 * 1024
_BATCH = b'"op":"batch"'
_LARGEST = 1.7976931348623157e308  # SQL knows no infinity; MLflow's stores have this in its place

_TABLE = "CREATE TABLE IF NOT EXISTS hydra_gce_view (id INTEGER PRIMARY KEY, journal_offset INTEGER NOT NULL)"
_OFFSET = "SELECT journal_offset FROM hydra_gce_view WHERE id = 1"
_MARK = "INSERT OR REPLACE INTO hydra_gce_view VALUES (1, ?)"
_METRIC = (
    "INSERT OR IGNORE INTO metrics (run_uuid, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)"
)
_LATEST = """
INSERT INTO latest_metrics (run_uuid, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (key, run_uuid) DO UPDATE
SET value = excluded.value, timestamp = excluded.timestamp, step = excluded.step, is_nan = excluded.is_nan
WHERE (excluded.step, excluded.timestamp, excluded.value)
    > (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)
"""
_PARAM = "INSERT OR IGNORE INTO params (run_uuid, key, value) VALUES (?, ?, ?)"
_TAG = "INSERT OR REPLACE INTO tags (run_uuid, key, value) VALUES (?, ?, ?)"

_Row = tuple[Any, ...]


class View:
    """The database at the other end of ``engine``, as far as it follows ``journal``."""

    def __init__(self, engine: sqlalchemy.engine.Engine, journal: Journal) -> None:
        self._engine = engine
        self._journal = journal
        self._offset = 0
        with journal.exclusive, engine.begin() as connection:
            connection.exec_driver_sql(_TABLE)

    def catch_up(self) -> None:
        """Brings in all that is in the journal now; others may append between two blocks of it."""
        target = self._journal.size()
        while self._offset < target:
            self._journal.wait_for_room(DATABASE_ROOM)
            with self._journal.exclusive:
                self._offset = self._bring_in_a_block()

    def mark(self) -> None:
        """What was appended last is in the database already. The caller holds the journal."""
        self._offset = self._journal.size()
        with self._engine.begin() as connection:
            connection.exec_driver_sql(_MARK, (self._offset,))

    def _bring_in_a_block(self) -> int:
        with self._engine.begin() as connection:
            (offset,) = connection.exec_driver_sql(_OFFSET).first() or (0,)
            content = self._journal.lines_from(offset, _BLOCK)
            if content:
                offset += len(content)
                _write(connection, content)
                connection.exec_driver_sql(_MARK, (offset,))
        return int(offset) if content else self._journal.size()


def _write(connection: sqlalchemy.engine.Connection, content: bytes) -> None:
    metrics: list[_Row] = []
    latest: dict[tuple[str, str], _Row] = {}
    params: list[_Row] = []
    tags: dict[tuple[str, str], _Row] = {}
    for line in content.splitlines():
        if _BATCH not in line:
            continue  # MLflow has written it before it was appended
        record = json.loads(line)
        if record["op"] != "batch":
            continue
        run, args = record["args"]["run"], record["args"]
        for key, value, timestamp, step, *model in args["metrics"]:
            if any(model):
                continue  # as above
            number = float(value)
            is_nan = math.isnan(number)
            shown = 0.0 if is_nan else max(-_LARGEST, min(_LARGEST, number))
            row = (run, key, shown, timestamp, step, is_nan)
            metrics.append(row)
            known = latest.get((run, key))
            if known is None or (step, timestamp, shown) > (known[4], known[3], known[2]):
                latest[run, key] = row
        params += [(run, key, value) for key, value in args["params"]]
        tags.update({(run, key): (run, key, value) for key, value in args["tags"]})
    for statement, rows in (
        (_METRIC, metrics),
        (_LATEST, [*latest.values()]),
        (_PARAM, params),
        (_TAG, [*tags.values()]),
    ):
        if rows:
            connection.exec_driver_sql(statement, rows)
