"""Rates of Google's price list laid over those of a catalogue: which they replace, and which they must not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from hydra_gce.catalog import shelf
from hydra_gce.catalog.skus import FLEX, Item, Rates
from hydra_gce.catalog.tables import Catalogue, HourRates

SOURCE = "Google's Cloud Billing Catalog (cloudbilling.googleapis.com)"

# Less than this share of the families and regions that are known, and the price list was not understood.
LEAST_SHARE = 0.5

# Prices on demand stand still for years, spot prices move every month. What is further off was not understood.
FURTHEST = {False: 3, True: 30}

# GPUs that come with a family of machines. Their price and that of their host are replaced together or not at all:
# where the catalogue took sums apart, its shares are not those of the price list, only their sum is.
GPUS_OF = {
    "a2": ("A100", "A100-80GB"),
    "a3": ("H100", "H100-MEGA", "H200"),
    "g2": ("L4",),
    "g4": ("RTX-PRO-6000",),
}

# Of these the host is sold at other rates than its family's: vCPUs and GB for each GPU. The difference is told as the
# GPU's, a family has one rate here. https://cloud.google.com/compute/docs/accelerator-optimized-machines
HOSTS_OF_THEIR_OWN = {"H100-MEGA": ("a3-mega", 26, 234), "H200": ("a3-ultra", 28, 369)}

# Parts of other rates.
NO_FAMILIES = frozenset({"a3-mega", "a3-ultra", "m2-premium"})

Key = tuple[str, str]
"""(what it is of, region)"""


class NotUnderstood(ValueError):
    """The price list is not what it is taken for; the message says in what."""


@dataclass(frozen=True)
class _Row:
    """rates: as the file has them, on demand first. basis: where they are from, a row of the sources."""

    rates: tuple[Decimal | None, ...]
    basis: str


def tables_of(rates: Rates, known: Catalogue, today: date) -> dict[str, str]:
    """The tables of rates and sources with what the price list says; what it does not say stays as it was.

    A row of which a rate stays keeps its old source, so that no price seems younger than it is.

    :raises NotUnderstood: the price list covers too little of what is known.
    """
    basis = f"billing-{today.isoformat()}"
    fresh = _sound(_with_sums(rates), known)
    _check_share(fresh, known)
    hosts = _merged(_hosts(known), fresh, _host_items, basis)
    gpus = _merged(_hours(known.gpu_rates), fresh, _items("gpu"), basis)
    types = _merged(_hours(known.type_rates), fresh, _items("type"), basis)
    disks = _merged(_months(known), fresh, _items("disk"), basis)
    used = {row.basis for table in (hosts, gpus, types, disks) for row in table.values()} | {"estimated"}
    sources = [[name, one.date, one.source] for name, one in known.sources.items() if name in used - {basis}]
    return {
        "host-rates": shelf.csv_text(
            ["family", "region", "vcpu", "gb", "vcpu_spot", "gb_spot", "basis"], _lines(hosts)
        ),
        "gpu-rates": shelf.csv_text(["gpu", "region", "hour", "hour_spot", "basis"], _lines(gpus)),
        "type-rates": shelf.csv_text(["machine_type", "region", "hour", "hour_spot", "basis"], _lines(types)),
        "disk-rates": shelf.csv_text(
            ["disk_type", "region", "gb_month", "gb_month_spot", "basis"], _lines(disks)
        ),
        "address-rates": shelf.csv_text(["region", "hour"], _addresses(fresh, known)),
        "sources": shelf.csv_text(
            ["basis", "date", "source"], [*sources, [basis, today.isoformat(), SOURCE]]
        ),
    }


def _with_sums(rates: Rates) -> Rates:
    """And the rates that are sums of several: M2 is M1 and a premium; some GPUs carry the rest of their hosts."""
    sums: Rates = {}
    for spot in (False, True):
        for part in ("vcpu", "gb"):
            base = rates.get(Item(part, "m1", spot), {})
            premium = rates.get(Item(part, "m2-premium", spot), {})
            sums[Item(part, "m2", spot)] = {at: base[at] + premium[at] for at in base.keys() & premium.keys()}
        for gpu, (host, vcpus, gb) in HOSTS_OF_THEIR_OWN.items():
            price = rates.get(Item("gpu", gpu, spot), {})
            more = {at: vcpus * rest for at, rest in _difference(rates, "vcpu", host, spot).items()}
            for at, rest in _difference(rates, "gb", host, spot).items():
                if at in more:
                    more[at] += gb * rest
            sums[Item("gpu", gpu, spot)] = {at: one + more.get(at, 0) for at, one in price.items()}
    families = {
        item: by_region
        for item, by_region in rates.items()
        if item.name.removesuffix(FLEX) not in NO_FAMILIES
    }
    return {**families, **{item: by_region for item, by_region in sums.items() if by_region}}


def _difference(rates: Rates, part: str, host: str, spot: bool) -> dict[str, Decimal]:
    own, family = rates.get(Item(part, host, spot), {}), rates.get(Item(part, "a3", spot), {})
    return {at: own[at] - family[at] for at in own.keys() & family.keys()}


def _sound(rates: Rates, known: Catalogue) -> Rates:
    """Without what is too far from what is known, and without hosts whose GPUs are missing, or the reverse."""
    old = {
        item: {key[1]: row.rates[at] for key, row in table.items() if key[0] == item.name}
        for table, columns in (
            (_hosts(known), _host_items),
            (_hours(known.gpu_rates), _items("gpu")),
            (_hours(known.type_rates), _items("type")),
            (_months(known), _items("disk")),
        )
        for name in {key[0] for key in table}
        for at, item in enumerate(columns(name))
    }
    kept = {
        item: {
            at: new for at, new in by_region.items() if _is_near(new, old.get(item, {}).get(at), item.spot)
        }
        for item, by_region in rates.items()
    }
    for family, gpus in GPUS_OF.items():
        for spot in (False, True):
            hosts = [Item("vcpu", family, spot), Item("gb", family, spot)]
            bundle = [*hosts, *(Item("gpu", gpu, spot) for gpu in gpus)]
            for region in {at for item in bundle for at in kept.get(item, {})}:
                needed = [*hosts, *(item for item in bundle[2:] if old.get(item, {}).get(region) is not None)]
                if any(region not in kept.get(item, {}) for item in needed):
                    for item in bundle:
                        kept.get(item, {}).pop(region, None)
    return kept


def _is_near(new: Decimal, old: Decimal | None, spot: bool) -> bool:
    return old is None or old / FURTHEST[spot] <= new <= old * FURTHEST[spot]


def _check_share(rates: Rates, known: Catalogue) -> None:
    places = [
        (family, at) for family, regions in known.host_rates.items() for at in regions if "-" not in family
    ]
    told = [
        at in rates.get(Item("vcpu", family, False), {}) and at in rates.get(Item("gb", family, False), {})
        for family, at in places
    ]
    if sum(told) < LEAST_SHARE * len(places):
        raise NotUnderstood(
            f"its price list tells {sum(told)} of the {len(places)} prices of machine families that are known here"
        )


def _merged(
    known: Mapping[Key, _Row], rates: Rates, columns: Callable[[str], list[Item]], basis: str
) -> dict[Key, _Row]:
    """Row by row the new rates where there are any; new rows where all that is sold on demand is told."""
    kinds = {item.kind for item in columns("")}
    new_keys = {
        (item.name, at) for item, by_region in rates.items() if item.kind in kinds for at in by_region
    }
    merged: dict[Key, _Row] = {}
    for name, region in sorted(known.keys() | new_keys):
        items = columns(name)
        new = [rates.get(item, {}).get(region) for item in items]
        old = known.get((name, region))
        if old is not None:
            values = tuple(n if n is not None else o for n, o in zip(new, old.rates, strict=True))
            stays = any(n is None and o is not None for n, o in zip(new, old.rates, strict=True))
            merged[name, region] = _Row(values, old.basis if stays else basis)
        elif all(n is not None for n, item in zip(new, items, strict=True) if _is_needed(item)):
            merged[name, region] = _Row(tuple(new), basis)
    return merged


def _is_needed(item: Item) -> bool:
    return not item.spot and (item.kind, item.name.endswith("-extended")) != ("vcpu", True)


def _host_items(name: str) -> list[Item]:
    return [Item(part, name, spot) for spot in (False, True) for part in ("vcpu", "gb")]


def _items(kind: str) -> Callable[[str], list[Item]]:
    return lambda name: [Item(kind, name, False), Item(kind, name, True)]


def _hosts(known: Catalogue) -> dict[Key, _Row]:
    return {
        (family, at): _Row((one.vcpu, one.gb, one.vcpu_spot, one.gb_spot), one.basis)
        for family, regions in known.host_rates.items()
        for at, one in regions.items()
    }


def _hours(known: Mapping[str, Mapping[str, HourRates]]) -> dict[Key, _Row]:
    return {
        (name, at): _Row((one.hour, one.hour_spot), one.basis)
        for name, regions in known.items()
        for at, one in regions.items()
    }


def _months(known: Catalogue) -> dict[Key, _Row]:
    return {
        (disk, at): _Row((one.gb_month, one.gb_month_spot), one.basis)
        for disk, regions in known.disk_rates.items()
        for at, one in regions.items()
    }


def _addresses(rates: Rates, known: Catalogue) -> list[list[object]]:
    """One price everywhere, as Google has it; as they were where it is not told."""
    told = rates.get(Item("address", "", False), {})
    everywhere = told.get("global")
    by_region = (
        {**known.address_rates, **dict.fromkeys(known.regions, everywhere)}
        if everywhere
        else known.address_rates
    )
    return [[at, _number(told.get(at, hour))] for at, hour in sorted(by_region.items()) if hour]


def _lines(table: Mapping[Key, _Row]) -> list[list[object]]:
    return [[*key, *map(_number, row.rates), row.basis] for key, row in sorted(table.items())]


def _number(rate: Decimal | None) -> str:
    return "" if rate is None else f"{rate.normalize():f}"
