"""The state of the embedded cloud, as every resource's module sees it."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hydra_gce.local.compute.catalog import Catalog
from hydra_gce.local.compute.errors import Json, invalid_value, not_found
from hydra_gce.local.compute.flex_start import Queue
from hydra_gce.local.compute.names import is_name, link, project_number, timestamp
from hydra_gce.local.compute.operations import Operations, new_id
from hydra_gce.local.host import Host
from hydra_gce.local.store import Resource, Store

if TYPE_CHECKING:
    from hydra_gce.local.chaos.day import BadDay
    from hydra_gce.local.vm import Exit, MachineSpec, SerialOutput


class Machine(Protocol):
    """A VM's hypervisor as this server uses it; `hydra_gce.local.vm.Machine` is the real one."""

    def create(self, spec: MachineSpec) -> None: ...
    def change(self, spec: MachineSpec) -> None: ...
    def power_on(self) -> None: ...
    def shut_down(self, grace_s: float) -> None: ...
    def power_off(self) -> None: ...
    def reset(self) -> None: ...
    def freeze(self) -> None: ...
    def fill_disk(self) -> None: ...
    def slow_metadata(self, delay_s: float) -> None: ...
    def running(self) -> bool: ...
    def exit(self) -> Exit | None: ...
    def set_metadata(self, tree: dict[str, Any]) -> None: ...
    def serial(self, start: int = 0) -> SerialOutput: ...
    def delete(self) -> None: ...


@dataclass(frozen=True)
class Notice:
    """How long a guest has, in seconds, as Compute Engine documents it."""

    stop_s: float = 90.0
    preemption_s: float = 30.0
    maintenance_s: float = 60.0
    gpu_maintenance_s: float = 3600.0
    migration_s: float = 5.0


@dataclass
class Cloud:
    """Everything that a method may need. `lock` is held while a method changes something; `bad_day` is rare."""

    store: Store
    host: Host
    machines: Path
    machine: Callable[[Path], Machine]
    services: dict[str, str]
    clock: Callable[[], float]
    rng: random.Random
    notice: Notice = field(default_factory=Notice)
    bad_day: BadDay | None = None

    def __post_init__(self) -> None:
        self.catalog = Catalog()
        self.operations = Operations(self.store, self.clock, self.rng)
        self.queue = Queue()
        for instance in self.store.list("instances"):
            if instance.body["status"] == "PENDING":
                self.queue.join(instance)
        self.lock = threading.RLock()

    def machine_of(self, instance: Resource) -> Machine:
        """The hypervisor of an instance."""
        return self.machine(self.machines / str(instance.body["id"]))

    def new_body(self, kind: str, project: str, scope: str, collection: str, name: str) -> Json:
        """What every resource begins with."""
        now = self.clock()
        body: Json = {
            "kind": f"compute#{kind}",
            "id": new_id(now, self.rng),
            "creationTimestamp": timestamp(now),
            "name": name,
            "selfLink": link(project, scope, collection, name),
        }
        if scope != "global":
            body[scope.split("/")[0].rstrip("s")] = link(project, scope)
        return body

    def find(self, collection: str, project: str, scope: str, name: str) -> Resource:
        """A stored resource. Raises 404."""
        resource = self.store.get(collection, project, scope, name)
        if resource is None:
            raise not_found(f"projects/{project}/{scope}/{collection}/{name}")
        return resource

    def change(self, resource: Resource, fields: Json, private: Json | None = None) -> Resource | None:
        """Change fields of a resource as it is stored now; a value of None takes the field away. None if it is gone."""
        with self.lock:
            current = self.store.get(resource.collection, resource.project, resource.scope, resource.name)
            if current is None or current.body["id"] != resource.body["id"]:
                return None
            for key, value in fields.items():
                if value is None:
                    current.body.pop(key, None)
                else:
                    current.body[key] = value
            current.private.update(private or {})
            self.store.put(current)
            return current

    def check_zone(self, project: str, zone: str) -> None:
        """Raises as Google does for a zone that does not exist."""
        if zone not in self.catalog.zones:
            if not is_name(zone):
                raise invalid_value(
                    "zone", zone, "Must be a match of regex '[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?'"
                )
            raise invalid_value("zone", zone, f"Unknown zone in project '{project}'.")

    def check_region(self, project: str, region: str) -> None:
        """Raises as Google does for a region that does not exist."""
        if region not in self.catalog.regions:
            raise invalid_value("region", region, f"Unknown region in project '{project}'.")

    def default_account(self, project: str) -> str:
        """The service account that VMs get unless they name another."""
        return f"{project_number(project)}-compute@developer.gserviceaccount.com"
