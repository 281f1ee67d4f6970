"""What all VMs of a sweep share, and what makes each of them one of its own."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from hydra_gce.labels import JOB_LABEL, OWNER_LABEL, SWEEP_LABEL
from hydra_gce.machines import Candidate, VMRequest
from hydra_gce.owner import owner_here
from hydra_gce.request.body import instance
from hydra_gce.request.overlay import overlay
from hydra_gce.settings import VM, Settings

if TYPE_CHECKING:
    from hydra_gce.cargo.pack import Sent
    from hydra_gce.identity import Identity

DEFAULT_MACHINE_TYPE = "e2-standard-2"


@dataclass(frozen=True)
class Order:
    """What all VMs of a sweep share.

    image: taken where ``vm.image`` names none; None: Google's for the machine.
    attributes: the metadata that the startup script and the agent read.
    owner: who launched it, as a label's value.
    """

    sweep: str
    project: str
    vm: VM
    image: str | None
    attributes: dict[str, str]
    owner: str = ""

    def instance_name(self, num: int, attempt: int) -> str:
        """Derived from the job alone, so that a request that is sent again cannot make a second VM."""
        return f"hg-{self.sweep}-{num}" + (f"-a{attempt}" if attempt > 1 else "")

    def job_of(self, instance: str) -> int | None:
        """Which job a VM of that name was made for; None for a name that is none of this sweep's."""
        number = instance.removeprefix(f"hg-{self.sweep}-").partition("-")[0]
        return int(number) if number.isdigit() else None

    def attempt_of(self, instance: str, num: int) -> int:
        """Which attempt at the job a VM of that name was made for; 0 for a name that is not such a one."""
        own = self.instance_name(num, 1)
        if instance == own:
            return 1
        number = instance.removeprefix(f"{own}-a")
        return int(number) if number.isdigit() else 0

    def request_id(self, num: int, attempt: int, place: str, round_: int) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"hydra-gce/{self.sweep}/{num}/{attempt}/{place}/{round_}"))

    def body(self, num: int, attempt: int, candidate: Candidate) -> dict[str, Any]:
        """An ``Instance`` of the v1 API as JSON."""
        metadata = {
            "startup-script": startup_script(),
            **self.attributes,
            "hydra-gce-job": str(num),
            **self.vm.metadata,
        }
        labels = {SWEEP_LABEL: self.sweep, JOB_LABEL: str(num)}
        if self.owner:
            labels[OWNER_LABEL] = self.owner
        name = self.instance_name(num, attempt)
        return overlay(instance(name, self.vm, candidate, self.image, labels, metadata), self.vm.instance)


def vm_request(vm: VM) -> VMRequest:
    """What of ``hydra.launcher.vm`` decides which machine, where, and at what price."""
    return VMRequest(
        gpu=vm.gpu,
        gpu_count=vm.gpu_count,
        machine_type=vm.machine_type,
        provisioning=vm.provisioning,
        zones=vm.zones,
        regions=vm.regions,
        disk_gb=vm.disk_gb,
        disk_type=vm.disk_type,
        external_ip=vm.external_ip,
        reservation=vm.reservation,
        default_machine_type=DEFAULT_MACHINE_TYPE,
        local_ssds=vm.local_ssds,
        image=vm.image,
        subnetwork=vm.subnetwork,
    )


def order(
    settings: Settings, project: str, image: str | None, bucket: str, identity: Identity, sent: Sent
) -> Order:
    """The VMs of a sweep: what the startup script and the agent find in their metadata, too."""
    attributes = {
        "hydra-gce-bucket": bucket,
        "hydra-gce-sweep": identity.names.sweep,
        "hydra-gce-key": identity.key.hex(),
        "hydra-gce-launcher": sent.launcher,
        "hydra-gce-environment": sent.environment,
        "hydra-gce-any-job": "true" if settings.max_vms or settings.keep_warm_s else "false",
        "hydra-gce-keep-warm-s": str(settings.keep_warm_s),
    }
    if settings.vm.container:
        attributes["hydra-gce-container"] = settings.vm.container
    return Order(identity.names.sweep, project, settings.vm, image, attributes, owner_here())


def startup_script() -> str:
    return (files("hydra_gce") / "agent" / "startup.sh").read_text(encoding="utf-8")
