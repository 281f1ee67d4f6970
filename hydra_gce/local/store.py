"""What the embedded cloud knows, in one sqlite file: it outlives the server, `kill -9` included.

A resource is one row: its public JSON, and a private part that no client ever sees. Operations are resources too.
Write-ahead logging without a sync per commit survives the death of the process; it may lose the last moments before a
power cut, which takes the VMs with it anyway.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS resources (
    collection TEXT NOT NULL, project TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL,
    id TEXT NOT NULL, body TEXT NOT NULL, private TEXT NOT NULL,
    PRIMARY KEY (collection, project, scope, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS resource_ids ON resources (collection, id);
CREATE TABLE IF NOT EXISTS requests (
    project TEXT NOT NULL, request_id TEXT NOT NULL, digest TEXT NOT NULL,
    scope TEXT NOT NULL, operation TEXT NOT NULL,
    PRIMARY KEY (project, request_id)
) WITHOUT ROWID;
"""


@dataclass
class Resource:
    """One resource. `scope` is `global`, `regions/<region>` or `zones/<zone>`; `body` is what the API shows."""

    collection: str
    project: str
    scope: str
    name: str
    body: dict[str, Any]
    private: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """`projects/…/<scope>/<collection>/<name>`, as error messages name it."""
        return f"projects/{self.project}/{self.scope}/{self.collection}/{self.name}"


@dataclass(frozen=True)
class SeenRequest:
    """A requestId that has been used: by which request, and the operation it made."""

    digest: str
    scope: str
    operation: str


class Store:
    """All resources, by (collection, project, scope, name). Safe to use from many threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        self._depth = 0

    def close(self) -> None:
        """Write everything home and close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and nobody else reads or writes meanwhile. May be nested."""
        with self._lock:
            if self._depth == 0:
                self._db.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._db.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._db.execute("COMMIT")

    def get(self, collection: str, project: str, scope: str, name: str) -> Resource | None:
        """The resource of that name or of that numeric id."""
        query = "SELECT * FROM resources WHERE collection=? AND project=? AND scope=? AND name=?"
        with self._lock:
            row = self._db.execute(query, (collection, project, scope, name)).fetchone()
            if row is None and name.isdigit():
                query = "SELECT * FROM resources WHERE collection=? AND id=? AND project=? AND scope=?"
                row = self._db.execute(query, (collection, name, project, scope)).fetchone()
        return None if row is None else _resource(row)

    def put(self, resource: Resource) -> None:
        """Insert or replace."""
        values = (
            resource.collection,
            resource.project,
            resource.scope,
            resource.name,
            str(resource.body.get("id", "")),
            json.dumps(resource.body, separators=(",", ":")),
            json.dumps(resource.private, separators=(",", ":")),
        )
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO resources VALUES (?,?,?,?,?,?,?)", values)

    def delete(self, resource: Resource) -> None:
        """Forget it; not being there is no error."""
        query = "DELETE FROM resources WHERE collection=? AND project=? AND scope=? AND name=?"
        with self._lock:
            self._db.execute(query, (resource.collection, resource.project, resource.scope, resource.name))

    def list(self, collection: str, project: str | None = None, scope: str | None = None) -> list[Resource]:
        """All of a collection in the order of project, scope and name; None stands for every project or scope."""
        query, values = "SELECT * FROM resources WHERE collection=?", [collection]
        for column, value in (("project", project), ("scope", scope)):
            if value is not None:
                query += f" AND {column}=?"
                values.append(value)
        with self._lock:
            rows = self._db.execute(query + " ORDER BY project, scope, name", values).fetchall()
        return [_resource(row) for row in rows]

    def request(self, project: str, request_id: str) -> SeenRequest | None:
        """What that requestId did before, if it was ever used in the project."""
        query = "SELECT digest, scope, operation FROM requests WHERE project=? AND request_id=?"
        with self._lock:
            row = self._db.execute(query, (project, request_id)).fetchone()
        return None if row is None else SeenRequest(*row)

    def remember_request(self, project: str, request_id: str, seen: SeenRequest) -> None:
        """From now on `request_id` stands for that operation."""
        values = (project, request_id, seen.digest, seen.scope, seen.operation)
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO requests VALUES (?,?,?,?,?)", values)


def _resource(row: tuple[str, ...]) -> Resource:
    collection, project, scope, name, _, body, private = row
    return Resource(collection, project, scope, name, json.loads(body), json.loads(private))
