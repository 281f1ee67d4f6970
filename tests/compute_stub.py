"""Compute Engine's answers, in Google's shapes, to what the embedded one cannot be brought to: refusals at will.

``StubbedCompute.decide`` is asked at each ``instances.insert`` and says what becomes of it.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from google.auth.credentials import AnonymousCredentials

from hydra_gce.backend import Backend


@dataclass(frozen=True)
class Made:
    """The VM is made; with ``answered`` false its maker never hears of it."""

    answered: bool = True


@dataclass(frozen=True)
class Failed:
    """The operation ends with an error."""

    code: str
    message: str = "it says why"


@dataclass(frozen=True)
class Refused:
    """The request itself is refused."""

    status: int
    reason: str
    message: str = "it says why"


Outcome = Made | Failed | Refused


@dataclass(frozen=True)
class Insert:
    zone: str
    name: str
    request_id: str
    body: dict[str, Any]


class StubbedCompute:
    def __init__(self) -> None:
        self.decide: Callable[[Insert], Outcome] = lambda insert: Made()
        self.before_listing: Callable[[], None] = lambda: None
        self.inserts: list[Insert] = []
        self.deleted: list[str] = []
        self.filters: list[str] = []
        self.instances: dict[str, dict[str, Any]] = {}
        self._operations: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                stub._answer(self)

            do_GET = do_POST = do_DELETE = answer

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.backend = Backend(
            kind="cloud",
            project="my-project",
            compute_endpoint=f"http://127.0.0.1:{self.server.server_address[1]}",
            storage_endpoint=None,
            credentials=AnonymousCredentials(),
            image=None,
        )

    @property
    def asked(self) -> list[str]:
        """The zones in the order of asking."""
        return [insert.zone for insert in self.inserts]

    def _answer(self, http: BaseHTTPRequestHandler) -> None:
        content = http.rfile.read(int(http.headers.get("Content-Length") or 0))
        url = urlsplit(http.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        parts = url.path.removeprefix("/compute/v1/projects/my-project/").split("/")
        if parts == ["aggregated", "instances"]:
            self.filters.append(query["filter"])
            with self._lock:
                scopes = self._listing(query["filter"])
            self.before_listing()
            _send(http, 200, {"kind": "compute#instanceAggregatedList", "items": scopes})
        elif http.command == "GET" and parts[2:] == ["instances"]:
            self.filters.append(query["filter"])
            with self._lock:
                items = self._listing(query["filter"]).get(f"zones/{parts[1]}", {}).get("instances", [])
            self.before_listing()
            _send(http, 200, {"kind": "compute#instanceList", "items": items})
        elif parts[2] == "operations":
            _send(http, 200, self._operations[parts[3]])
        elif http.command == "DELETE":
            self._delete(http, parts)
        else:
            insert = Insert(parts[1], json.loads(content)["name"], query["requestId"], json.loads(content))
            with self._lock:
                self.inserts.append(insert)
                self._insert(http, insert)

    def _insert(self, http: BaseHTTPRequestHandler, insert: Insert) -> None:
        if insert.name in self.instances:
            path = f"projects/my-project/zones/{insert.zone}/instances/{insert.name}"
            return _refuse(http, Refused(409, "alreadyExists", f"The resource '{path}' already exists"))
        outcome = self.decide(insert)
        if isinstance(outcome, Refused):
            return _refuse(http, outcome)
        if isinstance(outcome, Made):
            self.instances[insert.name] = {
                **insert.body,
                "status": "RUNNING",
                "zone": f"https://www.googleapis.com/compute/v1/projects/my-project/zones/{insert.zone}",
            }
            if not outcome.answered:
                http.connection.shutdown(socket.SHUT_RDWR)
                http.close_connection = True
                return
        operation: dict[str, Any] = {
            "name": f"operation-{len(self._operations)}",
            "status": "DONE",
            "zone": insert.zone,
            "operationType": "insert",
        }
        if isinstance(outcome, Failed):
            operation["error"] = {"errors": [{"code": outcome.code, "message": outcome.message}]}
        self._operations[operation["name"]] = operation
        _send(http, 200, {**operation, "status": "RUNNING"})

    def _delete(self, http: BaseHTTPRequestHandler, parts: list[str]) -> None:
        instance = self.instances.get(parts[3])
        if instance is None or not instance["zone"].endswith(f"/{parts[1]}"):
            path = f"projects/my-project/zones/{parts[1]}/instances/{parts[3]}"
            return _refuse(http, Refused(404, "notFound", f"The resource '{path}' was not found"))
        self.deleted.append(parts[3])
        del self.instances[parts[3]]
        _send(http, 200, {"name": "operation-delete", "status": "DONE"})

    def _listing(self, wanted: str) -> dict[str, Any]:
        """By zone; ``wanted`` is a filter by one label, as we send it."""
        label, _, value = wanted.removeprefix("labels.").partition("=")
        scopes: dict[str, Any] = {}
        for instance in self.instances.values():
            if value and instance["labels"].get(label) != value:
                continue
            zone = "zones/" + instance["zone"].rpartition("/")[2]
            scopes.setdefault(zone, {"instances": []})["instances"].append(instance)
        return scopes


def _refuse(http: BaseHTTPRequestHandler, refused: Refused) -> None:
    entry = {"message": refused.message, "domain": "global", "reason": refused.reason}
    error = {"code": refused.status, "message": refused.message, "errors": [entry]}
    _send(http, refused.status, {"error": error})


def _send(http: BaseHTTPRequestHandler, status: int, body: dict[str, Any]) -> None:
    content = json.dumps(body).encode()
    http.send_response(status)
    http.send_header("Content-Type", "application/json; charset=UTF-8")
    http.send_header("Content-Length", str(len(content)))
    http.end_headers()
    http.wfile.write(content)


@contextmanager
def stubbed_compute() -> Iterator[StubbedCompute]:
    stub = StubbedCompute()
    thread = threading.Thread(target=stub.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.server.shutdown()
        stub.server.server_close()
        thread.join()
