"""What a person asks for and what it can become: `VMRequest` in, `Candidate`s out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from hydra_gce import catalog
from hydra_gce.machines.prices import Price
from hydra_gce.machines.shapes import Shape

DEFAULT_MACHINE_TYPE = "e2-standard-4"
"""Taken when neither a GPU nor a machine type is asked for, unless the request says otherwise."""

PROVISIONINGS = ("standard", "spot", "spot_else_standard", "flex_start", "reservation")
"""What `vm.provisioning` may say."""


class ProvisioningModel(str, Enum):
    """How Compute Engine is asked for the VM, in the API's own words (`scheduling.provisioningModel`)."""

    STANDARD = "STANDARD"
    SPOT = "SPOT"
    FLEX_START = "FLEX_START"
    RESERVATION_BOUND = "RESERVATION_BOUND"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class VMRequest:
    """The part of `hydra.launcher.vm` that decides which machine, where, and at what price.

    gpu: a name as people say it ("T4", "A100-80GB"); None = CPU only, or what the machine type brings.
    gpu_count: GPUs in one VM; None = one, or as many as the machine type brings.
    machine_type: predefined or custom; None = the smallest for the GPU, `default_machine_type` without one.
    zones, regions: where it may go, wildcards allowed; empty = anywhere. Both given: both must hold.
    subnetwork: as `vm.subnetwork` names it; one with a region keeps the VM there.
    disk_gb: of the boot disk; None = it is not asked about, and costs nothing.
    disk_type: None = pd-balanced, or hyperdisk-balanced where the machine takes nothing else.
    local_ssds: how many of 375 GB to attach, besides those that the machine type brings.
    image: as `vm.image` names it; None = the default for the machine.
    """

    gpu: str | None = None
    gpu_count: int | None = None
    machine_type: str | None = None
    provisioning: str = "standard"
    zones: Sequence[str] = ()
    regions: Sequence[str] = ()
    disk_gb: int | None = 50
    disk_type: str | None = None
    external_ip: bool = True
    reservation: str | None = None
    default_machine_type: str = DEFAULT_MACHINE_TYPE
    local_ssds: int = 0
    image: str | None = None
    subnetwork: str | None = None


@dataclass(frozen=True)
class Accelerator:
    """GPUs to attach, as `guestAccelerators` wants them: the API's type name and how many."""

    type: str
    count: int


@dataclass(frozen=True)
class Candidate:
    """One place and way in which the request can be met.

    accelerator: GPUs to attach to the VM; None where the machine type brings its own, or there are none.
    gpu, gpu_count: the GPUs that the VM will have, attached or brought; None and 0 without GPUs.
    local_ssds: of 375 GB to attach, besides those that the machine type brings.
    """

    zone: str
    region: str
    machine_type: str
    shape: Shape
    model: ProvisioningModel
    price: Price
    disk_type: str
    gpu: str | None = None
    gpu_count: float = 0
    accelerator: Accelerator | None = None
    local_ssds: int = 0

    @property
    def has_gpu(self) -> bool:
        """GPU VMs cannot migrate: they need `onHostMaintenance=TERMINATE`."""
        return self.gpu is not None

    @property
    def gpu_quota(self) -> str | None:
        """The regional quota that its GPUs count against; None without GPUs, or where the API has none.

        Flex-start counts against the quota of spot:
        https://cloud.google.com/ai-hypercomputer/docs/consumption-models
        """
        quota = catalog.gpus()[self.gpu].quota if self.gpu else None
        preemptible = self.model in (ProvisioningModel.SPOT, ProvisioningModel.FLEX_START)
        return f"PREEMPTIBLE_{quota}" if quota and preemptible else quota

    def __str__(self) -> str:
        """As a person reads it: "spot n1-standard-4 + T4 in us-central1-a"."""
        how = "" if self.model is ProvisioningModel.STANDARD else f"{self.model.value.lower()} "
        many = f"{self.gpu_count:g} x " if self.gpu_count != 1 else ""
        with_gpu = f" + {many}{self.gpu}" if self.accelerator else ""
        return f"{how}{self.machine_type}{with_gpu} in {self.zone}"
