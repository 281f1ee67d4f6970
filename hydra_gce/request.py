"""The body of a VM's ``instances.insert``, in Compute Engine's own words."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from hydra_gce.errors import ConfigError
from hydra_gce.machines import Candidate, ProvisioningModel, VMRequest
from hydra_gce.settings import VM, Settings

if TYPE_CHECKING:
    from hydra_gce.cargo.pack import Sent
    from hydra_gce.identity import Identity

SWEEP_LABEL = "hydra-gce-sweep"
JOB_LABEL = "hydra-gce-job"
DEFAULT_MACHINE_TYPE = "e2-standard-2"

# Debian 12 has Python 3.11 and the guest agent; the Deep Learning VM has NVIDIA's driver too.
CPU_IMAGE = "projects/debian-cloud/global/images/family/debian-12"
GPU_IMAGE = "projects/deeplearning-platform-release/global/images/family/common-cu128-ubuntu-2204-nvidia-570"


@dataclass(frozen=True)
class Order:
    """What all VMs of a sweep share. ``attributes`` is the metadata that the startup script and the agent read."""

    sweep: str
    project: str
    vm: VM
    image: str | None
    attributes: dict[str, str]

    def instance_name(self, num: int, attempt: int) -> str:
        """Derived from the job alone, so that a request that is sent again cannot make a second VM."""
        return f"hg-{self.sweep}-{num}" + (f"-a{attempt}" if attempt > 1 else "")

    def attempt_of(self, instance: str, num: int) -> int:
        """Which attempt at the job a VM of that name was made for; 0 for a name that is not such a one."""
        own = self.instance_name(num, 1)
        if instance == own:
            return 1
        number = instance.removeprefix(f"{own}-a")
        return int(number) if number.isdigit() else 0

    def request_id(self, num: int, attempt: int, zone: str, round_: int) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"hydra-gce/{self.sweep}/{num}/{attempt}/{zone}/{round_}"))

    def body(self, num: int, attempt: int, candidate: Candidate) -> dict[str, Any]:
        """An ``Instance`` of the v1 API as JSON."""
        vm, zone = self.vm, candidate.zone
        # A GPU cannot move to another host, and only a standard VM is given the chance.
        movable = not candidate.has_gpu and candidate.model is ProvisioningModel.STANDARD
        metadata = {
            "startup-script": startup_script(),
            **self.attributes,
            "hydra-gce-job": str(num),
            **vm.metadata,
        }
        body: dict[str, Any] = {
            "name": self.instance_name(num, attempt),
            "machineType": f"zones/{zone}/machineTypes/{candidate.machine_type}",
            "labels": {**vm.labels, SWEEP_LABEL: self.sweep, JOB_LABEL: str(num)},
            "metadata": {"items": [{"key": key, "value": value} for key, value in metadata.items()]},
            "disks": [
                {
                    "boot": True,
                    "autoDelete": True,
                    "initializeParams": {
                        "sourceImage": self._image(candidate),
                        "diskSizeGb": str(vm.disk_gb),
                        "diskType": f"zones/{zone}/diskTypes/{candidate.disk_type}",
                    },
                }
            ],
            "networkInterfaces": [self._interface(zone)],
            "serviceAccounts": [{"email": vm.service_account or "default", "scopes": list(vm.scopes)}],
            "scheduling": {
                "provisioningModel": candidate.model.value,
                "instanceTerminationAction": "DELETE",
                "maxRunDuration": {"seconds": str(int(vm.max_run_hours * 3600))},
                "automaticRestart": False,
                "onHostMaintenance": "MIGRATE" if movable else "TERMINATE",
            },
        }
        if vm.tags:
            body["tags"] = {"items": list(vm.tags)}
        if candidate.accelerator:
            kind = f"zones/{zone}/acceleratorTypes/{candidate.accelerator.type}"
            body["guestAccelerators"] = [
                {"acceleratorType": kind, "acceleratorCount": candidate.accelerator.count}
            ]
        if vm.reservation:
            body["reservationAffinity"] = {
                "consumeReservationType": "SPECIFIC_RESERVATION",
                "key": "compute.googleapis.com/reservation-name",
                "values": [vm.reservation],
            }
        elif candidate.model is ProvisioningModel.FLEX_START:
            # Compute Engine takes flex-start for nothing that might use up a reservation.
            body["reservationAffinity"] = {"consumeReservationType": "NO_RESERVATION"}
        return _overlay(body, vm.instance)

    def _image(self, candidate: Candidate) -> str:
        named = self.vm.image
        if named is None:
            return self.image or (GPU_IMAGE if candidate.has_gpu else CPU_IMAGE)
        if named.startswith(("projects/", "https://", "global/")):
            return named
        project, _, family = named.rpartition("/")
        return f"projects/{project}/global/images/family/{family}" if project else f"global/images/{named}"

    def _interface(self, zone: str) -> dict[str, Any]:
        interface: dict[str, Any] = {}
        if self.vm.network or not self.vm.subnetwork:  # a subnetwork alone tells its network
            interface["network"] = f"global/networks/{self.vm.network or 'default'}"
        if self.vm.subnetwork:
            interface["subnetwork"] = f"regions/{zone.rpartition('-')[0]}/subnetworks/{self.vm.subnetwork}"
        if self.vm.external_ip:
            interface["accessConfigs"] = [{"type": "ONE_TO_ONE_NAT", "name": "External NAT"}]
        return interface


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
    return Order(identity.names.sweep, project, settings.vm, image, attributes)


def startup_script() -> str:
    return (files("hydra_gce") / "agent" / "startup.sh").read_text(encoding="utf-8")


def _overlay(body: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """``extra`` over ``body``: mappings are merged, everything else is replaced."""
    merged = dict(body)
    for key, value in extra.items():
        known = merged.get(key)
        both = isinstance(known, dict) and isinstance(value, dict)
        merged[key] = _overlay(known, value) if both else value  # type: ignore[arg-type]
    return merged


def to_message(body: dict[str, Any]) -> Any:
    """The body as the client's own message.

    :raises ConfigError: ``vm.instance`` has a field that the API does not have, or one of the wrong type.
    """
    from google.cloud import compute_v1
    from google.protobuf.json_format import ParseError

    try:
        return compute_v1.Instance.from_json(json.dumps(body))
    except ParseError as error:
        raise ConfigError(
            f"hydra.launcher.vm.instance: Compute Engine's Instance does not take this: {error}. Its fields:"
            " https://cloud.google.com/compute/docs/reference/rest/v1/instances"
        ) from error
