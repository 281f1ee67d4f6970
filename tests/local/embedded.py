"""An embedded Compute Engine in this process, spoken to over HTTP by Google's own client."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud import compute_v1
from werkzeug.wrappers import Request, Response

from hydra_gce.local.compute.cloud import Notice
from hydra_gce.local.home import Home
from hydra_gce.local.host import Host
from hydra_gce.local.server import Server
from tests.local.fake_machine import FakeMachines
from tests.local.schema import violations

PROJECT = "hydra-gce-local"
ZONE = "us-central1-a"
HOST = Host(cores=2, memory_bytes=20 << 30)
DEBIAN = "projects/debian-cloud/global/images/family/debian-12"
QUICK = Notice(stop_s=2, preemption_s=1, maintenance_s=0.05, migration_s=0.05)


class CheckedServer(Server):
    """Holds every exchange against Google's schema; what breaks it is kept in `broken`."""

    broken: list[str]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ)
        if not request.path.startswith("/compute/v1/"):
            return super().__call__(environ, start_response)
        response = self._compute.answer(request)
        self._check(request, response)
        return response(environ, start_response)

    def _check(self, request: Request, response: Response) -> None:
        if "fields" in request.args or response.status_code == 400:
            return  # a part of an answer; a request that was refused may be what it is
        sent, answer = request.get_data(), response.get_data()
        self.broken += violations(
            request.method, request.path, json.loads(sent or b"{}"), response.status_code, json.loads(answer)
        )


class Embedded:
    """A running server, and Google's clients for it."""

    def __init__(self, home: Path, machines: FakeMachines, host: Host = HOST) -> None:
        self.home = Home(home)
        self.machines = machines
        self.server = CheckedServer(self.home, machine=machines, host=host, notice=QUICK)
        self.server.broken = []
        self._thread = threading.Thread(target=self.server.serve)
        self._thread.start()
        eventually(lambda: self.home.last() == self.server.running)
        self.url = self.server.running.compute
        options: dict[str, Any] = {
            "credentials": AnonymousCredentials(),
            "client_options": {"api_endpoint": self.url},
        }
        self.instances = compute_v1.InstancesClient(**options)
        self.operations = compute_v1.ZoneOperationsClient(**options)
        self.global_operations = compute_v1.GlobalOperationsClient(**options)
        self.images = compute_v1.ImagesClient(**options)
        self.disks = compute_v1.DisksClient(**options)
        self.regions = compute_v1.RegionsClient(**options)
        self.zones = compute_v1.ZonesClient(**options)
        self.machine_types = compute_v1.MachineTypesClient(**options)
        self.accelerator_types = compute_v1.AcceleratorTypesClient(**options)
        self.projects = compute_v1.ProjectsClient(**options)

    def close(self, *, power_off: bool = True) -> None:
        for client in vars(self).values():
            if hasattr(client, "transport"):
                client.transport.close()
        self.server.stop(power_off=power_off)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def ended(self) -> bool:
        return not self._thread.is_alive()

    def insert(self, name: str, machine_type: str = "e2-micro", **fields: Any) -> compute_v1.Operation:
        """Insert and wait; the finished operation, failed or not."""
        return self.wait(
            self.instances.insert_unary(
                project=PROJECT, zone=ZONE, instance_resource=instance(name, machine_type, **fields)
            )
        )

    def call(self, method: str, name: str, **arguments: Any) -> compute_v1.Operation:
        """Call a method of an instance and wait."""
        unary = getattr(self.instances, f"{method}_unary")
        return self.wait(unary(project=PROJECT, zone=ZONE, instance=name, **arguments))

    def wait(self, operation: compute_v1.Operation) -> compute_v1.Operation:
        client: Any = self.operations if operation.zone else self.global_operations
        place = {"zone": ZONE} if operation.zone else {}
        done: compute_v1.Operation = client.wait(project=PROJECT, operation=operation.name, **place)
        assert done.status == compute_v1.Operation.Status.DONE
        return done

    def get(self, name: str) -> compute_v1.Instance:
        return self.instances.get(project=PROJECT, zone=ZONE, instance=name)

    def names(self, **query: Any) -> list[str]:
        request = compute_v1.ListInstancesRequest(project=PROJECT, zone=ZONE, **query)
        return [one.name for one in self.instances.list(request=request)]

    def raw(self, path: str) -> Any:
        """GET below the project, whatever the answer is."""
        try:
            with urllib.request.urlopen(f"{self.url}/compute/v1/projects/{PROJECT}/{path}") as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            return json.load(refused)

    def codes(self, operation: compute_v1.Operation) -> list[str]:
        return [error.code for error in operation.error.errors]


def instance(name: str, machine_type: str = "e2-micro", **fields: Any) -> compute_v1.Instance:
    parameters = compute_v1.AttachedDiskInitializeParams(source_image=fields.pop("image", DEBIAN))
    disk = compute_v1.AttachedDisk(boot=True, auto_delete=True, initialize_params=parameters)
    defaults = {
        "disks": [disk],
        "machine_type": f"zones/{ZONE}/machineTypes/{machine_type}",
        "network_interfaces": [compute_v1.NetworkInterface(network="global/networks/default")],
    }
    return compute_v1.Instance(name=name, **{**defaults, **fields})


def eventually(condition: Callable[[], Any], within_s: float = 30.0) -> Any:
    """What `condition` returns as soon as it is true."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "did not come true in time"
        threading.Event().wait(0.01)
    return value
