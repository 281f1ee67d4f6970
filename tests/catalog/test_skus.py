"""From a SKU of Google's price list to the rate that it is, and none from its relatives."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hydra_gce.catalog.skus import Item, item_of, rates_of
from tests.catalog.price_list import HERE, RELATIVES, sku


@pytest.mark.parametrize(
    ("description", "item"),
    [
        ("N1 Predefined Instance Core running in Americas", Item("vcpu", "n1", False)),
        ("Spot Preemptible N1 Predefined Instance Ram running in Berlin", Item("gb", "n1", True)),
        ("Custom Instance Core running in Los Angeles", Item("vcpu", "n1-custom", False)),
        ("Custom Extended Instance Ram running in Los Angeles", Item("gb", "n1-extended", False)),
        ("N2 Custom Instance Ram running in Singapore", Item("gb", "n2-custom", False)),
        ("N2D AMD Custom Instance Core running in Singapore", Item("vcpu", "n2d-custom", False)),
        ("N2 Custom Extended Instance Ram running in Singapore", Item("gb", "n2-extended", False)),
        ("Spot Preemptible E2 Instance Core running in Paris", Item("vcpu", "e2", True)),
        ("Compute optimized Core running in Americas", Item("vcpu", "c2", False)),
        ("Compute optimized Instance Ram running in Doha", Item("gb", "c2", False)),
        ("N2D AMD Instance Core running in Americas", Item("vcpu", "n2d", False)),
        ("C4A Arm Instance Core running in Northern Virginia", Item("vcpu", "c4a", False)),
        ("H4D Instance Core running in Iowa", Item("vcpu", "h4d", False)),
        ("Memory-optimized Instance Core running in Americas", Item("vcpu", "m1", False)),
        ("M3 Memory-optimized Instance Ram running in Americas", Item("gb", "m3", False)),
        ("A3Plus Instance Core running in Americas", Item("vcpu", "a3-mega", False)),
        ("Nvidia Tesla T4 GPU running in Americas", Item("gpu", "T4", False)),
        ("Nvidia Tesla T4 GPU attached to Spot Preemptible VMs running in Warsaw", Item("gpu", "T4", True)),
        ("Nvidia Tesla A100 80GB GPU running in Iowa", Item("gpu", "A100-80GB", False)),
        ("Nvidia L4 GPU attached to Spot Preemptible VMs running in Americas", Item("gpu", "L4", True)),
        ("Nvidia H100 80GB Mega GPU running in Tokyo", Item("gpu", "H100-MEGA", False)),
        ("Nvidia H100 80GB Plus GPU running in Americas", Item("gpu", "H100-MEGA", False)),
        ("H200 141GB GPU running in Netherlands", Item("gpu", "H200", False)),
        (
            "RTX 6000 96GB attached to Spot Preemptible VMs running in Belgium",
            Item("gpu", "RTX-PRO-6000", True),
        ),
        ("1/8 vGPU no lssd running in Iowa", Item("gpu", "1/8 RTX-PRO-6000", False)),
        ("Spot Preemptible A4 Nvidia B200 (1 gpu slice) running in Americas", Item("gpu", "B200", True)),
        ("DWS Defined Duration A2 Core running in Americas", Item("vcpu", "a2-flex", False)),
        ("DWS Defined Duration A3 Ram running in Americas", Item("gb", "a3-flex", False)),
        ("DWS Flex Start H4D Instance Core running in Iowa", Item("vcpu", "h4d-flex", False)),
        (
            "Nvidia Tesla A100 GPU attached to DWS Defined Duration VMs running in Iowa",
            Item("gpu", "A100-flex", False),
        ),
        (
            "DWS Defined Duration SSD backed Local Storage running in Iowa",
            Item("disk", "local-ssd-flex", False),
        ),
        ("Storage PD Capacity", Item("disk", "pd-standard", False)),
        ("Balanced PD Capacity in Japan", Item("disk", "pd-balanced", False)),
        ("SSD backed PD Capacity in Netherlands", Item("disk", "pd-ssd", False)),
        ("Hyperdisk Balanced Capacity in Tokyo", Item("disk", "hyperdisk-balanced", False)),
        (
            "SSD backed Local Storage attached to Spot Preemptible VMs in Tokyo",
            Item("disk", "local-ssd", True),
        ),
        ("C4D Instance Local SSD running in Americas", Item("disk", "local-ssd-c4d", False)),
        ("Micro Instance with burstable CPU running in Americas", Item("type", "f1-micro", False)),
        ("Small Instance with 1 VCPU running in Americas", Item("type", "g1-small", False)),
        ("External IP Charge on a Standard VM", Item("address", "", False)),
    ],
)
def test_a_description_names_what_is_sold(description: str, item: Item) -> None:
    usage = "Preemptible" if item.spot and "B200" not in description else "OnDemand"
    assert item_of(sku(description, "1", HERE, usage=usage)) == item


def test_relatives_are_not_taken_for_it() -> None:
    assert rates_of(RELATIVES) == {}


def test_a_price_is_dollars_and_billionths() -> None:
    rates = rates_of([sku("Nvidia H100 80GB GPU running in Americas", "9.796548123", HERE, "us-east4")])
    price = Decimal("9.796548123")
    assert rates == {Item("gpu", "H100", False): {"us-central1": price, "us-east4": price}}


def test_what_is_free_at_first_costs_what_the_last_tier_says() -> None:
    disk = sku("Storage PD Capacity", "0.04", HERE, unit="GiBy.mo", free=30)
    assert rates_of([disk]) == {Item("disk", "pd-standard", False): {HERE: Decimal("0.04")}}


def test_of_two_prices_for_the_same_the_dearer_counts() -> None:
    twice = [sku("N2 Instance Core running in Americas", price, HERE) for price in ("0.03", "0.05", "0.04")]
    assert rates_of(twice)[Item("vcpu", "n2", False)] == {HERE: Decimal("0.05")}


@pytest.mark.parametrize("damage", ["pricingInfo", "category", "description", "serviceRegions"])
def test_a_sku_in_an_unknown_form_is_left_out(damage: str) -> None:
    whole = sku("N2 Instance Core running in Americas", "0.03", HERE)
    del whole[damage]
    assert not any(rates_of([whole]).values())


def test_other_currencies_are_not_dollars() -> None:
    foreign = sku("N2 Instance Core running in Americas", "0.03", HERE)
    foreign["pricingInfo"][0]["pricingExpression"]["tieredRates"][0]["unitPrice"]["currencyCode"] = "EUR"
    assert rates_of([foreign]) == {}
