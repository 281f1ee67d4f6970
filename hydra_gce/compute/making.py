"""One ``instances.insert`` and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hydra_gce.cloud.backend import Backend
from hydra_gce.cloud.unreachable import EXPIRED, UNREACHABLE
from hydra_gce.compute.asking import ANSWER_S, asking, details_of, is_passing, patiently, plain, reason
from hydra_gce.compute.instance import GONE, QUEUED, Instance, since_epoch
from hydra_gce.errors import CredentialsExpired, Unreachable
from hydra_gce.refusals import Reach, Refusal, judge
from hydra_gce.request import to_message

_LONGEST_WAIT_S = 150.0  # Google answers within two minutes, done or not
_QUEUE_LOOK_S = 3.0
_UNHEARD, _PAUSE_S = 5, 1.0


@dataclass(frozen=True)
class Maker:
    """``find`` and ``delete`` are those of ``Compute``; times in seconds."""

    backend: Backend
    find: Callable[[str, str], Instance | None]
    delete: Callable[[str, str], None]
    clock: Callable[[], float]
    pause: Callable[[float], None]

    def insert(self, zone: str, body: dict[str, Any], request_id: str, limit_s: float) -> Refusal | None:
        from google.api_core.exceptions import Conflict, GoogleAPICallError
        from google.cloud import compute_v1

        project = self.backend.project
        request = compute_v1.InsertInstanceRequest(
            project=project, zone=zone, instance_resource=to_message(body), request_id=request_id
        )
        try:
            begun = self.backend.instances.insert_unary(request=request, timeout=ANSWER_S)
        except Conflict as error:
            return self._taken(zone, body["name"], error)
        except EXPIRED as error:  # of a sweep that is under way: the next who asks may have logged in anew
            raise CredentialsExpired.of(error) from error
        except GoogleAPICallError as error:
            if (error.code or 0) >= 500 and self._exists(zone, body["name"]):
                return None  # it was carried out for all that
            return judge(reason(error), error.message, error.code, plain(error.details), project)
        except UNREACHABLE as error:
            raise Unreachable(str(error)) from error
        waits = "requestValidForDuration" in body.get("params", {})
        operation = self._done(zone, begun, limit_s, body["name"] if waits else "")
        if operation is None:
            self.delete(zone, body["name"])
            return judge("OPERATION_STUCK", f"Compute Engine is not done with the VM after {limit_s:.0f} s")
        if operation.error.errors:
            # It may fail with its VM made, which would go on costing.
            self.delete(zone, body["name"])
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
        return judge(first.code, first.message, details=details_of(first), project=self.backend.project)

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
                if not is_passing(error):
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
        return Refusal(reason(error), message, Reach.ATTEMPT)

    def _exists(self, zone: str, name: str) -> bool:
        found = self.find(zone, name)
        return found is not None and found.status not in GONE
