"""What a VM costs: put together from the catalogue's rates, in US dollars, as Decimals with their date."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from hydra_gce import catalog
from hydra_gce.errors import ConfigError
from hydra_gce.machines.shapes import Shape

HOURS_A_MONTH = 730
"""Google's month: https://cloud.google.com/compute/all-pricing"""

LEAST_SECONDS = 60
"""Billed by the second, and a minute at least: https://cloud.google.com/compute/vm-instance-pricing"""

LOCAL_SSD_GB = 375
"""Of each local SSD that is chosen: https://cloud.google.com/compute/docs/disks/local-ssd"""

# Custom types of N1 stand 5 % above predefined ones in the sources; Google says the same of N2, N2D and N4.
# Those of E2 are billed as E2. https://cloud.google.com/compute/vm-instance-pricing#custommachinetypepricing
CUSTOM_PREMIUM = Decimal("1.05")
# A GB of N1's extended memory costs 0.009550 dollars in us-central1, a GB of a custom type 0.004446.
EXTENDED_PREMIUM = Decimal("2.148")

# Families whose whole price is billed as that of their GPUs: https://github.com/dstackai/gpuhunt/pull/176
BILLED_BY_GPU = frozenset({"a4"})

MILLIONTH = Decimal("0.000001")
CENT = Decimal("0.01")


@dataclass(frozen=True)
class Price:
    """US dollars an hour, by what they are for; `date` is the day of the oldest rate in it.

    estimated: some rate of it is not published in our sources and was taken from its nearest neighbours.
    """

    host: Decimal
    gpu: Decimal = Decimal(0)
    local_ssd: Decimal = Decimal(0)
    disk: Decimal = Decimal(0)
    address: Decimal = Decimal(0)
    currency: str = "USD"
    date: date = date.min
    source: str = ""
    estimated: bool = False

    @property
    def vm(self) -> Decimal:
        """What price lists call the price of the VM: all but its boot disk and its address."""
        return self.host + self.gpu + self.local_ssd

    @property
    def hourly(self) -> Decimal:
        """All of it."""
        return self.vm + self.disk + self.address

    def __str__(self) -> str:
        about = "about " if self.estimated else ""
        return f"{about}${dollars(self.hourly, Decimal('0.001'))}/h"


class _Bill:
    """Adds up rates, and remembers which sources they came from."""

    def __init__(self) -> None:
        self.bases: set[str] = set()

    def take(self, rate: Decimal, basis: str) -> Decimal:
        self.bases.add(basis)
        return rate

    def source(self) -> str:
        return "; ".join(catalog.sources()[basis].source for basis in sorted(self.bases))

    def date(self) -> date:
        return min(catalog.sources()[basis].date for basis in self.bases)


def price_of(
    shape: Shape,
    region: str,
    *,
    spot: bool,
    gpu: str | None = None,
    gpu_count: Decimal = Decimal(0),
    disk_type: str = "pd-balanced",
    disk_gb: int = 0,
    external_ip: bool = False,
    local_ssds: int = 0,
) -> Price:
    """The price of a VM of this shape with these GPUs, attached or brought, in a region.

    local_ssds: how many were chosen, besides those that the shape brings.
    """
    bill = _Bill()
    host = _host(bill, shape, region, spot)
    gpus = gpu_count * _gpu(bill, gpu, region, spot) if gpu else Decimal(0)
    local_ssd = _local_ssd(bill, shape, region, spot, local_ssds)
    disk = disk_gb * _disk_gb_month(bill, disk_type, region) / HOURS_A_MONTH if disk_gb else Decimal(0)
    addresses = catalog.address_rates()
    address = addresses.get(region) or max(addresses.values())
    return Price(
        host=rounded(host),
        gpu=rounded(gpus),
        local_ssd=rounded(local_ssd),
        disk=rounded(disk),
        address=address if external_ip else Decimal(0),
        date=bill.date(),
        source=bill.source(),
        estimated="estimated" in bill.bases,
    )


def has_spot_price(shape: Shape) -> bool:
    """Whether this family is sold as spot at all. A family that is in no source is taken to be."""
    if shape.name in catalog.type_rates():
        return any(rates.hour_spot is not None for rates in catalog.type_rates()[shape.name].values())
    rates_of = catalog.host_rates().get(shape.family)
    return rates_of is None or any(rates.vcpu_spot is not None for rates in rates_of.values())


