"""Compute Engine's API with VMs that boot at once and run nothing, for tests of what is listed and deleted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud import compute_v1

from hydra_gce.cloud.backend import Backend
from hydra_gce.labels import SWEEP_LABEL
from tests.local.embedded import PROJECT, ZONE, Embedded
from tests.local.fake_machine import FakeMachines
from tests.lossy_proxy import LossyProxy

BOOT_DISK = "persistent-disk-0"


@dataclass
class QuickCloud:
    embedded: Embedded
    machines: FakeMachines
    backend: Backend

    def make(self, sweep: str, num: int = 0, *, wait: bool = True, **fields: Any) -> str:
        """A VM as a sweep's; its disk has the label too."""
        name, labels = f"hg-{sweep}-{num}", {SWEEP_LABEL: sweep}
        parameters = compute_v1.AttachedDiskInitializeParams(
            source_image="projects/debian-cloud/global/images/family/debian-12", labels=labels
        )
        disk = compute_v1.AttachedDisk(boot=True, auto_delete=True, initialize_params=parameters)
        body = {"labels": labels, "disks": [disk], **fields}
        if wait:
            self.embedded.insert(name, **body)
        else:
            from tests.local.embedded import instance

            self.embedded.instances.insert_unary(
                project=PROJECT, zone=ZONE, instance_resource=instance(name, **body)
            )
        return name

    def leave_its_disk(self, name: str) -> None:
        """The VM goes, its disk stays."""
        self.embedded.call("set_disk_auto_delete", name, auto_delete=False, device_name=BOOT_DISK)
        self.embedded.call("delete", name)

    def disks(self) -> list[str]:
        return [disk.name for disk in self.embedded.disks.list(project=PROJECT, zone=ZONE)]

    def through(self, proxy: LossyProxy) -> Backend:
        return replace(self.backend, compute_endpoint=proxy.url)


@contextmanager
def quick_cloud(directory: Path) -> Iterator[QuickCloud]:
    (directory / "local").mkdir()
    machines = FakeMachines()
    embedded = Embedded(directory / "local", machines)
    try:
        yield QuickCloud(
            embedded, machines, Backend("local", PROJECT, embedded.url, None, AnonymousCredentials(), None)
        )
    finally:
        machines.booting.set()
        embedded.close()
    assert embedded.server.broken == []


class AnsweringProxy(LossyProxy):
    """Answers some requests itself: ``answers`` has, for a method and the end of a path, the body."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.answers: dict[tuple[str, str], Callable[[], dict[str, Any]]] = {}

    def _hand_on(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0]
        for (method, end), answer in self.answers.items():
            if request.command == method and path.endswith(end):
                content = json.dumps(answer()).encode()
                self.seen.append((request.command, request.path))
                request.send_response(200)
                request.send_header("Content-Type", "application/json")
                request.send_header("Content-Length", str(len(content)))
                request.end_headers()
                request.wfile.write(content)
                return
        super()._hand_on(request)
