"""The metadata server has Google's paths and manners."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hydra_gce.local.vm import network
from hydra_gce.local.vm.metadata_server import MetadataServer

FLAVOR = {"Metadata-Flavor": "Google"}
TREE: dict[str, Any] = {
    "instance": {
        "attributes": {"startup-script": "echo", "camelCase": "kept"},
        "id": 4520031799277581759,
        "machineType": "projects/1/machineTypes/n1-standard-1",
        "networkInterfaces": [
            {"ip": "10.0.0.2", "accessConfigs": [{"externalIp": "", "type": "ONE_TO_ONE_NAT"}]}
        ],
        "preempted": "FALSE",
        "scheduling": {"automaticRestart": "TRUE", "onHostMaintenance": "MIGRATE", "preemptible": "FALSE"},
        "serviceAccounts": {
            "default": {
                "aliases": ["default"],
                "email": "robot@example.test",
                "scopes": ["scope-a", "scope-b"],
            },
            "robot@example.test": {
                "aliases": ["default"],
                "email": "robot@example.test",
                "scopes": ["scope-a"],
            },
        },
        "tags": ["a", "b"],
    },
    "project": {"attributes": {}, "numericProjectId": 1, "projectId": "hydra-gce-local"},
}


class Client:
    """Speaks to the server as a guest does; write() is what the hypervisor's client does."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.write(TREE)
        self.server = MetadataServer(str(directory))
        listener = network.listen("127.0.0.1", 0)
        self.address: tuple[str, int] = listener.getsockname()
        network.serve(listener, self.server.answer, "metadata")

    def write(self, tree: dict[str, Any]) -> None:
        part = self.directory / "part"
        part.write_text(json.dumps(tree))
        part.rename(self.directory / "metadata.json")

    def ask(
        self, path: str, headers: dict[str, str] | None = None, method: str = "GET", body: str | None = None
    ) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        connection.request(method, path, body=body, headers=FLAVOR if headers is None else headers)
        answer = connection.getresponse()
        content = answer.read().decode()
        connection.close()
        return answer.status, dict(answer.getheaders()), content

    def get(self, path: str) -> str:
        status, _, content = self.ask(f"/computeMetadata/v1/{path}")
        assert status == 200, content
        return content


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    yield Client(tmp_path)


def test_a_value_is_plain_text(client: Client) -> None:
    status, headers, content = client.ask("/computeMetadata/v1/instance/machine-type")
    assert (status, content) == (200, "projects/1/machineTypes/n1-standard-1")
    assert headers["Metadata-Flavor"] == "Google"
    assert headers["Server"] == "Metadata Server for VM"
    assert headers["Content-Type"] == "application/text"
    assert len(headers["ETag"]) == 16


def test_paths_are_kebab_case_and_attributes_keep_their_names(client: Client) -> None:
    assert client.get("instance/scheduling/on-host-maintenance") == "MIGRATE"
    assert client.get("instance/attributes/camelCase") == "kept"
    assert client.get("instance/service-accounts/robot@example.test/email") == "robot@example.test"
    assert client.get("instance/network-interfaces/0/access-configs/0/type") == "ONE_TO_ONE_NAT"
    assert client.get("project/project-id") == "hydra-gce-local"


def test_directories_are_listed_sorted_with_slashes(client: Client) -> None:
    assert client.get("") == "instance/\nproject/\n"
    assert client.get("instance/").split("\n")[:4] == [
        "attributes/",
        "id",
        "machine-type",
        "network-interfaces/",
    ]
    assert client.get("instance/network-interfaces/") == "0/\n"
    assert client.get("project/attributes/") == ""


def test_a_directory_without_its_slash_is_a_redirect(client: Client) -> None:
    status, headers, _ = client.ask("/computeMetadata/v1/instance")
    assert status == 301
    assert headers["Location"].endswith("/computeMetadata/v1/instance/")


def test_recursive_answers_are_json_in_camel_case(client: Client) -> None:
    status, headers, content = client.ask("/computeMetadata/v1/instance/?recursive=true")
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert json.loads(content) == TREE["instance"]
    assert json.loads(client.get("instance/attributes?recursive=true")) == TREE["instance"]["attributes"]


def test_recursive_text_is_a_line_for_each_value(client: Client) -> None:
    lines = client.get("instance/?recursive=true&alt=text").splitlines()
    assert "attributes/startup-script echo" in lines
    assert "scheduling/preemptible FALSE" in lines


def test_values_as_json_and_lists_in_their_own_form(client: Client) -> None:
    assert client.get("instance/preempted?alt=json") == '"FALSE"'
    assert client.get("instance/id?alt=json") == "4520031799277581759"
    assert client.get("instance/tags") == '["a","b"]'
    assert client.get("instance/service-accounts/default/scopes") == "scope-a\nscope-b\n"


def test_the_flavor_header_is_demanded(client: Client) -> None:
    status, headers, content = client.ask("/computeMetadata/v1/instance/id", headers={})
    assert status == 403
    assert "Missing Metadata-Flavor:Google header" in content
    assert headers["Content-Type"].startswith("text/html")


def test_forwarded_requests_are_refused(client: Client) -> None:
    status, _, _ = client.ask(
        "/computeMetadata/v1/instance/id", headers={**FLAVOR, "X-Forwarded-For": "10.0.0.1"}
    )
    assert status == 403


