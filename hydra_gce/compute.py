"""Compute Engine's verbs on VMs, as the launcher needs them: plain values in, plain values out.

``Compute`` is what they are called through: ``HereCompute`` in this process, ``compute_process`` in one beside it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from hydra_gce import quotas
from hydra_gce.backend import Backend
from hydra_gce.errors import CredentialsError, Unreachable
from hydra_gce.quotas import Quotas
from hydra_gce.refusals import Reach, Refusal, judge
from hydra_gce.request import SWEEP_LABEL, to_message
from hydra_gce.unreachable import UNREACHABLE

if TYPE_CHECKING:
    from hydra_gce.leftovers import Found, Leftover

QUEUED = "PENDING"
"""Waits in Google's queue for its place, and costs nothing."""
LEAVING = ("STOPPING", "PENDING_STOP")
"""Being shut down: what runs there has a while to end, and costs."""
OFF = ("TERMINATED", "STOPPED", "SUSPENDED")
GONE = (*LEAVING, *OFF)

_FEW_ZONES = 4  # an answer over all zones has a part for each of them: a hundred and more
OPERATION_S = 600.0
"""An insert takes seconds, a minute at most. One that takes longer is stuck: Google ends it some day."""
_ANSWER_S = 60.0
_AGAIN_S = 20.0
_RATE_LIMITS = ("rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED")
_LONGEST_WAIT_S = 150.0  # Google answers within two minutes, done or not
_QUEUE_LOOK_S = 3.0
_UNHEARD, _PAUSE_S = 5, 1.0
_CONSOLE_BYTES = 4000


@dataclass(frozen=True)
class Instance:
    """A VM as Compute Engine lists it.

    ``created`` and ``started`` in seconds since the epoch, 0 where there is none yet; ``model`` is the provisioning
    model in the API's words, ``accelerators`` the GPUs as pairs of the API's type and how many.
    """

    name: str
    zone: str
    status: str
    machine_type: str
    labels: dict[str, str]
    created: float
    started: float = 0.0
    model: str = "STANDARD"
    accelerators: tuple[tuple[str, int], ...] = ()
    deletion_protection: bool = False

    @property
    def sweep(self) -> str:
        return self.labels.get(SWEEP_LABEL, "")


class Compute(Protocol):
    """:raises Unreachable: Compute Engine cannot be reached; whether the request was carried out is not known.

    :raises ConfigError: the request is not one that Compute Engine knows.
    """

    def insert(
        self, zone: str, body: dict[str, Any], request_id: str, limit_s: float = OPERATION_S
    ) -> Refusal | None:
        """Makes a VM, or says who refused it. An attempt's own VM that exists already is as good as made.

        After Unreachable, the same request with the same ``request_id`` tells what became of it. A refused VM does not
        exist, or is being deleted: also where Compute Engine made it and failed, or took longer than ``limit_s``.

        A flex-start VM is as good as made when it waits in Google's queue; nobody waits here until it leaves that.
        ``why_not_made`` tells why it was never made.
        """

    def why_not_made(self, zone: str, name: str) -> Refusal | None:
        """How the last insert of a VM of that name, which is gone, has failed; None where no error is known."""

    def find(self, zone: str, name: str) -> Instance | None:
        """The VM of that name, if there is one."""

    def instances(self, sweep: str | None = None, zones: Collection[str] | None = None) -> list[Instance]:
        """The VMs of a sweep, or of all sweeps; in a few zones, or wherever they are."""

    def delete(self, zone: str, name: str) -> None:
        """Asks for a VM's deletion; one that is gone already is no error."""

    def leftovers(self, sweep: str | None = None) -> Found:
        """All that a sweep, or all sweeps, have anywhere: VMs, VMs to come, disks that outlived theirs, addresses."""

    def remove(self, leftover: Leftover) -> str:
        """Asks for its deletion; says why Compute Engine did not take that up, and nothing where it did."""

    def console(self, zone: str, name: str) -> str:
        """The end of what the VM wrote to its serial console; nothing where it is gone."""

    def was_preempted(self, zone: str, name: str) -> bool:
        """Whether Compute Engine took back the VM of that name, which is gone."""

    def quotas(self) -> Quotas:
        """What the project may have and uses; knows less, instead of raising, where that cannot be read."""


