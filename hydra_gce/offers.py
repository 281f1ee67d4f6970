"""What can be had: machines, places and prices, held against what the project's quotas allow.

rows = offered(Asked(gpu="A100"), quotas)    # cheapest first
table(rows, [], quotas, most=20)             # for a person
report(rows, [], quotas)                     # for a program
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.text import Text

from hydra_gce import catalog
from hydra_gce.compute.quotas import Quotas, Shortage, room, shortage
from hydra_gce.display.grid import Column, grid
from hydra_gce.errors import ConfigError
from hydra_gce.machines import Candidate, Offer, ProvisioningModel, offers, shape_of
from hydra_gce.machines.places import allowed_zones, regions_of
from hydra_gce.machines.words import one_of, shortened

THOUSANDTH = Decimal("0.001")


@dataclass(frozen=True)
class Asked:
    """What offers are wanted of. Neither gpu nor machine_type: the cheapest of each GPU, or `all` of them."""

    gpu: str | None = None
    gpu_count: int | None = None
    machine_type: str | None = None
    spot: bool = True
    standard: bool = True
    zones: Sequence[str] = ()
    regions: Sequence[str] = ()
    all: bool = False


@dataclass(frozen=True)
class Row:
    """An offer as this project can have it. fits: how many such VMs its quotas allow now; None = not known."""

    offer: Offer
    fits: int | None
    blocked: Shortage | None


def offered(asked: Asked, quotas: Quotas) -> list[Row]:
    """What there is of it, cheapest first.

    :raises ConfigError: it contradicts itself, or is nowhere.
    """
    overview = asked.gpu is None and asked.machine_type is None
    found: list[Offer] = []
    refused: list[ConfigError] = []
    for gpu in catalog.gpus() if overview else [asked.gpu]:
        for spot in [True] * asked.spot + [False] * asked.standard:
            try:
                some = offers(
                    gpu,
                    spot=spot,
                    gpu_count=asked.gpu_count,
                    machine_type=asked.machine_type,
                    zones=asked.zones,
                    regions=asked.regions,
                )
            except ConfigError as error:  # it may be sold in the other way, or another GPU be there
                refused.append(error)
            else:
                found += some[:1] if overview and not asked.all else some
    if not found:
        raise refused[-1]
    found.sort(key=lambda offer: (offer.price.vm, offer.region, offer.machine_type))
    return [_row(offer, quotas) for offer in found]


def not_offered(asked: Asked, rows: Iterable[Row]) -> list[str]:
    """Of the regions that were asked for by name or wildcard, those without any offer."""
    if not (asked.zones or asked.regions):
        return []
    there = {row.offer.region for row in rows}
    return [region for region in regions_of(allowed_zones(asked.zones, asked.regions)) if region not in there]


def _row(offer: Offer, quotas: Quotas) -> Row:
    candidate = Candidate(
        zone=offer.zones[0],
        region=offer.region,
        machine_type=offer.machine_type,
        shape=shape_of(offer.machine_type),
        model=offer.model,
        price=offer.price,
        disk_type="pd-balanced",
        gpu=offer.gpu,
        gpu_count=offer.gpu_count,
    )
    return Row(offer, room(candidate, quotas), shortage(candidate, quotas))


def report(rows: Sequence[Row], absent: Sequence[str], quotas: Quotas) -> dict[str, Any]:
    """The stable form; docs/costs.md says what each field is."""
    return {
        "currency": "USD",
        "project": quotas.project or None,
        "quotas_unknown": quotas.unknown,
        "not_offered": list(absent),
        "offers": [_offer_report(row) for row in rows],
    }


def _offer_report(row: Row) -> dict[str, Any]:
    offer, shape = row.offer, shape_of(row.offer.machine_type)
    return {
        "usd_per_hour": str(offer.price.vm),
        "estimated": offer.price.estimated,
        "price_date": offer.price.date.isoformat(),
        "price_source": offer.price.source,
        "provisioning": offer.model.value.lower(),
        "machine_type": offer.machine_type,
        "vcpus": shape.vcpus,
        "memory_gb": float(shape.memory_gb),
        "gpu": offer.gpu,
        "gpu_count": offer.gpu_count,
        "gpu_memory_gb": _gpu_gb(offer),
        "region": offer.region,
        "zones": list(offer.zones),
        "fits": row.fits,
        "blocked": _blocked_report(row.blocked),
    }


def _blocked_report(blocked: Shortage | None) -> dict[str, Any] | None:
    if blocked is None:
        return None
    return {
        "metric": blocked.metric,
        "region": blocked.region,
        "limit": blocked.limit,
        "used": blocked.used,
        "needed": blocked.needed,
        "may_pass": blocked.may_pass,
        "link": blocked.link,
    }


def table(rows: Sequence[Row], absent: Sequence[str], quotas: Quotas, *, most: int | None) -> None:
    """Prints the first `most` rows (None: all) and what they mean; in a pipe nothing is shortened."""
    shown = rows[:most]
    lines = _grid(shown, shutil.get_terminal_size().columns if sys.stdout.isatty() else None)
    if len(rows) > len(shown):
        lines.append(Text(f"{len(rows) - len(shown)} more: --all", style="dim"))
    if absent:
        lines.append(Text(f"not offered in {shortened(absent)}"))
    console = Console(file=sys.stdout, highlight=False, legacy_windows=False)
    lines += _obstacles(shown, linked=console.is_terminal)
    lines += [Text(line, style="dim") for line in _notes(shown, quotas)]
    for line in lines:
        console.print(line, soft_wrap=True)


def _grid(rows: Sequence[Row], width: int | None) -> list[Text]:
    gpus = {row.offer.gpu for row in rows}
    columns = {"$/h": True, "": False, "machine": False}  # title -> whether it stands at the right
    if gpus != {None}:  # one GPU is named by its column, several by their cells
        columns[next(iter(gpus)) or "" if len(gpus) == 1 else "GPUs"] = False
    columns |= {"vCPU": True, "GB": True, "where": False}
    if any(row.fits is not None for row in rows):
        columns["fits"] = True
    cells = [
        [Text(_cell(title, row), style="dim" if row.blocked else "") for title in columns] for row in rows
    ]
    for gap, least in ((2, None), (1, None), (1, 12)):
        shrinking = {"where": least}
        lines = grid([Column(t, right, shrinking.get(t)) for t, right in columns.items()], cells, width, gap)
        if lines is not None:
            return lines
    return grid([Column(t, right) for t, right in columns.items()], cells, None, 1) or []


def _cell(title: str, row: Row) -> str:
    offer, shape = row.offer, shape_of(row.offer.machine_type)
    match title:
        case "$/h":
            return f"{'~' if offer.price.estimated else ''}{offer.price.vm.quantize(THOUSANDTH)}"
        case "":
            return "spot" if offer.model is ProvisioningModel.SPOT else ""
        case "machine":
            return offer.machine_type
        case "vCPU":
            return str(shape.vcpus)
        case "GB":
            return f"{float(shape.memory_gb):g}"
        case "where":
            return f"{offer.region}-{','.join(zone.rpartition('-')[2] for zone in offer.zones)}"
        case "fits":
            return _fits(row)
        case _:
            name = f" {offer.gpu}" if title == "GPUs" else ""
            return f"{offer.gpu_count:g}{name} ({_gpu_gb(offer):g} GB)" if offer.gpu else ""


def _fits(row: Row) -> str:
    if row.blocked is not None and not row.blocked.may_pass:
        return "no"
    return "?" if row.fits is None else str(row.fits)


def _gpu_gb(offer: Offer) -> float:
    return offer.gpu_count * catalog.gpus()[offer.gpu].memory_gb if offer.gpu else 0


def _obstacles(rows: Iterable[Row], *, linked: bool) -> list[Text]:
    """Each quota that is in the way, with the regions in which it is so, and where to ask for more.

    linked: the address lies behind a short one, as terminals can; it is several lines long.
    """
    groups: dict[tuple[str, str], list[Shortage]] = {}
    for row in rows:
        if (one := row.blocked) is not None:
            in_use = f" ({one.used:g} in use)" if one.limit and one.used else ""
            groups.setdefault((one.metric, f"{one.limit:g}{in_use}"), []).append(one)
    lines: list[Text] = []
    for (metric, limit), members in groups.items():
        places = dict.fromkeys(one.region or "the whole project" for one in members)
        lines.append(Text(f"quota {metric} is {limit} in {shortened(places, 4)}"))
        address = members[0].link
        short = Text(address.partition("&")[0], style=f"link {address}")
        lines.append(Text("  ask for more: ") + (short if linked else Text(address)))
    return lines


def _notes(rows: Sequence[Row], quotas: Quotas) -> list[str]:
    days = sorted({row.offer.price.date for row in rows})
    dates = one_of(dict.fromkeys(day.isoformat() for day in (days[0], days[-1])))
    about = " ~ = about (docs/costs.md)." if any(row.offer.price.estimated for row in rows) else ""
    notes = [f"List prices of {dates}, in US dollars, without boot disk and address.{about}"]
    if quotas.unknown is not None:
        notes.append(quotas.unknown)
    if quotas.regions:
        notes.append(f"fits: VMs that the quotas of project {quotas.project} allow now; stock is not in it.")
    return notes
