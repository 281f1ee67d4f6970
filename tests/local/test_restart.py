"""`kill -9` of the server: nothing is lost, and what was under way comes to its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hydra_gce.local.compute.names import link
from hydra_gce.local.home import Home, Running
from hydra_gce.local.launch import call
from hydra_gce.local.store import Resource, SeenRequest, Store
from hydra_gce.local.vm import ExitReason
from tests.local.embedded import PROJECT, ZONE, Embedded, eventually
from tests.local.fake_machine import FakeMachines


class Command:
    """`python -m hydra_gce.local` in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = Home(home / "local")
        self._environment = {**os.environ, "HYDRA_GCE_HOME": str(home)}

    def __call__(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "hydra_gce.local", *arguments]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ensure(self, *more: str) -> dict[str, str]:
        answer: dict[str, str] = json.loads(self("ensure", "--python", sys.executable, *more))
        return answer

    def server(self) -> Running:
        running = self.home.last()
        assert running is not None
        return running


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    command = Command(tmp_path)
    try:
        yield command
    finally:
        command("stop")


def rest(address: str, path: str, body: Any = None) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{address}/compute/v1/projects/{PROJECT}/zones/{ZONE}/{path}",
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def vm(image: str, script: str) -> dict[str, Any]:
    return {
        "name": "vm",
        "machineType": f"zones/{ZONE}/machineTypes/e2-micro",
        "disks": [{"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": image}}],
        "networkInterfaces": [{"network": "global/networks/default"}],
        "metadata": {"items": [{"key": "startup-script", "value": script}]},
    }


def test_a_vm_outlives_a_killed_server_and_is_found_again(command: Command) -> None:
    where = command.ensure()
    operation = rest(where["compute"], "instances", vm(where["image"], "echo ready; sleep 1000"))
    rest(where["compute"], f"operations/{operation['name']}/wait", {})
    os.kill(command.server().pid, signal.SIGKILL)
    eventually(lambda: not command.home.served())
    again = command.ensure()
    assert again == where  # the same ports: guests know them
    assert rest(again["compute"], "instances/vm")["status"] == "RUNNING"
    eventually(lambda: "ready" in rest(again["compute"], "instances/vm/serialPort")["contents"])
    operation = rest(again["compute"], "instances/vm/stop", {})
    done = rest(again["compute"], f"operations/{operation['name']}/wait", {})
    assert "error" not in done
    assert rest(again["compute"], "instances/vm")["status"] == "TERMINATED"


def test_what_lies_in_buckets_outlives_a_killed_server(command: Command) -> None:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    where = command.ensure()

    def client() -> storage.Client:
        options = {"api_endpoint": where["storage"]}
        return storage.Client(PROJECT, AnonymousCredentials(), client_options=options)

    blob = client().create_bucket("kept").blob("a/b.txt")
    blob.metadata = {"state": "RUNNING"}
    blob.upload_from_string(b"hello")
    os.kill(command.server().pid, signal.SIGKILL)
    eventually(lambda: not command.home.served())
    assert command.ensure()["storage"] == where["storage"]
    found = client().bucket("kept").get_blob("a/b.txt")
    assert found.download_as_bytes() == b"hello"
    assert found.metadata == {"state": "RUNNING"}
    assert found.generation == blob.generation


def test_many_that_ensure_at_once_get_one_server(command: Command) -> None:
    arguments = [sys.executable, "-m", "hydra_gce.local", "ensure", "--python", sys.executable]
    environment = {**os.environ, "HYDRA_GCE_HOME": str(command.home.path.parent)}
    several = [subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE) for _ in range(4)]
    answers = {one.communicate(timeout=120)[0] for one in several}
    assert len(answers) == 1
    assert json.loads(answers.pop())["project"] == PROJECT


def test_a_server_that_nobody_needs_ends_by_itself(command: Command) -> None:
    command.ensure("--idle-exit", "0.2")
    eventually(lambda: not command.home.served())
    assert json.loads(command("status", "--json"))["running"] is False


def test_a_server_whose_home_is_removed_ends(tmp_path: Path, machines: FakeMachines) -> None:
    home = tmp_path / "local"
    home.mkdir()
    embedded = Embedded(home, machines)
    home.rename(tmp_path / "removed")  # at once: the server, still at work, writes into it
    eventually(embedded.ended)


def test_env_starts_the_server_and_names_it_to_googles_tools(command: Command) -> None:
    exports = command("env")
    running = command.server()
    assert f"export CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE={running.compute}/compute/v1/" in exports
    assert f"export STORAGE_EMULATOR_HOST={running.storage}" in exports
    assert call(running, "GET", "status")[1]["instances"] == []


def test_ensure_loads_nothing_heavy() -> None:
    program = "import sys, hydra_gce.local.__main__; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    heavy = {"werkzeug", "sqlite3", "google", "http", "email", "asyncio", "logging", "importlib.resources"}
    assert heavy.isdisjoint(loaded.split())


def test_an_executable_that_is_not_there_is_named(command: Command, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="there is no such executable"):
        command("ensure", "--python", str(tmp_path / "none"))


def test_an_operation_that_a_dead_server_left_behind_is_finished(
    tmp_path: Path, machines: FakeMachines
) -> None:
    home = tmp_path / "local"
    home.mkdir()
    first = Embedded(home, machines)
    first.insert("vm")
    first.close(power_off=False)
    leave_stop_unfinished(Home(home))
    second = Embedded(home, machines)
    try:
        eventually(lambda: second.get("vm").status == "TERMINATED")
        (left,) = [
            one for one in second.operations.list(project=PROJECT, zone=ZONE) if one.name == "operation-left"
        ]
        assert second.wait(left).progress == 100
    finally:
        second.close()


def test_a_vm_that_died_with_nobody_looking_is_terminated(tmp_path: Path, machines: FakeMachines) -> None:
    (tmp_path / "local").mkdir()
    first = Embedded(tmp_path / "local", machines)
    first.insert("vm")
    first.close(power_off=False)
    machines.named("vm").end(ExitReason.CRASHED)
    second = Embedded(tmp_path / "local", machines)
    try:
        eventually(lambda: second.get("vm").status == "TERMINATED")
    finally:
        second.close()


def test_a_request_id_is_known_after_a_restart(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.sqlite")
    store.remember_request(PROJECT, "id", SeenRequest("digest", f"zones/{ZONE}", "operation-1"))
    store.close()
    again = Store(tmp_path / "state.sqlite")
    assert again.request(PROJECT, "id") == SeenRequest("digest", f"zones/{ZONE}", "operation-1")
    again.close()


def leave_stop_unfinished(home: Home) -> None:
    """What the store looks like when a server dies in the middle of a stop."""
    store = Store(home.state)
    instance = store.get("instances", PROJECT, f"zones/{ZONE}", "vm")
    assert instance is not None
    body = {
        "kind": "compute#operation",
        "id": "1",
        "name": "operation-left",
        "operationType": "stop",
        "targetLink": instance.body["selfLink"],
        "targetId": instance.body["id"],
        "status": "RUNNING",
        "progress": 0,
        "insertTime": instance.body["creationTimestamp"],
        "selfLink": link(PROJECT, "zones", ZONE, "operations", "operation-left"),
        "zone": link(PROJECT, "zones", ZONE),
    }
    private = {"work": "instances.stop", "arguments": {}}
    store.put(Resource("operations", PROJECT, f"zones/{ZONE}", "operation-left", body, private))
    store.close()
