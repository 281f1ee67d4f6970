"""Prices: docs/costs.md's worked examples to the cent, billing by the second, and what is only estimated."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from hydra_gce import catalog
from hydra_gce.machines import Candidate, VMRequest, cost, dollars, estimate, offers, resolve

COSTS = Path(__file__).parents[2] / "docs" / "costs.md"


def in_us_central1(**asked: object) -> Candidate:
    request = VMRequest(**{"regions": ["us-central1"], "disk_gb": None, "external_ip": False, **asked})  # type: ignore[arg-type]
    return resolve(request)[0]


# Price of the VM in us-central1 as Google lists it, without disk and address: docs/costs.md has the sources.
LIST_PRICES = [
    ({"machine_type": "e2-standard-4"}, "0.134023", "0.080424"),
    ({"machine_type": "n1-standard-4"}, "0.189999", "0.067010"),
    ({"machine_type": "e2-micro"}, "0.008376", "0.005027"),
    ({"gpu": "T4"}, "0.539999", "0.242010"),
    ({"gpu": "L4"}, "0.706832", "0.397336"),
    ({"gpu": "A100"}, "3.673385", "1.928020"),
    ({"gpu": "A100-80GB"}, "5.068798", "2.759546"),
    ({"gpu": "H100", "gpu_count": 8}, "88.489999", "50.609540"),
    ({"machine_type": "g4-standard-48"}, "4.499930", "1.799820"),
    ({"machine_type": "custom-4-16384"}, "0.203902", "0.071904"),
    ({"machine_type": "c4-standard-4-lssd", "disk_type": "hyperdisk-balanced"}, "0.279862", "0.167920"),
]


@pytest.mark.parametrize(("asked", "standard", "spot"), LIST_PRICES)
def test_prices_are_the_public_list_prices(asked: dict[str, object], standard: str, spot: str) -> None:
    assert abs(in_us_central1(**asked).price.vm - Decimal(standard)) <= Decimal("0.000002")
    assert abs(in_us_central1(**asked, provisioning="spot").price.vm - Decimal(spot)) <= Decimal("0.000002")


def test_the_worked_examples_of_the_documentation_are_right_to_the_cent() -> None:
    rows = re.findall(
        r"^\| `([^`]+)` \| (\w+) \| ([\d.]+) h \| \$([\d.]+) \|", COSTS.read_text(), re.MULTILINE
    )
    assert len(rows) >= 3
    for said, provisioning, hours, told in rows:
        asked = dict(part.split("=") for part in said.split())
        request = VMRequest(
            gpu=asked.get("gpu"),
            machine_type=asked.get("machine_type"),
            provisioning=provisioning,
            regions=["us-central1"],
            disk_gb=int(asked.get("disk_gb", 50)),
        )
        candidate = resolve(request)[0]
        least, most = estimate([candidate], Decimal(hours))
        assert dollars(least) == dollars(most) == Decimal(told), said
        assert dollars(cost(candidate, float(hours) * 3600)) == Decimal(told), said


def test_a_price_says_what_each_part_costs_and_when_it_was_so() -> None:
    price = resolve(VMRequest(gpu="T4", regions=["us-central1"]))[0].price
    assert price.host == Decimal("0.189999")
    assert price.gpu == Decimal("0.35")
    assert price.disk == Decimal("0.006849")  # 50 GB at 0.10 a month of 730 hours
    assert price.address == Decimal("0.005")
    assert price.hourly == price.host + price.gpu + price.disk + price.address
    assert price.vm == price.host + price.gpu
    assert price.currency == "USD"
    assert price.date == date(2026, 3, 15)
    assert "skypilot" in price.source
    assert not price.estimated


def test_a_vm_is_billed_by_the_second_and_a_minute_at_least() -> None:
    candidate = in_us_central1(machine_type="e2-standard-4")
    hourly = candidate.price.hourly
    assert cost(candidate, 0) == 0
    assert cost(candidate, 1) == cost(candidate, 60) == (hourly / 60).quantize(Decimal("0.000001"))
    assert cost(candidate, 3600) == hourly
    assert cost(candidate, 61) == cost(candidate, 60.2) > cost(candidate, 60)
    with pytest.raises(ValueError, match="-1"):
        cost(candidate, -1)


def test_a_job_that_was_preempted_costs_the_sum_of_its_attempts() -> None:
    first = in_us_central1(gpu="T4", provisioning="spot")
    second = resolve(
        VMRequest(gpu="T4", provisioning="spot", regions=["us-east1"], disk_gb=None, external_ip=False)
    )[0]
    together = cost(first, 754) + cost(second, 1333)
    # 0.067010 + 0.175 an hour in both regions: 0.242010 * 754 / 3600 + 0.242010 * 1333 / 3600
    assert dollars(cost(first, 754), Decimal("0.000001")) == Decimal("0.050688")
    assert dollars(together, Decimal("0.000001")) == Decimal("0.140299")
    assert dollars(together) == Decimal("0.14")


def test_an_estimate_spans_the_cheapest_and_the_dearest_candidate() -> None:
    candidates = resolve(VMRequest(gpu="T4", provisioning="spot_else_standard"))
    least, most = estimate(candidates, 2)
    assert least == 2 * min(c.price.hourly for c in candidates)
    assert most == 2 * max(c.price.hourly for c in candidates)
    with pytest.raises(ValueError, match="no candidates"):
        estimate([], 1)


def test_a_price_that_no_source_has_is_as_dear_as_the_dearest_and_says_so() -> None:
    unknown = next(row for row in offers("RTX-PRO-6000", gpu_count=1) if row.region == "asia-northeast1")
    assert unknown.price.estimated
    assert str(unknown.price).startswith("about $")
    known = [row for row in offers("RTX-PRO-6000", gpu_count=1) if not row.price.estimated]
    assert unknown.price.gpu == max(row.price.gpu for row in known)


def test_custom_types_cost_more_than_predefined_ones_except_in_e2() -> None:
    n2, n2_custom = (
        in_us_central1(machine_type="n2-standard-4"),
        in_us_central1(machine_type="n2-custom-4-16384"),
    )
    assert abs(n2_custom.price.vm - n2.price.vm * Decimal("1.05")) < Decimal("0.000002")
    assert n2_custom.price.estimated
    e2, e2_custom = (
        in_us_central1(machine_type="e2-standard-4"),
        in_us_central1(machine_type="e2-custom-4-16384"),
    )
    assert (e2_custom.price.vm, e2_custom.price.estimated) == (e2.price.vm, False)
    extended = in_us_central1(machine_type="custom-2-20480-ext")
    assert extended.price.estimated
    # 7 of the 20 GB are beyond 6.5 GB a vCPU: 0.00955 instead of 0.004446 each.
    plain = 2 * Decimal("0.03319155") + 20 * Decimal("0.004446")
    assert abs(extended.price.vm - plain - 7 * Decimal("0.005104")) < Decimal("0.0001")


def test_b200s_are_billed_by_the_gpu_alone() -> None:
    price = in_us_central1(gpu="B200", provisioning="spot").price
    assert price.vm == price.gpu == 8 * Decimal("4.0758")


def test_flex_start_is_never_told_dearer_than_standard_and_told_as_an_estimate() -> None:
    flexible = in_us_central1(gpu="L4", provisioning="flex_start").price
    assert flexible.hourly == in_us_central1(gpu="L4").price.hourly
    assert flexible.estimated


def test_the_catalogue_holds_together() -> None:
    regions = set(catalog.regions())
    for table in (catalog.host_rates(), catalog.gpu_rates(), catalog.disk_rates(), catalog.type_rates()):
        for name, by_region in table.items():
            assert set(by_region) <= regions, name
    for listed in catalog.machine_types().values():
        if listed.regions != ("us-central2",):
            assert set(listed.regions) <= regions, listed.name
    for gpu in catalog.gpus().values():
        assert gpu.accelerator in catalog.accelerator_regions(), gpu.name
        assert gpu.name in catalog.gpu_rates(), gpu.name
    for name, zones in catalog.gpu_zones().items():
        assert zones <= set(catalog.zones()), name
    for rates in catalog.gpu_rates().values():
        for rate in rates.values():
            assert rate.hour is None or rate.hour_spot is None or rate.hour_spot < rate.hour
            assert rate.basis in catalog.sources()