@dataclass(frozen=True)
class HereCompute:
    """Google's own client, imported in this process: two seconds."""

    backend: Backend
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def insert(
        self, zone: str, body: dict[str, Any], request_id: str, limit_s: float = OPERATION_S
    ) -> Refusal | None:
        from google.api_core.exceptions import Conflict, GoogleAPICallError
        from google.auth.exceptions import RefreshError
        from google.cloud import compute_v1

        project = self.backend.project
        request = compute_v1.InsertInstanceRequest(
            project=project, zone=zone, instance_resource=to_message(body), request_id=request_id
        )
        try:
            begun = self.backend.instances.insert_unary(request=request, timeout=_ANSWER_S)
        except Conflict as error:
            return self._taken(zone, body["name"], error)
        except GoogleAPICallError as error:
            if (error.code or 0) >= 500 and self._exists(zone, body["name"]):
                return None  # it was carried out for all that
            return judge(_reason(error), error.message, error.code, _plain(error.details), project)
        except RefreshError as error:
            return judge("authError", str(error), 401, project=project)
        except UNREACHABLE as error:
            raise Unreachable(str(error)) from error
        waits = "requestValidForDuration" in body.get("params", {})
        operation = self._done(zone, begun, limit_s, body["name"] if waits else "")
        if operation is None:
            self.delete(zone, body["name"])
            return judge("OPERATION_STUCK", f"Compute Engine is not done with the VM after {limit_s:.0f} s")
        if operation.error.errors:
            self.delete(
                zone, body["name"]
            )  # an operation may fail with its VM made, which would go on costing
            return self._refusal_of(operation)
        return None

    def why_not_made(self, zone: str, name: str) -> Refusal | None:
        from google.cloud import compute_v1

        request = compute_v1.ListZoneOperationsRequest(
            project=self.backend.project, zone=zone, filter=f'(operationType="insert") (targetLink:"{name}")'
        )
        with asking():
            listed = list(self.backend.zone_operations.list(request=request, **patiently()))
        inserts = [
            one
            for one in listed
            if one.operation_type == "insert" and one.target_link.rpartition("/")[2] == name
        ]
        last = max(inserts, key=lambda one: since_epoch(one.insert_time), default=None)
        return self._refusal_of(last) if last is not None and last.error.errors else None

    def _refusal_of(self, operation: Any) -> Refusal:
        first = operation.error.errors[0]
        return judge(first.code, first.message, details=_details(first), project=self.backend.project)

    def _done(self, zone: str, operation: Any, limit_s: float, queued: str) -> Any:
        """The operation when it is over; None if it takes too long.

        ``queued``: a VM that may wait in Google's queue. Its operation goes on as long as it waits there, up to two
        hours, and is returned as it is.
        """
        from google.cloud import compute_v1
        from requests.exceptions import Timeout

        deadline = self.clock() + limit_s
        unheard = 0
        while operation.status != compute_v1.Operation.Status.DONE:
            left = deadline - self.clock()
            if left <= 0:
                return None
            try:
                operation = self.backend.zone_operations.wait(
                    project=self.backend.project,
                    zone=zone,
                    operation=operation.name,
                    timeout=min(left, _QUEUE_LOOK_S if queued else _LONGEST_WAIT_S),
                )
            except Timeout:
                pass  # it goes on, and nothing is wrong
            except Exception as error:
                unheard += 1
                if not _is_passing(error):
                    raise
                if unheard > _UNHEARD:
                    raise Unreachable(str(error)) from error
                self.pause(unheard * _PAUSE_S)
                continue
            if queued and self._is_queued(zone, queued):
                return operation
        return operation

    def _is_queued(self, zone: str, name: str) -> bool:
        found = self.find(zone, name)
        return found is not None and found.status == QUEUED

    def _taken(self, zone: str, name: str, error: Any) -> Refusal | None:
        """There is a VM of this name: a former request for the very same attempt made it, and its answer was lost."""
        if self._exists(zone, name):
            return None
        message = f"a VM of this name is being deleted: {error.message}"
        return Refusal(_reason(error), message, Reach.ATTEMPT)

    def _exists(self, zone: str, name: str) -> bool:
        found = self.find(zone, name)
        return found is not None and found.status not in GONE

    def find(self, zone: str, name: str) -> Instance | None:
        from google.api_core.exceptions import NotFound

        try:
            with asking():
                return instance_of(
                    self.backend.instances.get(
                        project=self.backend.project, zone=zone, instance=name, **patiently()
                    )
                )
        except NotFound:
            return None

    def instances(self, sweep: str | None = None, zones: Collection[str] | None = None) -> list[Instance]:
        from google.cloud import compute_v1

        project, client = self.backend.project, self.backend.instances
        wanted = f"labels.{SWEEP_LABEL}={sweep}" if sweep else f"labels.{SWEEP_LABEL}:*"
        with asking():
            if zones is not None and len(zones) <= _FEW_ZONES:
                requests = [
                    compute_v1.ListInstancesRequest(project=project, zone=zone, filter=wanted)
                    for zone in sorted(zones)
                ]
                pages = [client.list(request=request, **patiently()) for request in requests]
                return [instance_of(one) for page in pages for one in page]
            everywhere = compute_v1.AggregatedListInstancesRequest(project=project, filter=wanted)
            return [
                instance_of(one)
                for _, scope in client.aggregated_list(request=everywhere, **patiently())
                for one in scope.instances
            ]

    def delete(self, zone: str, name: str) -> None:
        from google.api_core.exceptions import NotFound

        try:
            with asking():
                self.backend.instances.delete_unary(
                    project=self.backend.project, zone=zone, instance=name, **patiently()
                )
        except NotFound:
            return

    def leftovers(self, sweep: str | None = None) -> Found:
        from hydra_gce.leftovers import find

        return find(self.backend, sweep, time.time())

    def remove(self, leftover: Leftover) -> str:
        from hydra_gce.leftovers import remove

        return remove(self.backend, leftover)

    def console(self, zone: str, name: str) -> str:
        from google.api_core.exceptions import BadRequest, NotFound
        from google.cloud import compute_v1

        request = compute_v1.GetSerialPortOutputInstanceRequest(
            project=self.backend.project, zone=zone, instance=name, port=1, start=-_CONSOLE_BYTES
        )
        try:
            with asking():
                return str(
                    self.backend.instances.get_serial_port_output(request=request, **patiently()).contents
                )
        except (NotFound, BadRequest):  # it is gone, or has none yet
            return ""

    def was_preempted(self, zone: str, name: str) -> bool:
        from google.cloud import compute_v1

        # https://cloud.google.com/compute/docs/instances/create-use-spot#detect-preemption
        request = compute_v1.ListZoneOperationsRequest(
            project=self.backend.project, zone=zone, filter='operationType="compute.instances.preempted"'
        )
        with asking():
            listed = self.backend.zone_operations.list(request=request, **patiently())
            return any(operation.target_link.rpartition("/")[2] == name for operation in listed)

    def quotas(self) -> Quotas:
        return quotas.read(self.backend)


