"""Long-running operations: written down before they start, so that the next server goes on where one died."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from hydra_gce.local.chaos.plan import Plan, canceled
from hydra_gce.local.compute.errors import ApiError, Json, OperationError, not_found
from hydra_gce.local.compute.names import last, link, project_number, seconds, timestamp
from hydra_gce.local.store import Resource, Store

_log = logging.getLogger(__name__)
_COLLECTION = "operations"
# Google keeps finished operations for two weeks or more; a server on a laptop need not.
_KEPT_S = 14 * 86_400.0
Work = Callable[["Operation"], None]


class _Closing(Exception):
    """The server ends; the operation goes on with the next one."""


class Operation:
    """One operation under way: what its work may read and change."""

    def __init__(self, operations: Operations, resource: Resource) -> None:
        self._operations = operations
        self.resource = resource

    @property
    def arguments(self) -> Json:
        """What `begin` was told to remember for the work."""
        arguments: Json = self.resource.private["arguments"]
        return arguments

    def progress(self, percent: int) -> None:
        """Show how far it is."""
        self._operations.change(self.resource, {"progress": percent})

    def wait(self, ready: Callable[[], bool], limit_s: float) -> None:
        """Until something is `ready`, or so long. Raises `OperationError` when its target is to be deleted.

        `ready` is asked under a lock, and must answer from memory.
        """
        self._operations.wait_within(self.resource, ready, limit_s)


class Operations:
    """All operations. Those on the same target run one after another, in the order of their requests."""

    def __init__(self, store: Store, clock: Callable[[], float], rng: random.Random) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._works: dict[str, Work] = {}
        self._undos: dict[str, Work | None] = {}
        self._queues: dict[str, deque[Resource]] = {}
        # Held for moments only, and never while the store is asked: a thread that changes the store may come here.
        self._changed = threading.Condition()
        self._version = 0
        self._closed = False

    def works(self, name: str, work: Work, undo: Work | None = None) -> None:
        """`work` is what operations with that `work` name do; `undo` takes back what their request made already."""
        self._works[name] = work
        self._undos[name] = undo

    def begin(
        self,
        project: str,
        scope: str,
        operation_type: str,
        target: Resource,
        work: str,
        arguments: Json | None = None,
        *,
        user: str | None = None,
        request_id: str | None = None,
        extra: Json | None = None,
        plan: Plan | None = None,
    ) -> Json:
        """Write down a new operation and let it run. Returns it as the API shows it (PENDING)."""
        now = self._clock()
        body: Json = {
            "kind": "compute#operation",
            "id": self._id(now),
            "name": self._name(now),
            "operationType": operation_type,
            "targetLink": target.body["selfLink"],
            "targetId": target.body["id"],
            "status": "PENDING",
            "user": user or f"{project_number(project)}-compute@developer.gserviceaccount.com",
            "progress": 0,
            "insertTime": timestamp(now),
            **(extra or {}),
        }
        if request_id:
            body["clientOperationId"] = request_id
        if scope != "global":
            body[scope.split("/")[0].rstrip("s")] = link(project, scope)
        body["selfLink"] = link(project, scope, _COLLECTION, body["name"])
        private: Json = {"work": work, "arguments": arguments or {}}
        if plan is not None:
            private["plan"] = plan.as_json()
        resource = Resource(_COLLECTION, project, scope, body["name"], body, private)
        self._store.put(resource)
        shown = dict(body)
        self._enqueue(resource)
        return shown

    def event(self, project: str, scope: str, operation_type: str, target: Resource, message: str) -> None:
        """An operation of the system's own that is over already: `compute.instances.preempted` and its like."""
        now = self._clock()
        name = f"systemevent-{int(now * 1000)}-{self._rng.getrandbits(52):013x}-{self._hex()}-{self._hex()}"
        body: Json = {
            "kind": "compute#operation",
            "id": self._id(now),
            "name": name,
            "operationType": operation_type,
            "targetLink": target.body["selfLink"],
            "targetId": target.body["id"],
            "status": "DONE",
            "statusMessage": message,
            "user": "system",
            "progress": 100,
            "insertTime": timestamp(now),
            "startTime": timestamp(now),
            "endTime": timestamp(now),
            scope.split("/")[0].rstrip("s"): link(project, scope),
            "selfLink": link(project, scope, _COLLECTION, name),
        }
        self._store.put(Resource(_COLLECTION, project, scope, name, body, {}))

    def get(self, project: str, scope: str, name: str) -> Resource:
        """An operation by name. Raises 404."""
        resource = self._store.get(_COLLECTION, project, scope, name)
        if resource is None:
            raise not_found(f"projects/{project}/{scope}/operations/{name}")
        return resource

    def wait(self, project: str, scope: str, name: str, limit_s: float) -> Json:
        """The operation as soon as it is DONE, or as it is after `limit_s`."""
        deadline = time.monotonic() + limit_s
        while True:
            with self._changed:
                version = self._version
            body = self.get(project, scope, name).body
            left = deadline - time.monotonic()
            if body["status"] == "DONE" or left <= 0 or self._closed:
                return body
            self._wait_for_change(version, left)

    def _wait_for_change(self, seen: int, limit_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._version != seen, limit_s)

    def delete(self, project: str, scope: str, name: str) -> None:
        """Forget a finished operation. Raises 404, and 400 for one that still runs."""
        resource = self.get(project, scope, name)
        if resource.body["status"] != "DONE":
            raise ApiError(400, "resourceNotReady", f"The resource '{resource.path}' is not ready")
        self._store.delete(resource)

    def resume(self) -> None:
        """After a start: go on with what a former server left unfinished; forget what ended long ago."""
        horizon = timestamp(self._clock() - _KEPT_S)
        for resource in sorted(self._store.list(_COLLECTION), key=lambda one: str(one.body["insertTime"])):
            if resource.body["status"] != "DONE":
                self._enqueue(resource)
            elif resource.body.get("endTime", horizon) < horizon:
                self._store.delete(resource)

    def close(self) -> None:
        """Start nothing more; those waiting get their answer now."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def busy(self, target: str) -> bool:
        """Whether an operation on this target is under way or waits."""
        with self._changed:
            return target in self._queues

    def pause(self, limit_s: float) -> None:
        """Wait so long, or until the server ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed, limit_s)

    def wait_within(self, resource: Resource, ready: Callable[[], bool], limit_s: float) -> None:
        """What `Operation.wait` does."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._is_let_go(resource) or ready(), max(0.0, limit_s)
            )
            let_go = self._is_let_go(resource)
        if self._closed:
            raise _Closing
        if let_go:
            raise canceled()

    def idle(self) -> bool:
        """Whether no operation is under way."""
        with self._changed:
            return not self._queues

    def change(self, resource: Resource, fields: dict[str, Any]) -> None:
        """Change an operation's public fields and wake those who wait."""
        resource.body.update(fields)
        self._store.put(resource)
        self.wake()

    def wake(self) -> None:
        """Those who wait look again."""
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def _enqueue(self, resource: Resource) -> None:
        target = str(resource.body["targetLink"])
        with self._changed:
            if self._closed:
                return
            queue = self._queues.get(target)
            if queue is not None:
                queue.append(resource)
                self._changed.notify_all()
                return
            self._queues[target] = deque([resource])
        threading.Thread(
            target=self._run_queue, args=(target,), name=f"operations {last(target)}", daemon=True
        ).start()

    def _run_queue(self, target: str) -> None:
        while True:
            with self._changed:
                queue = self._queues[target]
                if not queue or self._closed:
                    del self._queues[target]
                    self._changed.notify_all()
                    return
                resource = queue[0]
            self._run(resource)
            with self._changed:
                queue.popleft()

    def _run(self, resource: Resource) -> None:
        start = resource.body.get("startTime") or timestamp(self._clock())
        self.change(resource, {"status": "RUNNING", "startTime": start})
        plan = Plan.from_json(resource.private.get("plan"))
        outcome: Json = {}
        try:
            if plan is None:
                self._works[resource.private["work"]](Operation(self, resource))
            else:
                self._run_planned(resource, plan)
        except OperationError as error:
            outcome = _failure(error)
        except ApiError as error:
            outcome = _failure(
                OperationError(error.reason.upper(), error.message, http=(error.code, "BAD REQUEST"))
            )
        except (
            Exception
        ) as error:  # An operation must end, whatever went wrong inside; the log keeps the traceback.
            if self._closed:
                return
            _log.exception("%s of %s failed", resource.body["operationType"], resource.body["targetLink"])
            message = f"Internal error: {type(error).__name__}: {error}"
            outcome = _failure(OperationError("INTERNAL_ERROR", message, http=(500, "INTERNAL SERVER ERROR")))
        self.change(
            resource, {**outcome, "status": "DONE", "progress": 100, "endTime": timestamp(self._clock())}
        )

    def _run_planned(self, resource: Resource, plan: Plan) -> None:
        """The work on a bad day: late, never, or not with success."""
        operation, work = Operation(self, resource), resource.private["work"]
        if plan.stuck:
            self._hang(resource)
            raise canceled()
        self.pause(plan.slow_s - (self._clock() - seconds(resource.body["startTime"])))
        if self._closed:
            raise _Closing
        undo = self._undos[work]
        if not plan.undone:
            self._works[work](operation)
        elif undo is not None:
            undo(operation)
        failure = plan.failure(resource.project, resource.scope)
        if failure is not None:
            raise failure

    def _hang(self, resource: Resource) -> None:
        """Until the target is to be deleted: Google lets go of an insert that hangs, then."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._is_let_go(resource))
        if self._closed:
            raise _Closing

    def _is_let_go(self, resource: Resource) -> bool:
        """Whether a delete of its target waits for it to end. `_changed` is held."""
        behind = list(self._queues[str(resource.body["targetLink"])])[1:]
        return any(one.body["operationType"] == "delete" for one in behind)

    def _id(self, now: float) -> str:
        return new_id(now, self._rng)

    def _name(self, now: float) -> str:
        return f"operation-{int(now * 1000)}-{self._rng.getrandbits(52):013x}-{self._hex()}-{self._hex()}"

    def _hex(self) -> str:
        return f"{self._rng.getrandbits(32):08x}"


def new_id(now: float, rng: random.Random) -> str:
    """A uint64 of 19 digits that grows with time."""
    return str(1_000_000_000_000_000_000 + int(now * 1000) % 10**13 * 100_000 + rng.randrange(100_000))


def _failure(error: OperationError) -> Json:
    status, text = error.http
    return {"error": {"errors": [error.entry()]}, "httpErrorStatusCode": status, "httpErrorMessage": text}
