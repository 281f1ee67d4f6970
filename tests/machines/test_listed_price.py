"""A VM that is listed costs what the same VM was offered for."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from hydra_gce.machines import VMRequest, resolve
from hydra_gce.machines.listed_price import disk_hourly, listed_price


@pytest.mark.parametrize(
    "wanted",
    [
        {"machine_type": "e2-standard-2"},
        {"machine_type": "n2-custom-4-8192"},
        {"gpu": "T4", "gpu_count": 2},
        {"gpu": "T4", "provisioning": "spot"},
        {"gpu": "L4"},
        {"gpu": "A100", "provisioning": "spot"},
        {"gpu": "L4", "provisioning": "flex_start"},
        {"machine_type": "e2-micro", "external_ip": False, "disk_gb": 10},
    ],
    ids=str,
)
def test_a_listed_vm_has_the_price_of_its_candidate(wanted: dict[str, Any]) -> None:
    request = VMRequest(**wanted)
    place = resolve(request)[0]
    attached = place.accelerator
    price = listed_price(
        place.machine_type,
        place.zone,
        place.model.value,
        [(attached.type, int(place.gpu_count))] if attached else [],
        disks=[(place.disk_type, request.disk_gb or 0)],
        external_ip=request.external_ip,
    )
    assert price is not None
    assert (price.hourly, price.estimated) == (place.price.hourly, place.price.estimated)


def test_gpus_that_the_type_brings_are_listed_too_and_billed_once() -> None:
    with_list = listed_price("a2-highgpu-1g", "us-central1-a", "STANDARD", [("nvidia-tesla-a100", 1)])
    without = listed_price("a2-highgpu-1g", "us-central1-a", "STANDARD")
    assert with_list == without


def test_attached_local_ssds_count_and_brought_ones_do_not_count_twice() -> None:
    bare = listed_price("n2-standard-4", "us-central1-a", "STANDARD")
    two = listed_price("n2-standard-4", "us-central1-a", "STANDARD", local_ssd_gb=750)
    four = listed_price("n2-standard-4", "us-central1-a", "STANDARD", local_ssd_gb=1500)
    assert bare is not None and two is not None and four is not None
    assert bare.local_ssd == 0 < two.local_ssd
    assert abs(four.local_ssd - 2 * two.local_ssd) <= Decimal("0.000001")
    brought = [
        listed_price("c3-standard-4-lssd", "us-central1-a", "STANDARD", local_ssd_gb=gb) for gb in (0, 375)
    ]
    assert brought[0] == brought[1]


@pytest.mark.parametrize(
    ("machine_type", "accelerators", "disks"),
    [
        ("z99-standard-4", [], []),
        ("n1-standard-4", [("nvidia-unheard-of", 1)], []),
        ("n1-standard-4", [], [("disk-of-the-future", 10)]),
    ],
)
def test_what_the_catalogue_does_not_know_is_not_free(
    machine_type: str, accelerators: list[tuple[str, int]], disks: list[tuple[str, int]]
) -> None:
    assert listed_price(machine_type, "us-central1-a", "STANDARD", accelerators, disks=disks) is None


def test_a_zone_that_is_newer_than_the_catalogue_is_as_dear_as_the_dearest() -> None:
    newer = disk_hourly("pd-balanced", 100, "mars-north1")
    known = disk_hourly("pd-balanced", 100, "us-central1")
    assert newer is not None and known is not None
    assert newer > known
