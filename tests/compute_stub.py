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
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from google.auth.credentials import AnonymousCredentials

from hydra_gce.cloud.backend import Backend
from tests.stub_server import StubServer


@dataclass(frozen=True)
class Made:
    """The VM is made; with ``answered`` false its maker never hears of it."""

    answered: bool = True


@dataclass(frozen=True)
class Failed:
    """The operation ends with an error; with ``made`` true there is a VM for all that."""

    code: str
    message: str = "it says why"
    made: bool = False


@dataclass(frozen=True)
class Refused:
    """The request itself is refused; with ``made`` true it is carried out for all that."""

    status: int
    reason: str
    message: str = "it says why"
    made: bool = False


@dataclass(frozen=True)
class Dropped:
    """The connection breaks before anything is begun."""


@dataclass(frozen=True)
class Stuck:
    """The operation begins, makes its VM, and never ends."""


Outcome = Made | Failed | Refused | Dropped | Stuck


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
        self.clock: Callable[[], float] = lambda: 0.0
        """What VMs say of when they were made: seconds since the epoch, nothing where it is 0."""
        self.inserts: list[Insert] = []
        self.deleted: list[str] = []
        self.filters: list[str] = []
        self.instances: dict[str, dict[str, Any]] = {}
        self.former: list[dict[str, Any]] = []
        """VMs in the places of ``instances`` whose names were given again in others: they are being deleted."""
        self.consoles: dict[str, str] = {}
        self.preempted: set[str] = set()
        """Names of VMs of which the log of operations says that Compute Engine took them back."""
        self.gentle = False
        """A VM that is deleted shuts down first, until the test takes it away or it is deleted again."""
        self.waits = 0
        self._begun: dict[str, dict[str, Any]] = {}
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

        self.server = StubServer(("127.0.0.1", 0), Handler)
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
        elif parts[2:] == ["operations"]:
            _send(http, 200, {"kind": "compute#operationList", "items": self._taken_back(parts[1])})
        elif parts[2] == "operations":
            self.waits += 1
            _send(http, 200, self._operations[parts[3]])
        elif parts[4:] == ["serialPort"]:
            _send(http, 200, {"contents": self.consoles.get(parts[3], "")})
        elif http.command == "GET":
            self._get(http, parts)
        elif http.command == "DELETE":
            with self._lock:
                self._delete(http, parts)
        else:
            insert = Insert(parts[1], json.loads(content)["name"], query["requestId"], json.loads(content))
            with self._lock:
                self.inserts.append(insert)
                self._insert(http, insert)

    def _insert(self, http: BaseHTTPRequestHandler, insert: Insert) -> None:
        if insert.request_id in self._begun:  # a repeated request is answered with what it has begun
            return _send(http, 200, self._begun[insert.request_id])
        if self._is_in(insert.zone, insert.name):
            path = f"projects/my-project/zones/{insert.zone}/instances/{insert.name}"
            return _refuse(http, Refused(409, "alreadyExists", f"The resource '{path}' already exists"))
        outcome = self.decide(insert)
        if isinstance(outcome, Dropped):
            return _drop(http)
        if isinstance(outcome, Made | Stuck) or outcome.made:
            if insert.name in self.instances:
                self.former.append({**self.instances[insert.name], "status": "STOPPING"})
            self.instances[insert.name] = self._instance(insert)
        if isinstance(outcome, Refused):
            return _refuse(http, outcome)
        operation: dict[str, Any] = {
            "name": f"operation-{len(self._operations)}",
            "status": "RUNNING" if isinstance(outcome, Stuck) else "DONE",
            "zone": insert.zone,
            "operationType": "insert",
        }
        if isinstance(outcome, Failed):
            operation["error"] = {"errors": [{"code": outcome.code, "message": outcome.message}]}
        self._operations[operation["name"]] = operation
        self._begun[insert.request_id] = {**operation, "status": "RUNNING"}
        if isinstance(outcome, Made) and not outcome.answered:
            return _drop(http)
        _send(http, 200, self._begun[insert.request_id])

    def _instance(self, insert: Insert) -> dict[str, Any]:
        now = self.clock()
        made = datetime.fromtimestamp(now, timezone.utc).isoformat()
        return {
            **insert.body,
            "status": "RUNNING",
            "zone": f"https://www.googleapis.com/compute/v1/projects/my-project/zones/{insert.zone}",
            **({"creationTimestamp": made, "lastStartTimestamp": made} if now else {}),
        }

    def _taken_back(self, zone: str) -> list[dict[str, Any]]:
        below = f"https://www.googleapis.com/compute/v1/projects/my-project/zones/{zone}/instances"
        preempted = {"operationType": "compute.instances.preempted", "status": "DONE"}
        return [
            {"name": f"systemevent-{one}", **preempted, "targetLink": f"{below}/{one}"}
            for one in self.preempted
        ]

    def _get(self, http: BaseHTTPRequestHandler, parts: list[str]) -> None:
        if not self._is_in(parts[1], parts[3]):
            return _refuse(http, _missing(parts))
        _send(http, 200, self.instances[parts[3]])

    def _is_in(self, zone: str, name: str) -> bool:
        """Names are given once in each zone."""
        return name in self.instances and bool(self.instances[name]["zone"].endswith(f"/{zone}"))

    def _delete(self, http: BaseHTTPRequestHandler, parts: list[str]) -> None:
        if not self._is_in(parts[1], parts[3]):
            return _refuse(http, _missing(parts))
        self.deleted.append(parts[3])
        if self.gentle and self.instances[parts[3]]["status"] == "RUNNING":
            self.instances[parts[3]]["status"] = "STOPPING"
        else:
            del self.instances[parts[3]]
        _send(http, 200, {"name": "operation-delete", "status": "DONE"})

    def _listing(self, wanted: str) -> dict[str, Any]:
        """By zone; ``wanted`` is a filter by one label, as we send it."""
        label, _, value = wanted.removeprefix("labels.").partition("=")
        scopes: dict[str, Any] = {}
        for instance in [*self.instances.values(), *self.former]:
            if value and instance["labels"].get(label) != value:
                continue
            zone = "zones/" + instance["zone"].rpartition("/")[2]
            scopes.setdefault(zone, {"instances": []})["instances"].append(instance)
        return scopes


def _missing(parts: list[str]) -> Refused:
    path = f"projects/my-project/zones/{parts[1]}/instances/{parts[3]}"
    return Refused(404, "notFound", f"The resource '{path}' was not found")


def _drop(http: BaseHTTPRequestHandler) -> None:
    http.connection.shutdown(socket.SHUT_RDWR)
    http.close_connection = True


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
