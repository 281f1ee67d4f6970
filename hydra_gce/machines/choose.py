"""From what a person asks for to the places where it can be had, cheapest first.

`resolve` finds every contradiction of a request before anything is asked of Google, and each message names
the field, what is wrong, what fits, and the nearest that works.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from hydra_gce import catalog
from hydra_gce.errors import ConfigError
from hydra_gce.machines import prices
from hydra_gce.machines.gpus import counts_of, gpu_named
from hydra_gce.machines.plan import Plan, plan_of
from hydra_gce.machines.prices import Price
from hydra_gce.machines.request import Candidate, ProvisioningModel, VMRequest


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


def resolve(request: VMRequest) -> list[Candidate]:
    """Places and ways in which the request can be met: cheapest first, ties in a fixed order, never empty.

    With spot_else_standard all spot candidates come before the first standard one.
    ConfigError where the request contradicts itself or Compute Engine: all that is wrong with it, a line for each.
    """
    plan, wrong = plan_of(request)
    if plan is None:
        raise ConfigError("\n".join(wrong))
    candidates = [candidate for model in plan.models for candidate in _priced(plan, model, request)]
    return sorted(candidates, key=lambda c: _rank(c, plan.models))


def contradictions(request: VMRequest) -> list[str]:
    """What `resolve` would refuse, a sentence for each; empty where it finds candidates."""
    return plan_of(request)[1]


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


def _priced(plan: Plan, model: ProvisioningModel, request: VMRequest) -> Iterable[Candidate]:
    machine, by_region = plan.machine, dict[str, Price]()
    for zone in plan.zones:
        region = catalog.zones()[zone]
        if region not in by_region:
            by_region[region] = prices.price_of(
                machine.shape,
                region,
                spot=model is ProvisioningModel.SPOT,
                gpu=machine.gpu,
                gpu_count=machine.gpu_count,
                disk_type=plan.disk_type,
                disk_gb=request.disk_gb or 0,
                external_ip=request.external_ip,
                local_ssds=request.local_ssds,
                flex_start=model is ProvisioningModel.FLEX_START,
            )
        yield Candidate(
            zone=zone,
            region=region,
            machine_type=machine.shape.name,
            shape=machine.shape,
            model=model,
            price=by_region[region],
            disk_type=plan.disk_type,
            gpu=machine.gpu,
            gpu_count=float(machine.gpu_count),
            accelerator=machine.accelerator,
            local_ssds=request.local_ssds,
        )


def _rank(candidate: Candidate, models: Sequence[ProvisioningModel]) -> tuple[int, Decimal, bool, str]:
    # Of two at one price the one whose price is published comes first.
    price = candidate.price
    return models.index(candidate.model), price.hourly, price.estimated, candidate.zone


def _bare(request: VMRequest) -> VMRequest:
    """The same without disk and address, whose prices do not belong into an offer."""
    return replace(request, disk_gb=None, disk_type=None, external_ip=False)


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
