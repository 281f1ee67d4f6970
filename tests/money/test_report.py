"""What a ledger says to people, to programs, and to MLflow."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from hydra_gce.machines import ProvisioningModel
from hydra_gce.money.ledger import Ledger
from hydra_gce.money.report import as_json, how, table, tags, total
from tests.money.places import place

START = 1_790_000_000.0
NOW = START + 1150


@pytest.fixture
def ledger() -> Ledger:
    """Job 0 was preempted and shares its second VM with job 1, which runs."""
    standard = place("0.72", "us-east1-c", ProvisioningModel.STANDARD, estimated=True)
    ledger = Ledger()
    ledger.began("hg-calm-otter-0", 0, 1, place("0.36"), START)
    ledger.ended("hg-calm-otter-0", START + 100)
    ledger.began("hg-calm-otter-0-a2", 0, 2, standard, START + 150)
    ledger.works_for("hg-calm-otter-0-a2", 1, START + 350)
    return ledger


def test_the_table_has_a_row_for_each_jobs_part_in_each_vm(ledger: Ledger) -> None:
    assert list(table(ledger, NOW)) == [
        "job  attempt  VM                  zone           machine             how        time  price/h     cost",
        "  0        1  hg-calm-otter-0     us-central1-a  n1-standard-4 + T4  spot       1:40   $0.360   $0.010",
        "  0        2  hg-calm-otter-0-a2  us-east1-c     n1-standard-4 + T4  standard   3:20  ~$0.720  ~$0.040",
        "  1        1  hg-calm-otter-0-a2  us-east1-c     n1-standard-4 + T4  standard  13:20  ~$0.720  ~$0.160  runs",
    ]


def test_the_sum_says_what_still_runs_and_at_what_price(ledger: Ledger) -> None:
    assert (
        total(ledger, NOW) == "2 jobs · 2 VMs · 18:20 of VM time · about $0.210 so far · 1 VM runs, $0.720/h"
    )
    ledger.ended("hg-calm-otter-0-a2", NOW)
    assert total(ledger, NOW + 500) == "2 jobs · 2 VMs · 18:20 of VM time · about $0.210 in all"


def test_programs_get_the_same_as_numbers(ledger: Ledger) -> None:
    content = json.loads(json.dumps(as_json(ledger, NOW)))
    assert (content["cost_usd"], content["currency"], content["as_of"]) == (0.21, "USD", NOW)
    assert (content["running"], content["running_usd_per_hour"]) == (["hg-calm-otter-0-a2"], 0.72)
    assert content["jobs"] == [
        {"job": 0, "cost_usd": 0.05, "vm_seconds": 300},
        {"job": 1, "cost_usd": 0.16, "vm_seconds": 800},
    ]
    assert content["attempts"][2] == {
        "job": 1,
        "attempt": 1,
        "vm": "hg-calm-otter-0-a2",
        "zone": "us-east1-c",
        "machine": "n1-standard-4 + T4",
        "provisioning_model": "STANDARD",
        "start": START + 350,
        "end": None,
        "seconds": 800,
        "usd_per_hour": 0.72,
        "cost_usd": 0.16,
        "estimated": True,
    }


def test_mlflow_is_told_what_each_attempt_cost(ledger: Ledger) -> None:
    told = tags(ledger, 0, NOW)
    assert (told["cost_usd"], told["vm_seconds"], told["attempts"]) == ("0.050000", "300", "2")
    assert json.loads(told["attempt_costs"]) == [
        {
            "vm": "hg-calm-otter-0",
            "zone": "us-central1-a",
            "machine": "n1-standard-4 + T4",
            "how": "spot",
            "seconds": 100,
            "usd": 0.01,
        },
        {
            "vm": "hg-calm-otter-0-a2",
            "zone": "us-east1-c",
            "machine": "n1-standard-4 + T4",
            "how": "standard",
            "seconds": 200,
            "usd": 0.04,
        },
    ]


def test_a_job_that_never_had_a_vm_has_tags_all_the_same() -> None:
    assert tags(Ledger(), 3, NOW) == {
        "cost_usd": "0.000000",
        "vm_seconds": "0",
        "attempts": "0",
        "attempt_costs": "[]",
    }


def test_no_tag_is_longer_than_mlflow_takes() -> None:
    from mlflow.utils.validation import MAX_TAG_VAL_LENGTH

    ledger = Ledger()
    for number in range(200):
        name = f"hg-magnificent-salamander-1000-a{number}"
        ledger.began(name, 0, number, place("0.36", "northamerica-northeast2-a"), START + 100 * number)
        ledger.ended(name, START + 100 * number + 90)
    told = tags(ledger, 0, START + 100_000)
    assert len(told["attempt_costs"]) <= MAX_TAG_VAL_LENGTH
    assert json.loads(told["attempt_costs"])[-1]["vm"].endswith("-a199")
    assert (told["attempts"], Decimal(told["cost_usd"])) == ("200", 200 * Decimal("0.009"))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("STANDARD", "standard"),
        ("SPOT", "spot"),
        ("FLEX_START", "flex-start"),
        ("RESERVATION_BOUND", "reserved"),
    ],
)
def test_a_person_reads_how_a_vm_was_had(model: str, said: str) -> None:
    assert how(ProvisioningModel(model)) == said
