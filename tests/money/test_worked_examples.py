"""The worked examples of docs/costs.md: the estimate to the cent, and what a job cost equal to hand calculation.

Public list prices of July 2026 (T4: March 2026); docs/costs.md names their sources.
"""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from hydra_gce.machines import Candidate, ProvisioningModel, VMRequest, resolve
from hydra_gce.money.budget import Budget
from hydra_gce.money.estimate import before
from hydra_gce.money.ledger import Ledger
from hydra_gce.money.report import table, total
from hydra_gce.settings import Settings

COSTS = (Path(__file__).parents[2] / "docs" / "costs.md").read_text(encoding="utf-8")
START = 1_790_000_000.0
LATER = START + 100_000


def asked(zone: str, model: str = "spot", **vm: str) -> Candidate:
    return resolve(VMRequest(provisioning=model, zones=[zone], **vm))[0]  # type: ignore[arg-type]


def in_the_documentation(*said: str) -> None:
    for one in said:
        assert one in COSTS.replace("\N{MULTIPLICATION SIGN}", "x")


def test_the_estimate_of_each_worked_example_is_right_to_the_cent() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (\w+) \| ([\d.]+) h \| (\$[\d.]+) \|", COSTS, re.MULTILINE)
    assert len(rows) >= 3
    for vm, provisioning, hours, told in rows:
        parts = dict(part.split("=") for part in vm.split())
        request = VMRequest(
            gpu=parts.get("gpu"),
            machine_type=parts.get("machine_type"),
            provisioning=provisioning,
            regions=["us-central1"],
            disk_gb=int(parts.get("disk_gb", 50)),
        )
        candidates = resolve(request)
        assert before(candidates, 1, Settings(expected_hours=float(hours))) == f"{told} (us-central1)"
        ledger = Ledger()
        ledger.began("hg-0", 0, 1, candidates[0], START)
        ledger.ended("hg-0", START + float(hours) * 3600)
        assert f"${ledger.spent(LATER):.2f}" == told


def test_a_job_that_was_preempted_and_restarted_in_another_zone_equals_hand_calculation() -> None:
    ledger = Ledger()
    ledger.began("hg-0", 0, 1, asked("us-central1-a", gpu="T4"), START)
    ledger.works_for("hg-0", 0, START + 70)
    ledger.ended("hg-0", START + 12 * 60 + 34)
    ledger.began("hg-0-a2", 0, 2, asked("europe-west4-a", gpu="T4"), START + 900)
    ledger.works_for("hg-0-a2", 0, START + 980)
    ledger.ended("hg-0-a2", START + 900 + 22 * 60 + 13)
    # 0.067010 + 0.175000 + 0.006849 + 0.005 = 0.253859 an hour; 191.409686 / 3600 = 0.05316935
    # 0.121530 + 0.175000 + 0.007534 + 0.005 = 0.309064 an hour; 411.982312 / 3600 = 0.11443953
    first, second = ledger.attempts(0, LATER)
    assert (first.hourly, first.dollars) == (Decimal("0.253859"), Decimal("0.053169"))
    assert (second.hourly, second.dollars) == (Decimal("0.309064"), Decimal("0.114440"))
    assert ledger.bill(0, LATER) == (Decimal("0.167609"), 2087)
    assert ledger.spent(LATER) == Decimal("0.167609")
    in_the_documentation(
        "0.253859 x 754 / 3600 = $0.053169",
        "0.309064 x 1333 / 3600 = $0.114440",
        "0.053169 + 0.114440 = $0.167609",
    )


def test_a_job_that_went_from_spot_to_standard_equals_hand_calculation() -> None:
    places = resolve(VMRequest(gpu="L4", provisioning="spot_else_standard", zones=["us-central1-a"]))
    assert [place.model for place in places] == [ProvisioningModel.SPOT, ProvisioningModel.STANDARD]
    ledger = Ledger()
    ledger.began("hg-0", 0, 1, places[0], START)
    ledger.ended("hg-0", START + 2730)
    ledger.began("hg-0-a2", 0, 2, places[1], START + 3000)
    ledger.ended("hg-0-a2", START + 3000 + 4325.4)
    # 0.082536 + 0.314800 + 0.006849 + 0.005 = 0.409185 an hour; 1117.07505 / 3600 = 0.31029863
    # 0.146792 + 0.560040 + 0.006849 + 0.005 = 0.718681 an hour; 3109.014006 / 3600 = 0.86361500
    assert [one.dollars for one in ledger.attempts(0, LATER)] == [Decimal("0.310299"), Decimal("0.863615")]
    dollars, seconds = ledger.bill(0, LATER)
    assert (dollars, round(seconds, 3)) == (Decimal("1.173914"), 7055.4)
    in_the_documentation(
        "0.409185 x 2730 / 3600 = $0.310299",
        "0.718681 x 4326 / 3600 = $0.863615",
        "0.310299 + 0.863615 = $1.173914",
    )


def test_two_jobs_on_one_vm_equal_hand_calculation() -> None:
    ledger = Ledger()
    ledger.began("hg-0", 0, 1, asked("us-central1-a", "standard", machine_type="e2-standard-4"), START)
    ledger.works_for("hg-0", 0, START + 90)
    ledger.works_for("hg-0", 1, START + 1000)
    ledger.ended("hg-0", START + 1800)
    assert ledger.spent(LATER) == Decimal("0.072936")
    assert ledger.bill(0, LATER) == (Decimal("0.040520"), 1000)
    assert ledger.bill(1, LATER) == (Decimal("0.032416"), 800)
    in_the_documentation(
        "0.145872 x 1800 / 3600 = $0.072936",
        "0.072936 x 1000 / 1800 = $0.040520",
        "0.072936 x 800 / 1800 = $0.032416",
    )


def test_ten_seconds_are_billed_as_a_minute() -> None:
    ledger = Ledger()
    ledger.began("hg-0", 0, 1, asked("us-central1-a", "standard", machine_type="e2-standard-4"), START)
    ledger.ended("hg-0", START + 10)
    assert ledger.spent(LATER) == Decimal("0.002431")
    in_the_documentation("0.145872 x 60 / 3600 = $0.002431")


def test_the_documentation_shows_what_is_printed() -> None:
    ledger = Ledger()
    ledger.began("hg-calm-otter-0", 0, 1, asked("us-central1-a", gpu="T4"), START)
    ledger.ended("hg-calm-otter-0", START + 754)
    ledger.began("hg-calm-otter-0-a2", 0, 2, asked("europe-west4-a", gpu="T4"), START + 900)
    ledger.ended("hg-calm-otter-0-a2", START + 900 + 1333)
    in_the_documentation("\n".join([*table(ledger, LATER), total(ledger, LATER)]))


def test_the_documentation_shows_the_estimates_and_the_refusal_that_are_said() -> None:
    t4 = resolve(VMRequest(gpu="T4", provisioning="spot"))
    for settings in (Settings(expected_hours=0.3), Settings(), Settings(budget_usd=10.0)):
        in_the_documentation(f"`{before(t4, 3, settings)}`")
    budget = Budget.of(Settings(budget_usd=10.0))
    assert budget is not None
    with pytest.raises(Exception, match="no VM could be started") as refusal:
        budget.check(resolve(VMRequest(gpu="A100")))
    assert " ".join(str(refusal.value).split()) in " ".join(COSTS.split())
