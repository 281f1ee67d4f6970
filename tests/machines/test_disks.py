"""Local SSDs: how many a machine takes, and what they cost."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hydra_gce import catalog
from hydra_gce.errors import ConfigError
from hydra_gce.machines import VMRequest, resolve, shape_of
from hydra_gce.machines.disks import local_ssd_choices

PREFIX = "hydra.launcher.vm.local_ssds: "


@pytest.mark.parametrize(
    ("machine_type", "counts"),
    [
        ("n1-standard-1", (1, 2, 3, 4, 5, 6, 7, 8, 16, 24)),
        ("custom-6-20480", (1, 2, 3, 4, 5, 6, 7, 8, 16, 24)),
        ("n2-standard-2", (1, 2, 4, 8, 16, 24)),
        ("n2-custom-12-20480", (2, 4, 8, 16, 24)),
        ("n2-standard-32", (4, 8, 16, 24)),
        ("n2-standard-80", (8, 16, 24)),
        ("n2-standard-128", (16, 24)),
        ("n2d-standard-48", (2, 4, 8, 16, 24)),
        ("n2d-standard-224", (8, 16, 24)),
        ("c2-standard-30", (4, 8)),
        ("c2d-highcpu-112", (8,)),
        ("a2-highgpu-1g", (1, 2, 4, 8)),
        ("a2-megagpu-16g", (8,)),
        ("g2-standard-32", (1,)),
        ("g2-standard-96", (8,)),
        ("g4-standard-48", (4,)),
        ("a2-ultragpu-1g", ()),
        ("c3-standard-8", ()),
        ("c3-standard-8-lssd", ()),
        ("e2-standard-4", ()),
        ("f1-micro", ()),
        ("t2a-standard-4", ()),
    ],
)
def test_a_machine_takes_the_numbers_that_google_lists(machine_type: str, counts: tuple[int, ...]) -> None:
    assert local_ssd_choices(shape_of(machine_type)) == counts


def test_every_number_that_is_offered_for_any_machine_type_is_taken() -> None:
    for name in catalog.machine_types():
        if name.startswith(("ct", "tpu", "a4x")):
            continue
        for count in local_ssd_choices(shape_of(name)):
            assert resolve(VMRequest(machine_type=name, local_ssds=count))[0].local_ssds == count


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            VMRequest(machine_type="n2-standard-16", local_ssds=3),
            "n2-standard-16 takes 2, 4, 8, 16 or 24 of them, not 3. The nearest is vm.local_ssds=4.",
        ),
        (
            VMRequest(gpu="T4", local_ssds=24),
            "n1-standard-4 + T4 takes 1, 2, 3, 4, 5, 6, 7, 8 or 16 of them, not 24. The nearest is vm.local_ssds=16.",
        ),
        (
            VMRequest(machine_type="c3-standard-8", local_ssds=2),
            "c3-standard-8 takes no local SSDs. c3-standard-8-lssd brings its own. Leave vm.local_ssds out otherwise.",
        ),
        (
            VMRequest(machine_type="e2-standard-4", local_ssds=1),
            "e2-standard-4 takes no local SSDs. n2-standard-4 does. Leave vm.local_ssds out otherwise.",
        ),
        (
            VMRequest(machine_type="c3-standard-8-lssd", local_ssds=2),
            "c3-standard-8-lssd brings local SSDs of its own, 750 GB in all, and takes no more. Leave vm.local_ssds "
            "out.",
        ),
        (
            VMRequest(gpu="H100", provisioning="spot", local_ssds=1),
            "a3-highgpu-1g brings local SSDs of its own, 750 GB in all, and takes no more. Leave vm.local_ssds out.",
        ),
        (VMRequest(machine_type="g2-standard-4", local_ssds=-1), "-1 local SSDs cannot be had. Say 0, 1."),
    ],
)
def test_another_number_is_refused_with_the_nearest(request_: VMRequest, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve(request_)
    assert str(refused.value) == PREFIX + message


@pytest.mark.parametrize(("provisioning", "a_month"), [("standard", "0.08"), ("spot", None)])
def test_local_ssds_are_in_the_price_by_the_gigabyte(provisioning: str, a_month: str | None) -> None:
    def price(count: int) -> Decimal:
        request = VMRequest(
            machine_type="n2-standard-4", local_ssds=count, regions=["us-central1"], provisioning=provisioning
        )
        return resolve(request)[0].price.local_ssd

    rates = catalog.disk_rates()["local-ssd"]["us-central1"]
    rate = rates.gb_month if provisioning == "standard" else rates.gb_month_spot
    assert rate is not None
    assert a_month is None or rate == Decimal(a_month)
    assert price(0) == 0
    assert price(2) == (2 * 375 * rate / 730).quantize(Decimal("0.000001"))
