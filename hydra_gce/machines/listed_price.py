"""What a VM that Compute Engine lists costs, from the catalogue: its type, place and model tell it.

Pure, as `hydra_gce.machines` is. What the catalogue does not know has no price, and is never taken to be free.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from hydra_gce import catalog
from hydra_gce.errors import ConfigError
from hydra_gce.machines import ProvisioningModel, shape_of
from hydra_gce.machines.prices import HOURS_A_MONTH, Price, price_of, rounded

IDLE_ADDRESS = Decimal("0.01")
"""US dollars an hour for a static address that nobody uses: https://cloud.google.com/vpc/network-pricing#ipaddress"""


def listed_price(
    machine_type: str,
    zone: str,
    model: str,
    accelerators: Sequence[tuple[str, int]] = (),
    *,
    disks: Iterable[tuple[str, int]] = (),
    local_ssd_gb: int = 0,
    external_ip: bool = False,
) -> Price | None:
    """The price of a VM that runs; None where the catalogue does not know its type, GPU or disk.

    model: the API's provisioning model. accelerators: the API's type and how many, brought ones too, as they are
    listed. disks: (type, GB) of its persistent disks. local_ssd_gb: all of its local SSDs.
    """
    try:
        shape = shape_of(machine_type)
    except ConfigError:
        return None
    gpu, count = shape.gpu, shape.gpu_count
    if accelerators and gpu is None:
        kind, attached = accelerators[0]
        gpu, count = _gpu_called(kind), Decimal(attached)
        if gpu is None:
            return None
    region = region_of(zone)
    price = price_of(
        replace(shape, local_ssd_gb=max(shape.local_ssd_gb, local_ssd_gb)),
        region,
        spot=model == ProvisioningModel.SPOT.value,
        gpu=gpu,
        gpu_count=count,
        external_ip=external_ip,
    )
    hourly = [disk_hourly(kind, gb, region) for kind, gb in disks]
    if any(one is None for one in hourly):
        return None
    disk = sum((one for one in hourly if one is not None), Decimal(0))
    # Flex-start is sold below the price on demand, at prices that are in no source of ours.
    return replace(price, disk=disk, estimated=price.estimated or model == ProvisioningModel.FLEX_START.value)


def disk_hourly(disk_type: str, gb: int, region: str) -> Decimal | None:
    """US dollars an hour of a persistent disk; None where the catalogue has no such type."""
    rates = catalog.disk_rates().get(disk_type)
    if rates is None:
        return None
    here = rates.get(region)
    month = here.gb_month if here else max(rate.gb_month for rate in rates.values())
    return rounded(gb * month / HOURS_A_MONTH)


def region_of(zone: str) -> str:
    return catalog.zones().get(zone) or zone.rpartition("-")[0]


def gpu_said(accelerator: str) -> str:
    """The name that people use for the API's ``nvidia-tesla-t4``."""
    return _gpu_called(accelerator) or accelerator


def _gpu_called(accelerator: str) -> str | None:
    plain = accelerator.removesuffix("-vws")  # with a workstation's licence it is the same GPU
    for gpu in catalog.gpus().values():
        if gpu.accelerator == plain:
            return gpu.name
    return None
