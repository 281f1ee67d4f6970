"""What Compute Engine does to a VM with nobody asking: takes spot VMs back, maintains hosts, loses hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hydra_gce.local.compute.scheduling import deletes_at_end
from hydra_gce.local.store import Resource

if TYPE_CHECKING:
    from hydra_gce.local.compute.cloud import Cloud
    from hydra_gce.local.compute.lifecycle import Lifecycle
    from hydra_gce.local.compute.operations import Operation

_MIGRATE, _TERMINATE, _NONE = "MIGRATE_ON_HOST_MAINTENANCE", "TERMINATE_ON_HOST_MAINTENANCE", "NONE"
"""Values of `instance/maintenance-event`: https://cloud.google.com/compute/docs/metadata/getting-live-migration-notice"""


class HostEvents:
    """Each event is told in the zone's operations and in the guest's metadata before it happens."""

    def __init__(self, cloud: Cloud, lifecycle: Lifecycle) -> None:
        self._cloud = cloud
        self._lifecycle = lifecycle
        cloud.operations.works("instances.maintain", self._simulate)
        cloud.operations.works(
            "instances.preempt", lambda operation: self._preempt(lifecycle.target(operation))
        )
        cloud.operations.works("instances.maintenance", self._terminate)
        cloud.operations.works("instances.lost", self._lost)

    def preempt(self, instance: Resource) -> None:
        """A spot VM is taken back: warned, and then stopped or deleted."""
        self._begin(instance, _end_of(instance), "instances.preempt")

    def maintain(self, instance: Resource) -> None:
        """The host will be maintained: the VM is told now, and migrates or ends when its notice is over; a spot VM
        is taken back.

        A VM with GPUs has an hour: https://cloud.google.com/compute/docs/gpus/gpu-host-maintenance
        """
        scheduling = instance.body["scheduling"]
        notice = self._cloud.notice
        if scheduling.get("preemptible"):
            self.preempt(instance)
        elif scheduling["onHostMaintenance"] == "MIGRATE":
            self._announce(instance, _MIGRATE, notice.migration_s)
        elif instance.body.get("guestAccelerators"):
            self._announce(instance, _TERMINATE, notice.gpu_maintenance_s)
        else:
            self._announce(instance, _TERMINATE, notice.maintenance_s)

    def look_after(self, instance: Resource) -> None:
        """Go on with a maintenance that was announced, when it is time."""
        at = instance.private.get("maintenance_at")
        if at is None or self._cloud.clock() < at:
            return
        with self._cloud.lock, self._cloud.store.transaction():
            self._cloud.change(instance, {}, {"maintenance_at": None})
            if instance.private["maintenance_event"] == _TERMINATE:
                self._begin(instance, "stop", "instances.maintenance")
                return
        self._migrated(instance)

    def lose_host(self, instance: Resource) -> None:
        """The host breaks down, and the VM with it."""
        self._lifecycle.tell(instance, "hostError", "Instance terminated by Compute Engine.")
        self._begin(instance, _end_of(instance), "instances.lost")

    def _begin(self, instance: Resource, operation_type: str, work: str) -> None:
        begin = self._cloud.operations.begin
        begin(instance.project, instance.scope, operation_type, instance, work, user="system")

    def _simulate(self, operation: Operation) -> None:
        """`simulateMaintenanceEvent`: the whole of it in one operation, with the same notice for all VMs that end."""
        instance = self._lifecycle.target(operation)
        scheduling, notice = instance.body["scheduling"], self._cloud.notice
        if scheduling.get("preemptible"):
            self._preempt(instance)
        elif scheduling["onHostMaintenance"] == "MIGRATE":
            self._announce(instance, _MIGRATE)
            self._lifecycle.pause(notice.migration_s)
            self._migrated(instance)
        else:
            self._announce(instance, _TERMINATE)
            self._lifecycle.pause(notice.maintenance_s)
            self._terminate(operation)

    def _preempt(self, instance: Resource) -> None:
        lifecycle = self._lifecycle
        if not instance.private.get("preempted"):  # a server that died had told it already
            self._cloud.change(instance, {}, {"preempted": True})
            lifecycle.tell(instance, "preempted", "Instance was preempted.")
        lifecycle.publish(instance)
        lifecycle.shut_down(instance, self._cloud.notice.preemption_s)
        self._end(instance)

    def _lost(self, operation: Operation) -> None:
        instance = self._lifecycle.target(operation)
        self._cloud.machine_of(instance).power_off()
        self._end(instance)

    def _end(self, instance: Resource) -> None:
        if deletes_at_end(instance.body["scheduling"]):
            self._lifecycle.forget(instance)
        else:
            self._lifecycle.terminated(instance)

    def _migrated(self, instance: Resource) -> None:
        self._announce(instance, _NONE)
        self._lifecycle.tell(
            instance, "migrateOnHostMaintenance", "Instance migrated during Compute Engine maintenance."
        )

    def _terminate(self, operation: Operation) -> None:
        lifecycle = self._lifecycle
        instance = lifecycle.target(operation)
        lifecycle.tell(
            instance, "terminateOnHostMaintenance", "Instance terminated during Compute Engine maintenance."
        )
        lifecycle.shut_down(instance, self._cloud.notice.stop_s)
        lifecycle.terminated(instance)
        self._announce(instance, _NONE)
        if instance.body["scheduling"].get("automaticRestart", True):
            lifecycle.tell(
                instance, "automaticRestart", "Instance automatically restarted by Compute Engine."
            )
            lifecycle.boot(instance, operation, fresh=False)

    def _announce(self, instance: Resource, event: str, notice_s: float | None = None) -> None:
        """The guest hears of it; with `notice_s` the server itself goes on by then."""
        at = None if notice_s is None else self._cloud.clock() + notice_s
        self._cloud.change(instance, {}, {"maintenance_event": event, "maintenance_at": at})
        self._lifecycle.publish(instance)


def _end_of(instance: Resource) -> str:
    """The type of the operation that ends the VM."""
    return "delete" if deletes_at_end(instance.body["scheduling"]) else "stop"