@contextmanager
def asking() -> Iterator[None]:
    """Google's client's errors as ours, where they say nothing about the VM itself."""
    from google.api_core.exceptions import Forbidden, Unauthorized
    from google.auth.exceptions import RefreshError

    try:
        yield
    except (Forbidden, Unauthorized, RefreshError) as error:
        if _is_passing(error):
            raise Unreachable(str(error)) from error
        raise CredentialsError(
            f"Compute Engine refuses to be asked: {error}. Who asks needs the role"
            " roles/compute.instanceAdmin.v1 in the project, and valid credentials:"
            " gcloud auth application-default login"
        ) from error
    except UNREACHABLE as error:
        raise Unreachable(str(error)) from error


def patiently() -> dict[str, Any]:
    """Requests that may be repeated at will: how long for an answer, and for how long again."""
    from google.api_core.retry import Retry

    again = Retry(predicate=_is_passing, initial=0.5, multiplier=2.0, maximum=8.0, timeout=_AGAIN_S)
    return {"retry": again, "timeout": _ANSWER_S}


def _is_passing(error: BaseException) -> bool:
    """Whether the same request may do better in a moment. Some rate limits come as 403 Forbidden."""
    return isinstance(error, UNREACHABLE) or _reason(error) in _RATE_LIMITS


def instance_of(listed: Any) -> Instance:
    return Instance(
        name=listed.name,
        zone=listed.zone.rpartition("/")[2],
        status=listed.status,
        machine_type=listed.machine_type.rpartition("/")[2],
        labels=dict(listed.labels),
        created=since_epoch(listed.creation_timestamp),
        started=since_epoch(listed.last_start_timestamp),
        model=listed.scheduling.provisioning_model or "STANDARD",
        accelerators=tuple(
            (one.accelerator_type.rpartition("/")[2], one.accelerator_count)
            for one in listed.guest_accelerators
        ),
        deletion_protection=listed.deletion_protection,
    )


def since_epoch(rfc3339: str) -> float:
    """Since the epoch; 0 for a VM that has no time yet."""
    return datetime.fromisoformat(rfc3339.replace("Z", "+00:00")).timestamp() if rfc3339 else 0.0


def _reason(error: Any) -> str:
    """Google's short word for an HTTP error: ``error.errors[0].reason``."""
    for detail in getattr(error, "errors", None) or []:
        if isinstance(detail, dict) and detail.get("reason"):
            return str(detail["reason"])
    return str(getattr(error, "reason", None) or type(error).__name__)


def _details(error: Any) -> list[dict[str, Any]]:
    """``errorDetails`` of an operation's error as JSON has them."""
    from google.cloud import compute_v1

    return [json.loads(compute_v1.ErrorDetails.to_json(detail)) for detail in error.error_details]


def _plain(details: Any) -> list[dict[str, Any]]:
    """What an HTTP error says beside its message, as JSON has it."""
    return [detail for detail in details or [] if isinstance(detail, dict)]
