"""From what a person asks for to a machine, the ways in which it is sold, and where; or all that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TypeVar

from hydra_gce import catalog
from hydra_gce.errors import ConfigError
from hydra_gce.machines import disks, images, places, prices
from hydra_gce.machines.gpus import check_together, counts_of, gpu_named, smallest_for, types_with
from hydra_gce.machines.request import PROVISIONINGS, Accelerator, ProvisioningModel, VMRequest
from hydra_gce.machines.shapes import Shape, shape_of
from hydra_gce.machines.words import either, nearest, one_of

T = TypeVar("T")

PROVISIONING = "hydra.launcher.vm.provisioning"

MODELS = {
    "standard": (ProvisioningModel.STANDARD,),
    "spot": (ProvisioningModel.SPOT,),
    "spot_else_standard": (ProvisioningModel.SPOT, ProvisioningModel.STANDARD),
    "flex_start": (ProvisioningModel.FLEX_START,),
    "reservation": (ProvisioningModel.RESERVATION_BOUND,),
}

# Google gives these only as spot or flex-start (the large ones also by reservation):
# https://cloud.google.com/compute/docs/accelerator-optimized-machines#consumption_option_availability_by_machine_type
NOT_ON_DEMAND = re.compile(r"a3-highgpu-[124]g|a3-ultragpu-8g.*|a4-highgpu-8g")
NOT_BY_RESERVATION = re.compile(r"a3-highgpu-[124]g")


@dataclass(frozen=True)
class Plan:
    """What a request comes to, before its prices."""

    machine: Machine
    models: tuple[ProvisioningModel, ...]
    disk_type: str
    zones: list[str]


@dataclass(frozen=True)
class Machine:
    """A shape with the GPUs that the VM will have, brought or attached."""

    shape: Shape
    gpu: str | None
    gpu_count: Decimal

    @property
    def accelerator(self) -> Accelerator | None:
        if self.gpu is None or self.shape.gpu is not None:
            return None
        return Accelerator(catalog.gpus()[self.gpu].accelerator, int(self.gpu_count))

    def __str__(self) -> str:
        return f"{self.shape.name} + {self.gpu_count:g} x {self.gpu}" if self.accelerator else self.shape.name


def plan_of(request: VMRequest) -> tuple[Plan | None, list[str]]:
    """The plan, or all that stands against it: what depends on something that is wrong is not looked at."""
    wrong: list[str] = []

    def found(check: Callable[[], T]) -> T | None:
        try:
            return check()
        except ConfigError as error:
            wrong.append(str(error))
            return None

    models = found(lambda: _models(request))
    allowed = found(lambda: places.allowed_zones(request.zones, request.regions, request.subnetwork))
    machine = found(lambda: _machine(request))
    if machine is None:
        return None, wrong
    shape, gpu = machine.shape, machine.gpu
    sold = None if models is None else found(partial(_sold_as, machine, models))
    disk_type = found(lambda: disks.checked(request.disk_type, request.disk_gb, shape))
    found(lambda: disks.check_local_ssds(request.local_ssds, shape, gpu if machine.accelerator else None))
    if disk_type is not None:
        found(lambda: images.check(request.image, request.disk_gb, shape, has_gpu=gpu is not None))
    zones = None
    if allowed is not None:
        zones = found(lambda: _offered(machine, allowed, request))
    if wrong or sold is None or disk_type is None or zones is None:
        return None, wrong
    return Plan(machine, sold, disk_type, zones), []


def _models(request: VMRequest) -> tuple[ProvisioningModel, ...]:
    said = request.provisioning
    if said not in MODELS:
        close = nearest(said, PROVISIONINGS, most=1)
        raise ConfigError(
            f"{PROVISIONING}: '{said}' is none of {one_of(PROVISIONINGS)}. Did you mean {close[0]}?"
        )
    if request.reservation and said not in ("standard", "reservation"):
        raise ConfigError(
            f"{PROVISIONING}: a reservation (vm.reservation={request.reservation}) cannot be used with "
            f"{said}. Say vm.provisioning=reservation, or leave vm.reservation out."
        )
    if said == "reservation" and not request.reservation:
        raise ConfigError(f"{PROVISIONING}: reservation needs to know which one: vm.reservation=<its name>.")
    return MODELS[said]


def _machine(request: VMRequest) -> Machine:
    if request.gpu_count is not None and request.gpu_count < 1:
        raise ConfigError(
            f"hydra.launcher.vm.gpu_count: {request.gpu_count} GPUs cannot be had. "
            f"Leave vm.gpu out for a VM without GPUs."
        )
    if request.gpu is None:
        shape = shape_of(request.machine_type or request.default_machine_type)
        if request.gpu_count not in (None, shape.gpu_count):
            raise ConfigError(
                f"hydra.launcher.vm.gpu_count: {request.gpu_count} GPUs of which kind? {shape.name} brings "
                f"{f'{shape.gpu_count:g} x {shape.gpu}' if shape.gpu else 'none'}. Say vm.gpu=T4, for one, or leave "
                f"vm.gpu_count out."
            )
        return Machine(shape, shape.gpu, shape.gpu_count)
    gpu = gpu_named(request.gpu)
    if request.machine_type is None:
        count = request.gpu_count or counts_of(gpu)[0]
        return Machine(smallest_for(gpu, count), gpu, Decimal(count))
    shape = shape_of(request.machine_type)
    return Machine(shape, gpu, Decimal(check_together(gpu, request.gpu_count, shape)))


def _sold_as(machine: Machine, models: tuple[ProvisioningModel, ...]) -> tuple[ProvisioningModel, ...]:
    """The models in which this machine is sold; ConfigError where that is none of those asked for."""
    refusals = {model: why for model in models if (why := _not_sold_as(machine, model))}
    left = tuple(model for model in models if model not in refusals)
    if not left:
        why = next(iter(refusals.values()))
        raise ConfigError(f"{PROVISIONING}: {machine.shape.name} {why}")
    return left


def _not_sold_as(machine: Machine, model: ProvisioningModel) -> str | None:
    """Why this machine is not sold in this way, with what to say instead; None where it is."""
    name = machine.shape.name
    if model is ProvisioningModel.STANDARD and NOT_ON_DEMAND.fullmatch(name):
        whole = [s.name for s in types_with(machine.gpu or "") if not NOT_ON_DEMAND.fullmatch(s.name)]
        other = f", or take {whole[0]}" if whole else ""
        ways = ["spot", "flex_start"] + ["reservation"] * (not NOT_BY_RESERVATION.fullmatch(name))
        return f"is not sold on demand. Say vm.provisioning={either(ways)}{other}."
    if model is ProvisioningModel.RESERVATION_BOUND and NOT_BY_RESERVATION.fullmatch(name):
        return "cannot be reserved. Say vm.provisioning=spot or flex_start."
    if model is ProvisioningModel.SPOT and not prices.has_spot_price(machine.shape):
        return "is not sold as spot. Say vm.provisioning=standard."
    if model is ProvisioningModel.FLEX_START and machine.gpu is None and machine.shape.family != "h4d":
        return "has no GPU, and flex_start is for GPU machines. Say vm.provisioning=spot or standard."
    return None


def _offered(machine: Machine, allowed: Sequence[str], request: VMRequest) -> list[str]:
    """The allowed zones that have this machine; ConfigError, with the zones that do, where none has."""
    everywhere = _zones_with(machine)
    here = [zone for zone in allowed if zone in everywhere]
    if here:
        return here
    field = places.ZONES if request.zones else places.REGIONS
    raise ConfigError(
        f"{field}: {machine} is not offered in {places.said(allowed)}. It is in {places.said(everywhere)}."
    )


def _zones_with(machine: Machine) -> set[str]:
    where = set(machine.shape.regions)
    if machine.accelerator is not None:
        where &= set(catalog.accelerator_regions()[machine.accelerator.type])
    zones = {zone for region in where for zone in catalog.regions().get(region, ())}
    if machine.gpu is None:
        return zones
    seen = catalog.gpu_zones().get(machine.gpu, frozenset())
    seen_regions = {catalog.zones()[zone] for zone in seen if zone in catalog.zones()}
    return {zone for zone in zones if zone in seen or catalog.zones()[zone] not in seen_regions}
