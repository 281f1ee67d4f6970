"""Compute Engine's verbs on VMs, as the launcher needs them: plain values in, plain values out.

``Compute`` is what they are called through: ``HereCompute`` in this process, ``compute_process`` in one beside it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from hydra_gce.backend import Backend
from hydra_gce.errors import Unreachable
from hydra_gce.refusals import Reach, Refusal, judge
from hydra_gce.request import SWEEP_LABEL, to_message
from hydra_gce.unreachable import UNREACHABLE

LEAVING = ("STOPPING", "PENDING_STOP")
"""Being shut down: what runs there has a while to end, and costs."""
OFF = ("TERMINATED", "STOPPED", "SUSPENDED")
GONE = (*LEAVING, *OFF)

_FEW_ZONES = 4  # an answer over all zones has a part for each of them: a hundred and more


@dataclass(frozen=True)
class Instance:
    """A VM as Compute Engine lists it. ``created`` in seconds since the epoch."""

    name: str
    zone: str
    status: str
    machine_type: str
    labels: dict[str, str]
    created: float

    @property
    def sweep(self) -> str:
        return self.labels.get(SWEEP_LABEL, "")


class Compute(Protocol):
    """:raises Unreachable: Compute Engine cannot be reached; whether the request was carried out is not known.

    :raises ConfigError: the request is not one that Compute Engine knows.
    """

    def insert(self, zone: str, body: dict[str, Any], request_id: str) -> Refusal | None:
        """Makes a VM, or says who refused it. An attempt's own VM that exists already is as good as made."""

    def instances(self, sweep: str | None = None, zones: Collection[str] | None = None) -> list[Instance]:
        """The VMs of a sweep, or of all sweeps; in a few zones, or wherever they are."""

    def delete(self, zone: str, name: str) -> None:
        """Asks for a VM's deletion; one that is gone already is no error."""


@dataclass(frozen=True)
class HereCompute:
    """Google's own client, imported in this process: two seconds."""

    backend: Backend

    def insert(self, zone: str, body: dict[str, Any], request_id: str) -> Refusal | None:
        from google.api_core.exceptions import Conflict, GoogleAPICallError
        from google.cloud import compute_v1

        project = self.backend.project
        request = compute_v1.InsertInstanceRequest(
            project=project, zone=zone, instance_resource=to_message(body), request_id=request_id
        )
        try:
            operation = self.backend.instances.insert_unary(request=request)
            while operation.status != compute_v1.Operation.Status.DONE:
                operation = self.backend.zone_operations.wait(
                    project=project, zone=zone, operation=operation.name
                )
        except Conflict:
            return None  # a former request for the very same attempt made it, and its answer was lost
        except GoogleAPICallError as error:
            return judge(_reason(error), error.message, error.code)
        except UNREACHABLE as error:  # the same request again tells whether it was carried out
            return Refusal(type(error).__name__, str(error), Reach.ATTEMPT)
        if operation.error.errors:
            first = operation.error.errors[0]
            return judge(first.code, first.message)
        return None

    def instances(self, sweep: str | None = None, zones: Collection[str] | None = None) -> list[Instance]:
        from google.cloud import compute_v1

        project, client = self.backend.project, self.backend.instances
        wanted = f"labels.{SWEEP_LABEL}={sweep}" if sweep else f"labels.{SWEEP_LABEL}:*"
        try:
            if zones is not None and len(zones) <= _FEW_ZONES:
                requests = [
                    compute_v1.ListInstancesRequest(project=project, zone=zone, filter=wanted)
                    for zone in sorted(zones)
                ]
                return [_instance(one) for request in requests for one in client.list(request=request)]
            everywhere = compute_v1.AggregatedListInstancesRequest(project=project, filter=wanted)
            return [
                _instance(one)
                for _, scope in client.aggregated_list(request=everywhere)
                for one in scope.instances
            ]
        except UNREACHABLE as error:
            raise Unreachable(str(error)) from error

    def delete(self, zone: str, name: str) -> None:
        from google.api_core.exceptions import NotFound

        try:
            self.backend.instances.delete_unary(project=self.backend.project, zone=zone, instance=name)
        except NotFound:
            return
        except UNREACHABLE as error:
            raise Unreachable(str(error)) from error


def _instance(listed: Any) -> Instance:
    return Instance(
        name=listed.name,
        zone=listed.zone.rpartition("/")[2],
        status=listed.status,
        machine_type=listed.machine_type.rpartition("/")[2],
        labels=dict(listed.labels),
        created=_seconds(listed.creation_timestamp),
    )


def _seconds(rfc3339: str) -> float:
    """Since the epoch; 0 for a VM that has no time yet."""
    return datetime.fromisoformat(rfc3339.replace("Z", "+00:00")).timestamp() if rfc3339 else 0.0


def _reason(error: Any) -> str:
    """Google's short word for an HTTP error: ``error.errors[0].reason``."""
    for detail in getattr(error, "errors", None) or []:
        if isinstance(detail, dict) and detail.get("reason"):
            return str(detail["reason"])
    return str(getattr(error, "reason", None) or type(error).__name__)
