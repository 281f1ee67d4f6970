"""Compute Engine's lists and the Cloud Billing Catalog on one HTTP port, small enough for a test.

Machine types are told in three zones only; everything else is as the package's catalogue knows it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from google.auth.credentials import AnonymousCredentials
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from hydra_gce.catalog import shelf
from hydra_gce.catalog.tables import Catalogue
from hydra_gce.cloud.backend import Backend
from tests.catalog.price_list import Sku

ZONES_WITH_TYPES = ("us-central1-a", "us-east4-a", "europe-west4-a")


@dataclass
class Google:
    """What it answers may be changed before it is asked. A status in `refusals` answers all paths that hold the key."""

    skus: list[Sku] = field(default_factory=list)
    zones: dict[str, str] = field(default_factory=dict)
    types: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    accelerators: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    unreachables: list[str] = field(default_factory=list)
    refusals: dict[str, int] = field(default_factory=dict)
    page: int = 1000
    asked: list[Request] = field(default_factory=list)

    def answer(self, request: Request) -> Response:
        self.asked.append(request)
        for path, status in self.refusals.items():
            if path in request.full_path:
                error = {"error": {"code": status, "message": f"{path} is refused", "errors": []}}
                return Response(json.dumps(error), status, mimetype="application/json")
        return Response(json.dumps(self._body(request)), mimetype="application/json")

    def _body(self, request: Request) -> dict[str, Any]:
        if request.path.endswith("/skus"):
            at = int(request.args.get("pageToken", 0))
            following = str(at + self.page) if at + self.page < len(self.skus) else ""
            return {"skus": self.skus[at : at + self.page], "nextPageToken": following}
        if request.path.endswith("/zones"):
            link = "https://www.googleapis.com/compute/v1/projects/ml-lab/regions/"
            return {"items": [{"name": zone, "region": link + at} for zone, at in self.zones.items()]}
        what = "machineTypes" if request.path.endswith("/machineTypes") else "acceleratorTypes"
        listed = self.types if what == "machineTypes" else self.accelerators
        scopes = {f"zones/{zone}": self._scope(what, zone, listed.get(zone)) for zone in self.zones}
        return {"items": scopes, "unreachables": self.unreachables}

    def _scope(self, what: str, zone: str, listed: list[dict[str, Any]] | None) -> dict[str, Any]:
        if listed and zone not in self.warnings:
            return {what: listed}
        return {"warning": {"code": self.warnings.get(zone, "NO_RESULTS_ON_PAGE"), "message": "", "data": []}}


def google(known: Catalogue) -> Google:
    """As the catalogue knows it."""
    accelerators: dict[str, list[dict[str, Any]]] = {}
    for gpu, zones in known.gpu_zones.items():
        for zone in zones:
            accelerators.setdefault(zone, []).append({"name": known.gpus[gpu].accelerator})
    return Google(
        zones=dict(known.zones),
        types={zone: list(_types(known, zone)) for zone in ZONES_WITH_TYPES},
        accelerators=accelerators,
    )


def _types(known: Catalogue, zone: str) -> Iterator[dict[str, Any]]:
    for kind in known.machine_types.values():
        if known.zones[zone] in kind.regions:
            yield machine_type(kind.name, kind.vcpus, int(kind.memory_gb * 1024), shared=kind.shared_core)


def machine_type(
    name: str,
    vcpus: int,
    memory_mb: int,
    *,
    shared: bool = False,
    accelerators: tuple[tuple[str, int], ...] = (),
    ssds: int = 0,
) -> dict[str, Any]:
    """As https://cloud.google.com/compute/docs/reference/rest/v1/machineTypes has it."""
    return {
        "name": name,
        "guestCpus": vcpus,
        "memoryMb": memory_mb,
        "isSharedCpu": shared,
        "bundledLocalSsds": {"defaultInterface": "NVME", "partitionCount": ssds},
        "accelerators": [
            {"guestAcceleratorType": accelerator, "guestAcceleratorCount": count}
            for accelerator, count in accelerators
        ],
    }


@contextmanager
def serving(stub: Google, *, billing: bool = True) -> Iterator[Backend]:
    """The backend that leads there."""
    server = make_server("127.0.0.1", 0, Request.application(stub.answer), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.port}"
    backend = Backend("cloud", "ml-lab", url, None, AnonymousCredentials(), None)
    try:
        yield replace(backend, billing_endpoint=url) if billing else backend
    finally:
        server.shutdown()
        thread.join(30)


PACKAGED = Catalogue(shelf.packaged())
