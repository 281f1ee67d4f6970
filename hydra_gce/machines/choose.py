"""From what a person asks for to the places where it can be had, cheapest first.

`resolve` finds every contradiction of a request before anything is asked of Google, and each message names
the field, what is wrong, what fits, and the nearest that works.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from hydra_gce import catalog
from hydra_gce.errors import ConfigError
from hydra_gce.machines import disks, places, prices
from hydra_gce.machines.gpus import (
    check_together,
    counts_of,
    gpu_named,
    smallest_for,
    types_with,
)
from hydra_gce.machines.prices import Price
from hydra_gce.machines.request import (
    PROVISIONINGS,
    Accelerator,
    Candidate,
    ProvisioningModel,
    VMRequest,
)
from hydra_gce.machines.shapes import Shape, shape_of
from hydra_gce.machines.words import nearest, one_of

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
class Offer:
    """Where something can be had, and for how much: one row of `hydra-gce offers`. `zones` share a price."""

    machine_type: str
    gpu: str | None
    gpu_count: float
    model: ProvisioningModel
    region: str
    zones: tuple[str, ...]
    price: Price


@dataclass(frozen=True)
class _Machine:
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


def resolve(request: VMRequest) -> list[Candidate]:
    """Places and ways in which the request can be met: cheapest first, ties in a fixed order, never empty.

    With spot_else_standard all spot candidates come before the first standard one.
    ConfigError where the request contradicts itself or Compute Engine.
    """
    models = _models(request)
    allowed = places.allowed_zones(request.zones, request.regions)
    machine = _machine(request)
    models = _sold_as(machine, models, request)
    disk_type = disks.checked(request.disk_type, request.disk_gb, machine.shape)
    zones = _offered(machine, allowed, request)
    candidates = [
        candidate for model in models for candidate in _priced(machine, zones, model, disk_type, request)
    ]
    return sorted(candidates, key=lambda c: _rank(c, models))


def offers(
    gpu: str | None = None,
    *,
    spot: bool = False,
    gpu_count: int | None = None,
    machine_type: str | None = None,
    zones: Sequence[str] = (),
    regions: Sequence[str] = (),
) -> list[Offer]:
    """What there is of a GPU (each count, or just `gpu_count`) or of a machine type: cheapest first.

    Prices are those of the VM alone, without boot disk and address.
    """
    provisioning = "spot" if spot else "standard"
    if gpu is None or machine_type is not None:
        wanted = [VMRequest(gpu, gpu_count, machine_type, provisioning, zones, regions)]
    else:
        counts = counts_of(gpu_named(gpu)) if gpu_count is None else [gpu_count]
        wanted = [VMRequest(gpu, count, None, provisioning, zones, regions) for count in counts]
    found: list[Candidate] = []
    refused: list[ConfigError] = []
    for request in wanted:
        try:
            found += resolve(_bare(request))
        except ConfigError as error:  # of several counts, some may not be sold so, or not there
            refused.append(error)
    if not found:
        raise refused[0]
    return sorted(_by_region(found), key=lambda o: (o.price.hourly, o.region, o.machine_type, o.gpu_count))


def estimate(candidates: Iterable[Candidate], hours: float | Decimal) -> tuple[Decimal, Decimal]:
    """(least, most) US dollars that so many VM hours can cost over these candidates, to a millionth."""
    hourly = sorted(candidate.price.hourly for candidate in candidates)
    if not hourly:
        raise ValueError("there is nothing to estimate: no candidates")
    time = Decimal(str(hours))
    return prices.rounded(hourly[0] * time), prices.rounded(hourly[-1] * time)


def cost(candidate: Candidate, seconds: float) -> Decimal:
    """What a VM that ran so long costs, in US dollars: by the second, a minute at least."""
    return prices.cost(candidate.price.hourly, seconds)


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


def _machine(request: VMRequest) -> _Machine:
    if request.gpu_count is not None and request.gpu_count < 1:
        raise ConfigError(
            f"hydra.launcher.vm.gpu_count: {request.gpu_count} GPUs cannot be had. "
            f"Leave vm.gpu out for a VM without GPUs."
        )
    if request.gpu is None:
        shape = shape_of(request.machine_type or request.default_machine_type)
        return _Machine(shape, shape.gpu, shape.gpu_count)
    gpu = gpu_named(request.gpu)
    if request.machine_type is None:
        count = request.gpu_count or counts_of(gpu)[0]
        return _Machine(smallest_for(gpu, count), gpu, Decimal(count))
    shape = shape_of(request.machine_type)
    return _Machine(shape, gpu, Decimal(check_together(gpu, request.gpu_count, shape)))


def _sold_as(
    machine: _Machine, models: tuple[ProvisioningModel, ...], request: VMRequest
) -> tuple[ProvisioningModel, ...]:
    """The models in which this machine is sold; ConfigError where that is none of those asked for."""
    refusals = {model: why for model in models if (why := _not_sold_as(machine, model))}
    left = tuple(model for model in models if model not in refusals)
    if not left:
        why = next(iter(refusals.values()))
        raise ConfigError(f"{PROVISIONING}: {machine.shape.name} {why}")
    return left


def _not_sold_as(machine: _Machine, model: ProvisioningModel) -> str | None:
    """Why this machine is not sold in this way, with what to say instead; None where it is."""
    name = machine.shape.name
    if model is ProvisioningModel.STANDARD and NOT_ON_DEMAND.fullmatch(name):
        whole = [s.name for s in types_with(machine.gpu or "") if not NOT_ON_DEMAND.fullmatch(s.name)]
        other = f", or take {whole[0]}" if whole else ""
        return f"is not sold on demand. Say vm.provisioning=spot or flex_start{other}."
    if model is ProvisioningModel.RESERVATION_BOUND and NOT_BY_RESERVATION.fullmatch(name):
        return "cannot be reserved. Say vm.provisioning=spot or flex_start."
    if model is ProvisioningModel.SPOT and not prices.has_spot_price(machine.shape):
        return "is not sold as spot. Say vm.provisioning=standard."
    if model is ProvisioningModel.FLEX_START and machine.gpu is None and machine.shape.family != "h4d":
        return "has no GPU, and flex_start is for GPU machines. Say vm.provisioning=spot or standard."
    return None


def _offered(machine: _Machine, allowed: Sequence[str], request: VMRequest) -> list[str]:
    """The allowed zones that have this machine; ConfigError, with the zones that do, where none has."""
    everywhere = _zones_with(machine)
    here = [zone for zone in allowed if zone in everywhere]
    if here:
        return here
    field = places.ZONES if request.zones else places.REGIONS
    raise ConfigError(
        f"{field}: {machine} is not offered in {places.said(allowed)}. It is in {places.said(everywhere)}."
    )


def _zones_with(machine: _Machine) -> set[str]:
    where = set(machine.shape.regions)
    if machine.accelerator is not None:
        where &= set(catalog.accelerator_regions()[machine.accelerator.type])
    zones = {zone for region in where for zone in catalog.regions().get(region, ())}
    if machine.gpu is None:
        return zones
    seen = catalog.gpu_zones().get(machine.gpu, frozenset())
    seen_regions = {catalog.zones()[zone] for zone in seen if zone in catalog.zones()}
    return {zone for zone in zones if zone in seen or catalog.zones()[zone] not in seen_regions}


def _priced(
    machine: _Machine, zones: Iterable[str], model: ProvisioningModel, disk_type: str, request: VMRequest
) -> Iterable[Candidate]:
    by_region: dict[str, Price] = {}
    for zone in zones:
        region = catalog.zones()[zone]
        if region not in by_region:
            price = prices.price_of(
                machine.shape,
                region,
                spot=model is ProvisioningModel.SPOT,
                gpu=machine.gpu,
                gpu_count=machine.gpu_count,
                disk_type=disk_type,
                disk_gb=request.disk_gb,
                external_ip=request.external_ip,
            )
            # Google sells flex-start below the price on demand, at prices that are in no source of ours.
            flexible = model is ProvisioningModel.FLEX_START
            by_region[region] = replace(price, estimated=True) if flexible else price
        yield Candidate(
            zone=zone,
            region=region,
            machine_type=machine.shape.name,
            shape=machine.shape,
            model=model,
            price=by_region[region],
            disk_type=disk_type,
            gpu=machine.gpu,
            gpu_count=float(machine.gpu_count),
            accelerator=machine.accelerator,
        )


def _rank(candidate: Candidate, models: Sequence[ProvisioningModel]) -> tuple[int, Decimal, bool, str]:
    # Of two at one price the one whose price is published comes first.
    price = candidate.price
    return models.index(candidate.model), price.hourly, price.estimated, candidate.zone


def _bare(request: VMRequest) -> VMRequest:
    """The same without disk and address, whose prices do not belong into an offer."""
    return replace(request, disk_gb=0, disk_type=None, external_ip=False)


def _by_region(candidates: Iterable[Candidate]) -> Iterable[Offer]:
    groups: dict[tuple[str, str, float], list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault((candidate.region, candidate.machine_type, candidate.gpu_count), []).append(
            candidate
        )
    for (region, machine_type, count), members in groups.items():
        yield Offer(
            machine_type=machine_type,
            gpu=members[0].gpu,
            gpu_count=count,
            model=members[0].model,
            region=region,
            zones=tuple(sorted(member.zone for member in members)),
            price=members[0].price,
        )