def cost(hourly: Decimal, seconds: float) -> Decimal:
    """What so many seconds cost, to a millionth of a dollar: each begun second, and a minute at least.

    A VM that never came up (0 seconds) costs nothing.
    """
    if seconds < 0:
        raise ValueError(f"a VM cannot have run {seconds} seconds")
    if seconds == 0:
        return Decimal(0)
    billed = max(LEAST_SECONDS, -int(-seconds // 1))
    return rounded(hourly * billed / 3600)


def dollars(amount: Decimal, unit: Decimal = CENT) -> Decimal:
    """An amount rounded to cents, or to `unit`, as bills are."""
    return amount.quantize(unit, rounding=ROUND_HALF_UP)


def _host(bill: _Bill, shape: Shape, region: str, spot: bool) -> Decimal:
    whole = catalog.type_rates().get(shape.name)
    if whole is not None:
        return _rate(bill, {at: (r.hour_spot if spot else r.hour) for at, r in whole.items()}, region)
    family, premium = shape.family, Decimal(1)
    if shape.custom and family == "n1":
        family = "n1-custom"
    elif shape.custom and family != "e2":
        premium = bill.take(CUSTOM_PREMIUM, "estimated")
    vcpu = premium * _host_rate(bill, family, region, lambda r: r.vcpu_spot if spot else r.vcpu)
    gb = premium * _host_rate(bill, family, region, lambda r: r.gb_spot if spot else r.gb)
    extended = shape.extended_gb and bill.take(shape.extended_gb, "estimated") * (EXTENDED_PREMIUM - 1) * gb
    return shape.billed_vcpus * vcpu + shape.billed_gb * gb + extended


def _host_rate(
    bill: _Bill, family: str, region: str, rate: Callable[[catalog.HostRates], Decimal | None]
) -> Decimal:
    table = catalog.host_rates()
    if family in table:
        return _rate(bill, {at: rate(rates) for at, rates in table[family].items()}, region)
    if family in BILLED_BY_GPU:
        return Decimal(0)
    # A family that no source has: as dear as the dearest, so that a budget is never passed unseen.
    return _rate(bill, {"": max(filter(None, (rate(r) for t in table.values() for r in t.values())))}, region)


def _gpu(bill: _Bill, gpu: str, region: str, spot: bool) -> Decimal:
    rates = catalog.gpu_rates()[gpu]
    here = rates.get(region)
    by_region = {at: (r.hour_spot if spot else r.hour) for at, r in rates.items()}
    return _rate(bill, by_region, region, here.basis if here else "estimated")


def _local_ssd(bill: _Bill, shape: Shape, region: str, spot: bool, chosen: int) -> Decimal:
    gigabytes = shape.local_ssd_gb + chosen * LOCAL_SSD_GB
    if not gigabytes or shape.family in BILLED_BY_GPU:
        return Decimal(0)
    kind = f"local-ssd-{shape.family}"
    rates = catalog.disk_rates().get(kind) or catalog.disk_rates()["local-ssd"]
    by_region = {at: (r.gb_month_spot if spot else r.gb_month) for at, r in rates.items()}
    # G4's are of another make, whose price is in no source of ours.
    basis = "estimated" if shape.family == "g4" else "cyclenerd"
    return gigabytes * _rate(bill, by_region, region, basis) / HOURS_A_MONTH


def _disk_gb_month(bill: _Bill, disk_type: str, region: str) -> Decimal:
    rates = catalog.disk_rates().get(disk_type)
    if rates is None:
        raise ConfigError(f"hydra.launcher.vm.disk_type: no price is known for '{disk_type}'.")
    here = rates.get(region)
    by_region = {at: r.gb_month for at, r in rates.items()}
    return _rate(bill, dict(by_region), region, here.basis if here else "estimated")


def _rate(
    bill: _Bill, by_region: dict[str, Decimal | None], region: str, basis: str = "cyclenerd"
) -> Decimal:
    """The rate of a region; where none is published, the dearest of all regions, as an estimate."""
    here = by_region.get(region)
    if here is not None:
        return bill.take(here, basis)
    known: Iterable[Decimal] = [rate for rate in by_region.values() if rate is not None]
    return bill.take(max(known), "estimated")


def rounded(amount: Decimal) -> Decimal:
    """To a millionth of a dollar."""
    return amount.quantize(MILLIONTH, rounding=ROUND_HALF_UP)
