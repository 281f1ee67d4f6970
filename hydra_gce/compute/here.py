"""Google's own client in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import leftovers, quotas
from hydra_gce.compute.asking import asking, patiently
from hydra_gce.compute.instance import Instance, instance_of
from hydra_gce.compute.leftovers import Found, Leftover
from hydra_gce.compute.making import Maker
from hydra_gce.compute.project_key import project_key
from hydra_gce.compute.quotas import Quotas
from hydra_gce.compute.verbs import OPERATION_S
from hydra_gce.labels import SWEEP_LABEL
from hydra_gce.refusals import Refusal

_FEW_ZONES = 4  # an answer over all zones has a part for each of them: a hundred and more
_CONSOLE_BYTES = 4000


@dataclass(frozen=True)
class HereCompute:
    """Google's own client, imported in this process: two seconds."""

    backend: Backend
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def insert(
        self, zone: str, body: dict[str, Any], request_id: str, limit_s: float = OPERATION_S
    ) -> Refusal | None:
        return self._maker.insert(zone, body, request_id, limit_s)

    def why_not_made(self, zone: str, name: str) -> Refusal | None:
        return self._maker.why_not_made(zone, name)

    @property
    def _maker(self) -> Maker:
        return Maker(self.backend, self.find, self.delete, self.clock, self.pause)

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
        return leftovers.find(self.backend, sweep, time.time())

    def remove(self, leftover: Leftover) -> str:
        return leftovers.remove(self.backend, leftover)

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

    def project_key(self) -> bytes | None:
        return project_key(self.backend)
