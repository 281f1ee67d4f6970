"""What a VM costs: put together from the catalogue's rates, in US dollars, as Decimals with their date."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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

# A part of a G4's GPU is sold with its vCPUs and memory, above its share of a whole one: 0.646880 dollars for an eighth
# in us-central1, of which the parts would come to 0.559556. https://cloud.google.com/skus/sku-groups/g4-on-demand-vms
PART_PREMIUM = Decimal("1.1561")
EIGHTH = Decimal("0.125")

# Families whose whole price is billed as that of their GPUs: https://github.com/dstackai/gpuhunt/pull/176
BILLED_BY_GPU = frozenset({"a4"})

ESTIMATED = "estimated"
"""The basis of rates that are in no source: a row of catalog.sources()."""

# Their hosts are sold at other rates than their family's, which are told as a part of the GPU's; not for flex-start.
HOSTS_OF_THEIR_OWN = frozenset({"H100-MEGA", "H200"})

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
    flex_start: bool = False,
) -> Price:
    """The price of a VM of this shape with these GPUs, attached or brought, in a region.

    local_ssds: how many were chosen, besides those that the shape brings.
    flex_start: at its own rates where they are known; at those on demand, as an estimate, where they are not.
    """
    bill = _Bill()
    machine = _flex_start(bill, shape, region, gpu, gpu_count, local_ssds) if flex_start else None
    if machine is None:
        machine = _machine(bill, shape, region, spot, gpu, gpu_count, local_ssds)
    host, gpus, local_ssd = machine
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
        estimated=ESTIMATED in bill.bases,
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


Shares = tuple[Decimal, Decimal, Decimal]
"""(host, GPUs, local SSDs) of an hour."""


def _machine(
    bill: _Bill, shape: Shape, region: str, spot: bool, gpu: str | None, gpu_count: Decimal, local_ssds: int
) -> Shares:
    local_ssd = _local_ssd(bill, shape, region, spot, local_ssds)
    if gpu and 0 < gpu_count < 1:
        return *_part_of_gpu(bill, shape, region, spot, gpu, gpu_count), local_ssd
    gpus = gpu_count * _gpu(bill, gpu, region, spot) if gpu else Decimal(0)
    return _host(bill, shape, region, spot), gpus, local_ssd


def _flex_start(
    bill: _Bill, shape: Shape, region: str, gpu: str | None, gpu_count: Decimal, local_ssds: int
) -> Shares | None:
    """At the rates of flex-start; None, and an estimate, where one of them is not known in the region."""
    host = catalog.host_rates().get(f"{shape.family}-flex", {}).get(region)
    one_gpu = catalog.gpu_rates().get(f"{gpu}-flex", {}).get(region)
    ssd = catalog.disk_rates().get("local-ssd-flex", {}).get(region)
    ssd_gb = shape.local_ssd_gb + local_ssds * LOCAL_SSD_GB
    part_of_gpu = 0 < gpu_count < 1
    if not (host and host.vcpu and host.gb) or part_of_gpu or gpu in HOSTS_OF_THEIR_OWN:
        bill.bases.add(ESTIMATED)
        return None
    if (gpu and not (one_gpu and one_gpu.hour)) or (ssd_gb and ssd is None):
        bill.bases.add(ESTIMATED)
        return None
    hosts = bill.take(shape.billed_vcpus * host.vcpu + shape.billed_gb * host.gb, host.basis)
    gpus = bill.take(gpu_count * one_gpu.hour, one_gpu.basis) if one_gpu and one_gpu.hour else Decimal(0)
    ssds = bill.take(ssd_gb * ssd.gb_month, ssd.basis) / HOURS_A_MONTH if ssd_gb and ssd else Decimal(0)
    return hosts, gpus, ssds


def _host(bill: _Bill, shape: Shape, region: str, spot: bool) -> Decimal:
    whole = catalog.type_rates().get(shape.name)
    if whole is not None:
        return _hour_rate(bill, whole, region, spot)
    family, premium = shape.family, Decimal(1)
    if shape.custom and f"{family}-custom" in catalog.host_rates():
        family = f"{family}-custom"
    elif shape.custom and family != "e2":
        premium = bill.take(CUSTOM_PREMIUM, ESTIMATED)
    vcpu = premium * _host_rate(bill, family, region, lambda r: r.vcpu_spot if spot else r.vcpu)
    gb = premium * _host_rate(bill, family, region, lambda r: r.gb_spot if spot else r.gb)
    price = shape.billed_vcpus * vcpu + (shape.billed_gb - shape.extended_gb) * gb
    if shape.extended_gb:
        price += shape.extended_gb * _extended_rate(bill, shape.family, region, spot, gb)
    return price


def _extended_rate(bill: _Bill, family: str, region: str, spot: bool, gb: Decimal) -> Decimal:
    """Of a GB beyond the family's limit; where no source has it, in N1's proportion to a GB within."""
    if f"{family}-extended" in catalog.host_rates():
        return _host_rate(bill, f"{family}-extended", region, lambda r: r.gb_spot if spot else r.gb)
    return bill.take(EXTENDED_PREMIUM, ESTIMATED) * gb


def _part_of_gpu(
    bill: _Bill, shape: Shape, region: str, spot: bool, gpu: str, gpu_count: Decimal
) -> tuple[Decimal, Decimal]:
    """(host, GPU) of a machine with a part of a GPU, which is sold as a whole: then the host costs nothing."""
    eighths = catalog.gpu_rates().get(f"1/8 {gpu}")
    if eighths is not None:
        return Decimal(0), gpu_count / EIGHTH * _hour_rate(bill, eighths, region, spot)
    premium = bill.take(PART_PREMIUM, ESTIMATED)
    host = premium * _host(bill, shape, region, spot)
    return host, premium * gpu_count * _gpu(bill, gpu, region, spot)


def _host_rate(
    bill: _Bill, family: str, region: str, rate: Callable[[catalog.HostRates], Decimal | None]
) -> Decimal:
    table = catalog.host_rates()
    if family in table:
        here = table[family].get(region)
        by_region = {at: rate(rates) for at, rates in table[family].items()}
        return _rate(bill, by_region, region, here.basis if here else ESTIMATED)
    if family in BILLED_BY_GPU:
        return Decimal(0)
    # A family that no source has: as dear as the dearest, so that a budget is never passed unseen.
    return _rate(bill, {"": max(filter(None, (rate(r) for t in table.values() for r in t.values())))}, region)


def _gpu(bill: _Bill, gpu: str, region: str, spot: bool) -> Decimal:
    return _hour_rate(bill, catalog.gpu_rates()[gpu], region, spot)


def _hour_rate(bill: _Bill, rates: Mapping[str, catalog.HourRates], region: str, spot: bool) -> Decimal:
    here = rates.get(region)
    by_region = {at: (r.hour_spot if spot else r.hour) for at, r in rates.items()}
    return _rate(bill, by_region, region, here.basis if here else ESTIMATED)


def _local_ssd(bill: _Bill, shape: Shape, region: str, spot: bool, chosen: int) -> Decimal:
    gigabytes = shape.local_ssd_gb + chosen * LOCAL_SSD_GB
    if not gigabytes or shape.family in BILLED_BY_GPU:
        return Decimal(0)
    kind = f"local-ssd-{shape.family}"
    rates = catalog.disk_rates().get(kind) or catalog.disk_rates()["local-ssd"]
    by_region = {at: (r.gb_month_spot if spot else r.gb_month) for at, r in rates.items()}
    # G4's are of another make, whose price is in no source of ours.
    here = rates.get(region)
    basis = here.basis if here and shape.family != "g4" else ESTIMATED
    return gigabytes * _rate(bill, by_region, region, basis) / HOURS_A_MONTH


def _disk_gb_month(bill: _Bill, disk_type: str, region: str) -> Decimal:
    rates = catalog.disk_rates().get(disk_type)
    if rates is None:
        raise ConfigError(f"hydra.launcher.vm.disk_type: no price is known for '{disk_type}'.")
    here = rates.get(region)
    by_region = {at: r.gb_month for at, r in rates.items()}
    return _rate(bill, dict(by_region), region, here.basis if here else ESTIMATED)


def _rate(bill: _Bill, by_region: dict[str, Decimal | None], region: str, basis: str = ESTIMATED) -> Decimal:
    """The rate of a region; where none is published, the dearest of all regions, as an estimate."""
    here = by_region.get(region)
    if here is not None:
        return bill.take(here, basis)
    known: Iterable[Decimal] = [rate for rate in by_region.values() if rate is not None]
    return bill.take(max(known), ESTIMATED)


def rounded(amount: Decimal) -> Decimal:
    """To a millionth of a dollar."""
    return amount.quantize(MILLIONTH, rounding=ROUND_HALF_UP)
