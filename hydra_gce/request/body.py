"""The parts of a VM's body, in the order in which Compute Engine's reference lists an instance's fields.

https://cloud.google.com/compute/docs/reference/rest/v1/instances
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra_gce.machines import Candidate, ProvisioningModel
from hydra_gce.machines.images import default_for, link
from hydra_gce.settings import VM

Json = dict[str, Any]


def instance(
    name: str,
    vm: VM,
    candidate: Candidate,
    image: str | None,
    labels: Mapping[str, str],
    metadata: Mapping[str, str],
) -> Json:
    """An ``Instance`` of the v1 API as JSON, without ``vm.instance``.

    :param image: what is taken where ``vm.image`` names none; None: the default for the machine.
    :param labels: ours, beside those of ``vm.labels``.
    :param metadata: all of it.
    """
    body: Json = {
        "name": name,
        "machineType": f"zones/{candidate.zone}/machineTypes/{candidate.machine_type}",
        "labels": {**vm.labels, **labels},
        "metadata": {"items": [{"key": key, "value": value} for key, value in metadata.items()]},
        "disks": [_boot_disk(vm, candidate, image, labels), *_local_ssds(candidate)],
        "networkInterfaces": [_interface(vm, candidate.region)],
        "serviceAccounts": [{"email": vm.service_account or "default", "scopes": list(vm.scopes)}],
        "scheduling": _scheduling(vm, candidate),
    }
    if vm.tags:
        body["tags"] = {"items": list(vm.tags)}
    if candidate.accelerator:
        kind = f"zones/{candidate.zone}/acceleratorTypes/{candidate.accelerator.type}"
        body["guestAccelerators"] = [
            {"acceleratorType": kind, "acceleratorCount": candidate.accelerator.count}
        ]
    shielded = _shielded(vm)
    if shielded:
        body["shieldedInstanceConfig"] = shielded
    affinity = _reservation(vm, candidate)
    if affinity:
        body["reservationAffinity"] = affinity
    if candidate.model is ProvisioningModel.FLEX_START:
        # How long it may wait as PENDING. Compute Engine then starts it, or deletes it with an error:
        # https://docs.cloud.google.com/compute/docs/instances/instance-lifecycle
        body["params"] = {"requestValidForDuration": {"seconds": str(round(vm.queue_minutes * 60))}}
    return body


def _boot_disk(vm: VM, candidate: Candidate, image: str | None, labels: Mapping[str, str]) -> Json:
    default = image or default_for(candidate.shape, candidate.has_gpu)
    source = default if vm.image is None else link(vm.image)
    return {
        "boot": True,
        "autoDelete": True,
        "initializeParams": {
            "sourceImage": source,
            "diskSizeGb": str(vm.disk_gb),
            "diskType": f"zones/{candidate.zone}/diskTypes/{candidate.disk_type}",
            # A disk that outlives its VM is found by them.
            "labels": {**vm.labels, **labels},
        },
    }


def _local_ssds(candidate: Candidate) -> list[Json]:
    """Those that were chosen; the ones that a machine type brings, Compute Engine attaches by itself.

    https://cloud.google.com/compute/docs/disks/add-local-ssd
    """
    one = {
        "type": "SCRATCH",
        "interface": "NVME",
        "autoDelete": True,
        "initializeParams": {"diskType": f"zones/{candidate.zone}/diskTypes/local-ssd"},
    }
    return [one] * candidate.local_ssds


def _interface(vm: VM, region: str) -> Json:
    interface: Json = {}
    if vm.network or not vm.subnetwork:  # a subnetwork alone tells its network
        interface["network"] = network_link(vm.network or "default")
    if vm.subnetwork:
        interface["subnetwork"] = subnetwork_link(vm.subnetwork, region)
    if vm.external_ip:
        interface["accessConfigs"] = [{"type": "ONE_TO_ONE_NAT", "name": "External NAT"}]
    return interface


def network_link(named: str) -> str:
    """Of a network by its name, as "host project/name" where it is shared, or as a path."""
    if "/networks/" in named:
        return named
    host, _, name = named.rpartition("/")
    return f"projects/{host}/global/networks/{name}" if host else f"global/networks/{name}"


def subnetwork_link(named: str, region: str) -> str:
    """Of the subnetwork in the VM's region, named as a network is."""
    if "/subnetworks/" in named:
        return named
    host, _, name = named.rpartition("/")
    return f"{f'projects/{host}/' if host else ''}regions/{region}/subnetworks/{name}"


def _scheduling(vm: VM, candidate: Candidate) -> Json:
    # A GPU cannot move to another host, and only a standard VM is given the chance.
    movable = not candidate.has_gpu and candidate.model is ProvisioningModel.STANDARD
    return {
        "provisioningModel": candidate.model.value,
        "instanceTerminationAction": "DELETE",
        "maxRunDuration": {"seconds": str(int(vm.max_run_hours * 3600))},
        "automaticRestart": False,
        "onHostMaintenance": "MIGRATE" if movable else "TERMINATE",
    }


def _shielded(vm: VM) -> Json | None:
    """None where all is as Compute Engine has it by itself: images that cannot boot by UEFI refuse to be told."""
    if not vm.secure_boot and vm.vtpm and vm.integrity_monitoring:
        return None
    return {
        "enableSecureBoot": vm.secure_boot,
        "enableVtpm": vm.vtpm,
        "enableIntegrityMonitoring": vm.integrity_monitoring,
    }


def _reservation(vm: VM, candidate: Candidate) -> Json | None:
    if vm.reservation:
        return {
            "consumeReservationType": "SPECIFIC_RESERVATION",
            "key": "compute.googleapis.com/reservation-name",
            "values": [vm.reservation],
        }
    if candidate.model is ProvisioningModel.FLEX_START:
        # Compute Engine takes flex-start for nothing that might use up a reservation.
        return {"consumeReservationType": "NO_RESERVATION"}
    return None
