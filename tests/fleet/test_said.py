"""Each decision is one line; when no place is left, all that was tried stands in one table, with what would help."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from hydra_gce.fleet import said
from hydra_gce.machines import Candidate, VMRequest, resolve
from hydra_gce.refusals import Reach, Refusal, judge
from tests.compute_stub import Failed
from tests.fleet.lab import CANDIDATES, STOCKOUT, Lab, all_but

IOWA, IOWA_B, BELGIUM = CANDIDATES[0], CANDIDATES[1], CANDIDATES[2]
SPOT, STANDARD = resolve(VMRequest(gpu="T4", provisioning="spot_else_standard", zones=["us-central1-a"]))
FULL = judge("ZONE_RESOURCE_POOL_EXHAUSTED", "")
API_OFF = judge("accessNotConfigured", "Access Not Configured.", 403)
NO_T4 = judge("QUOTA_EXCEEDED", "Quota 'NVIDIA_T4_GPUS' exceeded.  Limit: 0.0 in region us-central1.")


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (IOWA, "e2-standard-2"),
        (STANDARD, "T4"),
        (SPOT, "spot T4"),
        (resolve(VMRequest(gpu="A100", provisioning="flex_start"))[0], "flex_start A100"),
    ],
)
def test_what_was_asked_for_is_named_as_a_person_would(candidate: Candidate, words: str) -> None:
    assert said.thing(candidate) == words


def test_the_next_place_at_the_same_price() -> None:
    line = said.decision(IOWA, FULL, IOWA_B)
    assert line == "us-central1-a has no e2-standard-2 left; trying us-central1-b (same price)"


def test_the_next_place_at_another_price() -> None:
    dear = replace(BELGIUM, price=replace(IOWA.price, host=IOWA.price.host + Decimal("0.1")))
    line = said.decision(IOWA, FULL, dear)
    assert line.endswith(f"; trying europe-west1-b ({dear.price} instead of {IOWA.price})")


def test_the_next_place_as_another_model() -> None:
    line = said.decision(SPOT, FULL, STANDARD)
    assert line.startswith("us-central1-a has no spot T4 left; trying standard in us-central1-a (")


def test_where_the_whole_project_is_refused_no_other_place_would_help() -> None:
    line = said.decision(IOWA, API_OFF, None)
    assert line == "the project has the Compute Engine API switched off; no other place would help"
    text = said.table(0, [(IOWA, API_OFF)], [], 0, started=False)
    assert text.splitlines()[2:4] == ["What would help:", "  - enable the Compute Engine API:"]
    assert not any(word in text for word in ("vm.provisioning", "offers", "wait"))


def test_time_helps_where_a_quota_of_the_project_is_in_use() -> None:
    used_up = judge("QUOTA_EXCEEDED", "Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: 1.0 globally.")
    text = said.table(0, [(STANDARD, used_up)], [], 0, started=False)
    assert "hydra.launcher.wait_for_room_minutes" in text
    assert "vm.provisioning" not in text


def test_no_next_place() -> None:
    assert said.decision(IOWA, FULL, None).endswith("; no other place is left for now")


@pytest.mark.parametrize(
    ("reach", "place"),
    [(Reach.ZONE, "us-central1-a"), (Reach.REGION, "us-central1"), (Reach.EVERYWHERE, "the project")],
)
def test_a_fact_is_said_of_as_much_as_it_is_true_of(reach: Reach, place: str) -> None:
    assert said.fact(IOWA, Refusal("X", "no", reach, short="has no {what} left")) == (
        f"{place} has no e2-standard-2 left"
    )


def test_the_line_names_the_place_that_is_asked_next(lab: Lab) -> None:
    quota = Failed("QUOTA_EXCEEDED", "Quota 'CPUS' exceeded.  Limit: 24.0 in region us-central1.")
    lab.compute.decide = all_but("us-central1-a", "us-central1-b", outcome=quota)
    lab.place(0)
    (line,) = lab.news
    assert line.startswith("us-central1: quota CPUS is used up (limit 24); trying europe-west1-b (")


def test_each_place_is_told_once_and_the_last_has_no_next(lab: Lab) -> None:
    lab.compute.decide = lambda insert: STOCKOUT
    refused = lab.refuse(0)
    assert [line.partition(" ")[0] for line in lab.news] == [candidate.zone for candidate in CANDIDATES]
    assert lab.news[0] == "us-central1-a has no e2-standard-2 left; trying us-central1-b (same price)"
    assert lab.news[-1].endswith("no other place is left for now")
    assert str(refused) == "4 zones asked"


def test_one_zone_is_one_zone() -> None:
    assert said.shortly([(IOWA, FULL)], []) == "1 zone asked"
    assert said.shortly([(IOWA, FULL)], [(BELGIUM, _quota())]) == "1 zone asked, 1 without quota"


def test_where_nothing_was_asked_the_quota_itself_is_said() -> None:
    assert said.shortly([], [(IOWA, _quota())]) == "us-central1: quota CPUS is 1, 2 needed"


def test_the_table_has_places_with_the_same_refusal_in_one_row() -> None:
    text = said.table(3, [(IOWA, FULL), (BELGIUM, FULL)], [(IOWA_B, _quota())], 12.4, started=False)
    assert text.splitlines()[:3] == [
        "No e2-standard-2 could be had for job 3 in 12 min: 2 zones asked, 1 without quota.",
        "  us-central1-a, europe-west1-b  has no e2-standard-2 left",
        "  us-central1                    quota CPUS is 1, 2 needed: not asked",
    ]
    assert text.splitlines()[3] == "What would help:"
    assert text.splitlines()[-1] == "Nothing was started; nothing is charged."
    assert "  - ask for more CPUS" in text
    assert text.count("allow more places in hydra.launcher.vm.regions") == 1
    assert "hydra-gce offers --machine-type e2-standard-2" in text
    assert "hydra.launcher.wait_for_room_minutes" in text


def test_zones_of_one_region_stand_together() -> None:
    text = said.table(0, [(IOWA, FULL), (BELGIUM, FULL), (IOWA_B, FULL)], [], 0, False)
    assert "  us-central1-a,b, europe-west1-b  has no e2-standard-2 left" in text.splitlines()


def test_many_regions_are_counted_and_the_table_keeps_within_100_columns() -> None:
    places = {one.region: one for one in resolve(VMRequest())}
    text = said.table(0, [(one, FULL) for one in places.values()], [], 0, False)
    assert f" and {len(places) - 7} more" in text
    assert text.count("has no e2-standard-4 left") == 1
    assert max(map(len, text.splitlines())) <= 100


def test_a_quota_that_is_short_in_several_regions_is_asked_for_once() -> None:
    text = said.table(0, [], [(IOWA, _quota()), (BELGIUM, _quota("europe-west1"))], 0, False)
    assert "  us-central1, europe-west1  quota CPUS is 1, 2 needed: not asked" in text
    assert text.count("ask for more CPUS") == text.count("ask for more CPUS in us-central1") == 1


def test_a_table_of_one_zone_without_waiting() -> None:
    text = said.table(0, [(IOWA, FULL)], [], 0.2, started=False)
    assert text.startswith("No e2-standard-2 could be had for job 0: 1 zone asked.\n")


def test_what_has_run_is_not_said_to_be_free() -> None:
    text = said.table(0, [(IOWA, FULL)], [], 0, started=True)
    assert text.splitlines()[-1] == "What has run so far is paid for, and safe."


@pytest.mark.parametrize(
    ("tried", "offered", "not_offered"),
    [
        ([SPOT], ["a standard VM where no spot one", "flex_start"], ["stock and quota of their own"]),
        ([STANDARD], ["stock and quota of their own", "flex_start"], ["a standard VM where"]),
        ([SPOT, STANDARD], ["flex_start", "hydra-gce offers --gpu T4"], ["spot_else_standard"]),
        ([IOWA], ["spot_else_standard"], ["flex_start"]),
    ],
)
def test_what_would_help_fits_what_was_tried(
    tried: list[Candidate], offered: list[str], not_offered: list[str]
) -> None:
    text = said.table(0, [(one, FULL) for one in tried], [], 0, started=False)
    assert all(part in text for part in offered)
    assert not any(part in text for part in not_offered)


def test_a_quota_of_nought_is_named_with_its_link() -> None:
    text = said.table(0, [(STANDARD, NO_T4)], [], 0, started=False)
    assert "  us-central1  quota NVIDIA_T4_GPUS is 0" in text
    assert "  - ask for more of NVIDIA_T4_GPUS in us-central1:" in text
    assert max(len(line) for line in text.splitlines() if "https:" not in line) <= 100


def test_a_wrong_request_is_said_with_its_setting() -> None:
    refusal = judge("invalid", "Invalid value for field 'resource.labels': 'x y'.", 400)
    line = said.wrong_request(refusal)
    assert line.startswith(
        "hydra.launcher.vm: Compute Engine refuses the VM (invalid): Invalid value for field"
    )
    assert line.endswith("'x y'. Look at hydra.launcher.vm.labels.")


def _quota(region: str = "us-central1") -> Refusal:
    return Refusal(
        "QUOTA_EXCEEDED",
        f"CPUS is 1 in {region}, 2 needed",
        Reach.REGION,
        metric="CPUS",
        region=region,
        short="quota CPUS is 1, 2 needed",
        advice=f"ask for more CPUS in {region}: https://console.cloud.google.com/",
    )
