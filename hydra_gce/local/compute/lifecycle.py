"""The life of a VM: what the operations do, and what happens to it with nobody asking."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from hydra_gce.local.chaos.machines import Mishap, Mishaps
from hydra_gce.local.chaos.scenario import Event
from hydra_gce.local.compute import capacity
from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.errors import OperationError
from hydra_gce.local.compute.guest import machine_spec, max_run_s, metadata_tree
from hydra_gce.local.compute.host_events import HostEvents
from hydra_gce.local.compute.names import last, parse_link, timestamp
from hydra_gce.local.compute.operations import Operation
from hydra_gce.local.compute.scheduling import deletes_at_end
from hydra_gce.local.compute.waiting import await_room
from hydra_gce.local.store import Resource
from hydra_gce.local.vm import MachineError

_log = logging.getLogger(__name__)
_FRESH = {"preempted": False, "maintenance_event": "NONE", "maintenance_at": None}


class Lifecycle:
    """Gives each kind of operation on instances its work, and follows the VMs that run."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._stopping = threading.Event()
        for name, work in (
            ("instances.delete", self._delete),
            ("instances.stop", self._stop),
            ("instances.start", self._start),
            ("instances.reset", self._reset),
            ("instances.metadata", self._metadata),
            ("instances.end", self._end),
        ):
            cloud.operations.works(name, work)
        cloud.operations.works("instances.insert", self._insert, undo=self._unmade)
        self._host_events = HostEvents(cloud, self)
        self._mishaps = Mishaps(cloud, self._acts())

    def follow(self, every_s: float) -> threading.Thread:
        """Look after the running VMs until `close`."""
        thread = threading.Thread(target=self._follow, args=(every_s,), name="lifecycle", daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        self._stopping.set()

    def pause(self, limit_s: float) -> None:
        """Wait so long, or until `close`."""
        self._stopping.wait(limit_s)

    def power_off_all(self) -> None:
        """Every VM off, at once: the cloud closes. Instances stay, TERMINATED."""
        for instance in self._cloud.store.list("instances"):
            self._cloud.machine_of(instance).power_off()
            if instance.body["status"] not in ("TERMINATED", "PROVISIONING", "PENDING"):
                self.terminated(instance)

    def _insert(self, operation: Operation) -> None:
        instance = self.target(operation)
        try:
            if instance.body["status"] == "PENDING":
                await_room(self._cloud, instance, operation)
            self.boot(instance, operation, fresh=True)
        except OperationError:
            self.forget(instance)
            raise

    def _unmade(self, operation: Operation) -> None:
        """The insert fails before anything was done for it."""
        instance = self._find(operation)
        if instance is not None:
            self.forget(instance)

    def _start(self, operation: Operation) -> None:
        instance = self.target(operation)
        if instance.body["status"] == "RUNNING" and self._cloud.machine_of(instance).running():
            return
        try:
            self.boot(instance, operation, fresh=False)
        except OperationError:
            self._cloud.change(instance, {"status": "TERMINATED"})
            raise

    def _stop(self, operation: Operation) -> None:
        instance = self.target(operation)
        self._let_go(instance)
        self.terminated(instance)

    def _reset(self, operation: Operation) -> None:
        instance = self.target(operation)
        self._cloud.machine_of(instance).reset()

    def _delete(self, operation: Operation) -> None:
        instance = self._find(operation)
        if instance is None:
            return  # a delete before this one did it
        self._let_go(instance)
        self.forget(instance)

    def _let_go(self, instance: Resource) -> None:
        """The guest has as long as Compute Engine gives it when somebody stops or deletes the VM.

        https://cloud.google.com/compute/docs/instances/stop-start-instance#shutdown-period. `noGracefulShutdown`
        changes nothing: it skips `gracefulShutdown`, a time before this one that VMs here do not have
        (https://cloud.google.com/compute/docs/instances/graceful-shutdown-overview).
        """
        spot = instance.body["scheduling"].get("preemptible", False)
        notice = self._cloud.notice
        self.shut_down(instance, notice.preemption_s if spot else notice.stop_s)

    def _metadata(self, operation: Operation) -> None:
        instance = self.target(operation)
        self.publish(instance)

    def _end(self, operation: Operation) -> None:
        """The VM's time is over and its hypervisor has ended it: stop or delete it here, as it was told."""
        instance = self._find(operation)
        if instance is None:
            return
        if operation.arguments["delete"]:
            self.forget(instance)
        else:
            self.terminated(instance)

    def boot(self, instance: Resource, operation: Operation, *, fresh: bool) -> None:
        """Claim a place, then power on. Raises `OperationError` where there is no place."""
        cloud = self._cloud
        machine = cloud.machine_of(instance)
        if machine.running():  # a server that died got this far
            self._running(instance)
            return
        instance = cloud.change(instance, {"status": "PROVISIONING"}) or instance
        if not instance.private.get("claimed"):  # one that waited has its place
            capacity.claim(cloud, instance)
        operation.progress(40)
        instance = cloud.change(instance, {"status": "STAGING"}, _FRESH) or instance
        instance = self._mishaps.draw(instance)
        try:
            spec = machine_spec(cloud, instance)
            if fresh:
                machine.delete()
                machine.create(spec)
            else:
                machine.change(spec)
            machine.power_on()
        except (OSError, MachineError) as error:
            capacity.release(cloud, instance)
            raise OperationError(
                "INTERNAL_ERROR",
                f"The VM '{instance.name}' could not be powered on: {error}",
                http=(500, "INTERNAL SERVER ERROR"),
            ) from error
        self._running(instance)

    def _running(self, instance: Resource) -> None:
        now = self._cloud.clock()
        fields = {"status": "RUNNING", "lastStartTimestamp": timestamp(now), "resourceStatus": {}}
        limit = max_run_s(self._cloud, instance)
        if limit is not None:
            fields["resourceStatus"] = {"scheduling": {"terminationTimestamp": timestamp(now + limit)}}
        self._cloud.change(instance, fields)
        self._mishaps.running(instance)

    def _acts(self) -> dict[Event, Callable[[Resource, Mishap], None]]:
        """What the server does when an event of a bad day happens to a VM."""
        machine, events = self._cloud.machine_of, self._host_events
        return {
            Event.PREEMPT: lambda instance, _: events.preempt(instance),
            Event.MAINTAIN: lambda instance, _: events.maintain(instance),
            Event.HOST_ERROR: lambda instance, _: events.lose_host(instance),
            Event.HANG: lambda instance, _: machine(instance).freeze(),
            Event.DISK_FULL: lambda instance, _: machine(instance).fill_disk(),
            Event.SLOW_METADATA: lambda instance, mishap: machine(instance).slow_metadata(mishap.delay_s),
            Event.DELETE: lambda instance, _: self._somebody_deletes(instance),
        }

    def _somebody_deletes(self, instance: Resource) -> None:
        begin = self._cloud.operations.begin
        begin(instance.project, instance.scope, "delete", instance, "instances.delete")

    def shut_down(self, instance: Resource, grace_s: float) -> None:
        """SIGTERM and so many seconds for the guest; then, or if it does not obey, everything is cut off."""
        if instance.body["status"] != "TERMINATED":
            self._cloud.change(instance, {"status": "STOPPING"})
        machine = self._cloud.machine_of(instance)
        try:
            machine.shut_down(grace_s)
        except MachineError as error:
            _log.error("%s: %s", instance.path, error)
            machine.power_off()

    def terminated(self, instance: Resource) -> None:
        """It is off, and its place is free."""
        self._mishaps.dismiss(instance)
        capacity.release(self._cloud, instance)
        now = timestamp(self._cloud.clock())
        self._cloud.change(instance, {"status": "TERMINATED", "lastStopTimestamp": now, "resourceStatus": {}})

    def forget(self, instance: Resource) -> None:
        """No process, no directory, no row; disks go along where they say so."""
        cloud = self._cloud
        self._mishaps.dismiss(instance)
        cloud.machine_of(instance).delete()
        with cloud.lock, cloud.store.transaction():
            current = (
                cloud.store.get("instances", instance.project, instance.scope, instance.name) or instance
            )
            for attached in current.body["disks"]:
                target = parse_link(attached.get("source", ""))
                disk = target and cloud.store.get("disks", instance.project, target.scope, target.name)
                if not disk:
                    continue
                if attached["autoDelete"]:
                    cloud.store.delete(disk)
                else:
                    cloud.change(disk, {"users": None, "lastDetachTimestamp": timestamp(cloud.clock())})
            cloud.store.delete(current)

    def publish(self, instance: Resource) -> None:
        """The guest sees its metadata as it is now."""
        cloud = self._cloud
        current = cloud.store.get("instances", instance.project, instance.scope, instance.name)
        if current is not None and current.body["status"] in ("RUNNING", "STOPPING"):
            cloud.machine_of(current).set_metadata(metadata_tree(cloud, current))

    def tell(self, instance: Resource, name: str, message: str) -> None:
        operations = self._cloud.operations
        operations.event(instance.project, instance.scope, f"compute.instances.{name}", instance, message)

    def target(self, operation: Operation) -> Resource:
        instance = self._find(operation)
        if instance is None:
            target = parse_link(operation.resource.body["targetLink"])
            assert target is not None
            path = f"projects/{target.project}/{target.scope}/instances/{target.name}"
            raise OperationError(
                "RESOURCE_NOT_FOUND", f"The resource '{path}' was not found", http=(404, "NOT FOUND")
            )
        return instance

    def _find(self, operation: Operation) -> Resource | None:
        body = operation.resource.body
        found = self._cloud.store.get(
            "instances", operation.resource.project, operation.resource.scope, last(body["targetLink"])
        )
        return found if found is not None and found.body["id"] == body["targetId"] else None

    def _follow(self, every_s: float) -> None:
        while not self._stopping.wait(every_s):
            for instance in self._cloud.store.list("instances"):
                if instance.body["status"] == "RUNNING" and not self._cloud.operations.busy(
                    instance.body["selfLink"]
                ):
                    self._look_after_safely(instance)

    def _look_after_safely(self, instance: Resource) -> None:
        try:
            self._look_after(instance)
        except Exception:  # one VM's trouble is not to leave the others alone; the log keeps the traceback
            _log.exception("looking after %s", instance.path)

    def _look_after(self, instance: Resource) -> None:
        machine = self._cloud.machine_of(instance)
        if machine.running():
            self._host_events.look_after(instance)
            self._mishaps.look_after(instance)
            return
        ended = machine.exit()
        reason = "crashed" if ended is None else str(ended.reason.value)
        with self._cloud.lock, self._cloud.store.transaction():
            current = self._cloud.store.get("instances", instance.project, instance.scope, instance.name)
            if current is not None and current.body["status"] == "RUNNING":
                _log.info("%s is off: %s", instance.path, reason)
                self._ended(current, reason)

    def _ended(self, instance: Resource, reason: str) -> None:
        delete = deletes_at_end(instance.body["scheduling"])
        if reason == "guest-shutdown":
            self.tell(instance, "guestTerminate", "Instance terminated by guest OS shutdown.")
            self._begin_end(instance, "stop", delete=False)
        elif reason == "max-run-duration":
            self._begin_end(instance, "delete" if delete else "stop", delete=delete)
        else:
            self.tell(instance, "hostError", "Instance terminated by Compute Engine.")
            self._begin_end(instance, "delete" if delete else "stop", delete=delete)

    def _begin_end(self, instance: Resource, operation_type: str, *, delete: bool) -> None:
        self._cloud.change(instance, {"status": "STOPPING"})
        self._cloud.operations.begin(
            instance.project,
            instance.scope,
            operation_type,
            instance,
            "instances.end",
            {"delete": delete},
            user="system",
        )
