"""The VM as its metadata server describes it, and its own end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from hydra_gce.agent.__main__ import watch_preemption
from hydra_gce.agent.instance import Instance
from tests.patience import wait_until

TREE = {
    "instance": {
        "name": "hg-calm-otter-0",
        "zone": "projects/123/zones/us-central1-a",
        "machineType": "projects/123/machineTypes/e2-micro",
        "attributes": {"hydra-gce-sweep": "calm-otter"},
    },
    "project": {"projectId": "my-project"},
}


class Google:
    """A metadata server and Compute Engine, at one address."""

    def __init__(self) -> None:
        self.answers: dict[str, str] = {
            "?recursive=true&alt=json": json.dumps(TREE),
            "instance/service-accounts/default/token": json.dumps({"access_token": "ya29.x"}),
            "instance/preempted": "FALSE",
        }
        self.asked: list[str] = []
        self.deleted: list[tuple[str, str]] = []
        self.changed = threading.Event()
        google = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.removeprefix("/computeMetadata/v1/")
                google.asked.append(path)
                if self.headers.get("Metadata-Flavor") != "Google" or path == self.path:
                    return self.send_error(403)
                if "wait_for_change=true" in path:
                    google.changed.wait(30)
                    path = path.partition("?")[0]
                if path not in google.answers:
                    return self.send_error(503)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(google.answers[path].encode())

            def do_DELETE(self) -> None:
                google.deleted.append((self.path, self.headers["Authorization"]))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    made = Google()
    monkeypatch.setenv("GCE_METADATA_HOST", made.address)
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", f"http://{made.address}/compute/v1/")
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield made
    made.changed.set()
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def test_a_vm_learns_from_its_metadata_who_it_is(google: Google) -> None:
    assert Instance.here() == Instance(
        "hg-calm-otter-0", "us-central1-a", "my-project", "e2-micro", {"hydra-gce-sweep": "calm-otter"}
    )
    assert len(google.asked) == 1


def test_a_vm_deletes_itself_as_its_own_service_account(google: Google) -> None:
    Instance.here().delete()
    path = "/compute/v1/projects/my-project/zones/us-central1-a/instances/hg-calm-otter-0"
    assert google.deleted == [(path, "Bearer ya29.x")]


def test_an_agent_hears_at_once_that_its_vm_is_taken_back(google: Google) -> None:
    leave = threading.Event()
    thread = threading.Thread(target=watch_preemption, args=(leave,))
    thread.start()
    wait_until(lambda: any("wait_for_change=true" in path for path in google.asked), "it waits for a change")
    assert not leave.is_set()
    google.answers["instance/preempted"] = "TRUE"
    google.changed.set()
    thread.join(30)
    assert leave.is_set()


def test_a_vm_that_is_being_taken_back_already_is_noticed_without_a_change(google: Google) -> None:
    google.answers["instance/preempted"] = "TRUE"
    leave = threading.Event()
    watch_preemption(leave)
    assert leave.is_set()
    assert google.asked == ["instance/preempted"]