def test_what_does_not_exist_is_not_found(client: Client) -> None:
    for path in (
        "/computeMetadata/v1/instance/nothing",
        "/computeMetadata/v1/instance/machineType",
        "/nowhere",
    ):
        status, headers, _ = client.ask(path)
        assert status == 404, path
        assert headers["Metadata-Flavor"] == "Google"


def test_the_root_names_the_api_without_the_header(client: Client) -> None:
    status, headers, content = client.ask("/", headers={})
    assert (status, content) == (200, "computeMetadata/\n")
    assert headers["Metadata-Flavor"] == "Google"


def test_posting_is_refused(client: Client) -> None:
    assert client.ask("/computeMetadata/v1/instance/id", method="POST", body="x")[0] == 405


def test_waiting_ends_when_the_value_changes(client: Client) -> None:
    _, headers, _ = client.ask("/computeMetadata/v1/instance/preempted")
    etag, answers = headers["ETag"], []

    def wait() -> None:
        path = f"/computeMetadata/v1/instance/preempted?wait_for_change=true&last_etag={etag}&timeout_sec=30"
        answers.append(client.ask(path))

    waiting = threading.Thread(target=wait)
    waiting.start()
    changed = json.loads(json.dumps(TREE))
    changed["instance"]["preempted"] = "TRUE"
    client.write(changed)
    client.server.changed()
    waiting.join(10)
    assert not waiting.is_alive()
    status, headers, content = answers[0]
    assert (status, content) == (200, "TRUE")
    assert headers["ETag"] != etag


def test_waiting_ends_at_its_timeout_with_the_value_of_now(client: Client) -> None:
    assert client.get("instance/preempted?wait_for_change=true&timeout_sec=0.1") == "FALSE"
    assert client.get("instance/preempted?wait_for_change=true&timeout_sec=0") == "FALSE"


def test_an_etag_that_is_not_of_now_is_answered_at_once(client: Client) -> None:
    assert client.get("instance/preempted?wait_for_change=true&last_etag=NONE&timeout_sec=60") == "FALSE"
    assert client.get("instance/preempted?wait_for_change=true&last_etag=0") == "FALSE"


def test_waiting_on_a_directory_sees_a_change_below_it(client: Client) -> None:
    _, headers, _ = client.ask("/computeMetadata/v1/instance/?recursive=true")
    changed = json.loads(json.dumps(TREE))
    changed["instance"]["attributes"]["new"] = "1"
    client.write(changed)
    path = f"instance/?recursive=true&wait_for_change=true&last_etag={headers['ETag']}"
    assert json.loads(client.get(path))["attributes"]["new"] == "1"


def test_a_service_account_has_tokens(client: Client) -> None:
    token = json.loads(client.get("instance/service-accounts/default/token"))
    assert set(token) == {"access_token", "expires_in", "token_type"}
    assert token["token_type"] == "Bearer"
    identity = client.get("instance/service-accounts/default/identity?audience=https://x.test")
    assert len(identity.split(".")) == 3
    assert client.ask("/computeMetadata/v1/instance/service-accounts/default/identity")[0] == 400
    assert client.ask("/computeMetadata/v1/instance/service-accounts/nobody/token")[0] == 404


def test_guest_attributes_are_written_read_and_listed_where_enabled(client: Client) -> None:
    path = "/computeMetadata/v1/instance/guest-attributes/space/key"
    assert client.ask(path, method="PUT", body="value")[0] == 403
    enabled = json.loads(json.dumps(TREE))
    enabled["instance"]["attributes"]["enable-guest-attributes"] = "TRUE"
    client.write(enabled)
    assert client.ask(path, method="PUT", body="value")[0] == 200
    assert client.get("instance/guest-attributes/space/key") == "value"
    assert client.get("instance/guest-attributes/") == "space/\n"
    assert json.loads(client.get("instance/guest-attributes/?recursive=true")) == {"space": {"key": "value"}}
    assert "guest" not in client.get("instance/")
    assert client.ask(path, method="DELETE")[0] == 200
    assert client.ask(path)[0] == 404


def test_a_connection_carries_several_requests(client: Client) -> None:
    connection = http.client.HTTPConnection(*client.address, timeout=30)
    for _ in range(3):
        connection.request("GET", "/computeMetadata/v1/instance/id", headers=FLAVOR)
        assert connection.getresponse().read() == b"4520031799277581759"
    connection.close()


def test_head_answers_without_a_body(client: Client) -> None:
    request = b"HEAD /computeMetadata/v1/instance/id HTTP/1.1\r\nMetadata-Flavor: Google\r\nConnection: close\r\n\r\n"
    with socket.create_connection(client.address, timeout=30) as raw, raw.makefile("rb") as answer:
        raw.sendall(request)
        content = answer.read()
    assert content.startswith(b"HTTP/1.1 200 OK\r\n")
    assert content.endswith(b"Content-Length: 19\r\n\r\n")


@pytest.mark.parametrize("words", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"])
def test_what_is_not_http_gets_a_bad_request(client: Client, words: bytes) -> None:
    with socket.create_connection(client.address, timeout=30) as raw:
        raw.sendall(words)
        assert raw.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_wrong_timeout_gets_a_bad_request(client: Client) -> None:
    assert client.ask("/computeMetadata/v1/instance/id?wait_for_change=true&timeout_sec=soon")[0] == 400
