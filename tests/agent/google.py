"""A metadata server and Compute Engine, at one address, that answer as they are told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

TREE: dict[str, dict[str, Any]] = {
    "instance": {
        "name": "hg-calm-otter-0",
        "zone": "projects/123/zones/us-central1-a",
        "machineType": "projects/123/machineTypes/e2-micro",
        "attributes": {"hydra-gce-sweep": "calm-otter"},
    },
    "project": {"projectId": "my-project"},
}


class Google:
    """``answers`` by path below ``/computeMetadata/v1/``; ``refusals`` are statuses for the next requests, in order.

    ``deletions`` are the answers to deletions, in order, then 200; ``late_s`` is how long each answer takes.
    """

    def __init__(self) -> None:
        self.answers: dict[str, str] = {
            "?recursive=true&alt=json": json.dumps(TREE),
            "instance/service-accounts/default/token": json.dumps({"access_token": "ya29.x"}),
            "instance/preempted": "FALSE",
            "instance/maintenance-event": "NONE",
        }
        self.asked: list[str] = []
        self.refusals: list[int] = []
        self.deletions: list[tuple[int, str]] = []
        self.deleted: list[tuple[str, str]] = []
        self.late_s = 0.0
        self.hush = threading.Event()  # never set: what a slow answer waits for
        self.change = threading.Condition()
        self.over = False
        google = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.removeprefix("/computeMetadata/v1/")
                google.asked.append(path)
                google.hush.wait(google.late_s)
                if self.headers.get("Metadata-Flavor") != "Google" or path == self.path:
                    return self.send_error(403)
                if google.refusals:
                    return self.send_error(google.refusals.pop(0))
                name, _, query = path.partition("?")
                if "wait_for_change=true" in query:
                    google.hold(name, query.partition("last_etag=")[2])
                    path = name
                if path not in google.answers:
                    return self.send_error(503)
                self.send_response(200)
                self.send_header("ETag", google.etag(path))
                self.end_headers()
                self.wfile.write(google.answers[path].encode())

            def do_DELETE(self) -> None:
                google.deleted.append((self.path, self.headers["Authorization"]))
                status, said = google.deletions.pop(0) if google.deletions else (200, "{}")
                self.send_response(status)
                self.end_headers()
                self.wfile.write(said.encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    def etag(self, path: str) -> str:
        return f"etag-of-{self.answers.get(path, '')}"

    def hold(self, path: str, etag: str) -> None:
        """Until the value is another than ``etag``'s."""
        with self.change:
            self.change.wait_for(lambda: self.over or self.etag(path) != etag, 60)

    def turn(self, path: str, value: str) -> None:
        with self.change:
            self.answers[path] = value
            self.change.notify_all()

    def end(self) -> None:
        with self.change:
            self.over = True
            self.change.notify_all()


@contextmanager
def google_at_hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    made = Google()
    monkeypatch.setenv("GCE_METADATA_HOST", made.address)
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", f"http://{made.address}/compute/v1/")
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.end()
        made.server.shutdown()
        made.server.server_close()
        thread.join()
