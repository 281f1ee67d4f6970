"""What a scenario may say, and what is said of one that cannot be."""

from __future__ import annotations

import threading
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from hydra_gce.local.chaos import day
from hydra_gce.local.chaos.draws import Draws, Rule
from hydra_gce.local.chaos.scenario import Answer, Event, OperationEnd, Scenario, ScenarioError, read
from hydra_gce.local.launch import call
from hydra_gce.local.store import Resource, Store
from tests.local.chaos.weather import bring, running
from tests.local.embedded import Embedded
from tests.local.fake_machine import FakeMachines

RULE = Rule("errors", 0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state.sqlite")


def mistakes(**given: Any) -> list[str]:
    with pytest.raises(ScenarioError) as refused:
        read(given)
    return refused.value.mistakes


def test_an_empty_scenario_is_a_good_day() -> None:
    assert read({}) == Scenario()


def test_every_part_is_read() -> None:
    scenario = read(
        {
            "seed": 7,
            "stock": [
                {"zones": ["us-*", "europe-*"], "machines": "n1-*", "models": "SPOT", "vms": 2, "until_s": 9}
            ],
            "quotas": [{"region": "us-east1", "metric": "CPUS", "limit": 8}],
            "errors": [
                {
                    "methods": "instances.*",
                    "answer": {"status": 429, "reason": "r", "message": "m", "details": [{}]},
                },
                {
                    "methods": ["a", "b"],
                    "operation": {"code": "C", "http": 503, "made": True},
                    "skip": 1,
                    "times": 2,
                },
                {"methods": "*", "slow_s": 0.5, "share": 0.25},
                {"methods": "storage.*", "cut_after_bytes": 10},
            ],
            "vms": [
                {"event": "preempt", "after_s": [5, 20], "names": "a-*"},
                {"event": "slow_metadata", "after_s": 3, "delay_s": 2},
            ],
        }
    )
    (stock,) = scenario.stock
    assert (stock.zones, stock.machines, stock.vms) == (("us-*", "europe-*"), ("n1-*",), 2)
    assert scenario.quotas[0].limit == 8
    answered, ended, slow, cut = scenario.errors
    assert answered.answer == Answer(429, "r", "m", details=({},))
    assert ended.operation == OperationEnd("C", "", http=503, made=True)
    assert (ended.methods, ended.skip, ended.times, ended.on_operation) == (("a", "b"), 1, 2, True)
    assert (slow.slow_s, slow.share, slow.on_operation, cut.cut_after_bytes) == (0.5, 0.25, False, 10)
    preempt, metadata = scenario.vms
    assert (preempt.event, preempt.after_s, preempt.names) == (Event.PREEMPT, (5, 20), ("a-*",))
    assert (metadata.after_s, metadata.delay_s) == ((3, 3), 2)


def test_all_mistakes_are_told_at_once() -> None:
    assert len(mistakes(seed="x", stok=[], stock=[{"vms": -1}], vms=[{"event": "explode"}])) == 4


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"stok": []}, "stok: there is no such field; did you mean 'stock'."),
        ({"seed": 1.5}, "seed: 1.5; it must be a whole number."),
        ({"stock": {"vms": 1}}, "stock: {'vms': 1}; it must be a list of entries."),
        ({"stock": ["us-east1-b"]}, "stock[0]: 'us-east1-b' is no mapping of fields to values."),
        ({"stock": [{"vms": 2.5}]}, "stock[0].vms: 2.5; it must be a whole number of 0 or more."),
        ({"stock": [{"zones": []}]}, "stock[0].zones: []; it must be one wildcard or a list of them."),
        ({"stock": [{"models": "CHEAP"}]}, "STANDARD, SPOT, FLEX_START, RESERVATION_BOUND"),
        ({"stock": [{"from_s": 9, "until_s": 3}]}, "stock[0].until_s: 3; it must be later than from_s (9)."),
        ({"quotas": [{"region": "us-east1"}]}, "quotas[0].metric: missing; it must be a text."),
        (
            {"errors": [{"lost": True}]},
            "errors[0].methods: missing; it must be one wildcard or a list of them.",
        ),
        (
            {"errors": [{"methods": "*"}]},
            "errors[0]: it has none of them; it must have exactly one of answer, ",
        ),
        ({"errors": [{"methods": "*", "lost": True, "cut": True}]}, "errors[0]: it has lost and cut; "),
        ({"errors": [{"methods": "*", "lost": "yes"}]}, "errors[0].lost: 'yes'; it must be true or false."),
        (
            {"errors": [{"methods": "*", "cut": True, "share": 2}]},
            "errors[0].share: 2; it must be a number from 0 to 1.",
        ),
        (
            {"errors": [{"methods": "*", "answer": {"status": 200, "reason": "x"}}]},
            "errors[0].answer.status: 200; it must be a whole number from 400 to 599.",
        ),
        ({"errors": [{"methods": "*", "operation": {"made": True}}]}, "errors[0].operation.code: missing"),
        ({"errors": [{"methods": "*", "operation": "QUOTA"}]}, "errors[0].operation: 'QUOTA' is no mapping"),
        (
            {
                "errors": [
                    {
                        "methods": "*",
                        "answer": {"status": 403, "reason": "x", "details": [{"on": date(2026, 1, 1)}]},
                    }
                ]
            },
            "errors[0].answer.details: ",
        ),
        ({"vms": [{}]}, "vms[0].event: missing; it must be one of preempt, maintain, hang, "),
        (
            {"vms": [{"event": "hang", "after_s": [3, 1]}]},
            "vms[0].after_s: [3, 1]; it must be a number of seconds, or",
        ),
        ({"vms": [{"event": "hang", "delay_s": 1}]}, "only slow_metadata takes it"),
        ({"vms": [{"event": "slow_metadata"}]}, "vms[0].delay_s: missing; slow_metadata takes the seconds"),
    ],
)
def test_a_mistake_is_told_with_its_field_its_value_and_what_is_allowed(
    given: dict[str, Any], sentence: str
) -> None:
    assert any(sentence in one for one in mistakes(**given)), mistakes(**given)


@pytest.mark.parametrize("given", [None, [], "text", {1: 2}])
def test_what_is_no_mapping_is_no_scenario(given: object) -> None:
    with pytest.raises(ScenarioError, match="is no mapping"):
        read(given)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"stock": [{"zones": "us-cental1-a"}]},
            "'us-cental1-a' is for no zone; did you mean 'us-central1-a'.",
        ),
        ({"stock": [{"machines": "n1-standrd-1"}]}, "did you mean 'n1-standard-1'."),
        ({"vms": [{"event": "hang", "machines": "nvidia-t4"}]}, "is for no machine or accelerator type"),
        ({"errors": [{"methods": "instance.insert", "cut": True}]}, "did you mean 'instances.insert'."),
        ({"errors": [{"methods": "instances.*", "cut_after_bytes": 1}]}, "it is for Cloud Storage only"),
        ({"errors": [{"methods": "storage.*", "cut": True, "zones": "us-*"}]}, "Cloud Storage has no zones"),
        ({"errors": [{"methods": "storage.*", "stuck": True}]}, "Cloud Storage has no operations"),
        ({"quotas": [{"region": "us-east1", "metric": "CPU", "limit": 1}]}, "did you mean 'CPUS'."),
        ({"quotas": [{"region": "global", "metric": "CPUS", "limit": 1}]}, "'CPUS' is no quota of a project"),
        ({"quotas": [{"region": "us-east", "metric": "CPUS", "limit": 1}]}, "'us-east' is no region"),
        ({"sed": 1}, "did you mean 'seed'."),
    ],
)
def test_the_server_refuses_a_scenario_about_what_is_not_there(
    cloud: Embedded, given: dict[str, Any], sentence: str
) -> None:
    bring(cloud, {"seed": 1})
    code, answer = call(cloud.server.running, "POST", "chaos", given)
    assert code == 400
    assert any(sentence in one for one in answer["mistakes"]), answer
    assert call(cloud.server.running, "GET", "chaos")[1]["scenario"] == {"seed": 1}  # refused whole


def test_custom_machine_types_and_all_wildcards_are_taken(cloud: Embedded) -> None:
    bring(
        cloud,
        {"stock": [{"machines": ["n2-custom-2-4096", "custom-*", "n[12]-*", "nvidia-*"], "zones": "*-b"}]},
    )


def test_a_good_day_is_told_as_such(cloud: Embedded) -> None:
    nothing: dict[str, list[int]] = {"errors": [], "vms": [], "stock": []}
    assert call(cloud.server.running, "GET", "chaos")[1] == {
        "scenario": None,
        "began": None,
        "happened": nothing,
    }


def test_a_scenario_begins_anew_with_its_counts(cloud: Embedded) -> None:
    given = {"errors": [{"methods": "zones.get", "answer": {"status": 503, "reason": "backendError"}}]}
    for _ in range(2):
        bring(cloud, given)
        assert "error" in cloud.raw("zones/us-central1-a")
        assert call(cloud.server.running, "GET", "chaos")[1]["happened"]["errors"] == [1]


def test_a_scenario_outlives_the_server_with_its_counts(tmp_path: Path, machines: FakeMachines) -> None:
    given = {
        "errors": [{"methods": "zones.get", "answer": {"status": 503, "reason": "backendError"}, "times": 3}]
    }
    with running(tmp_path, machines) as first:
        bring(first, given)
        began = call(first.server.running, "GET", "chaos")[1]["began"]
        assert "error" in first.raw("zones/us-central1-a")
    with running(tmp_path, machines) as second:
        answers = ["error" in second.raw("zones/us-central1-a") for _ in range(4)]
        assert answers == [True, True, False, False]
        known = call(second.server.running, "GET", "chaos")[1]
        assert (known["scenario"], known["began"], known["happened"]["errors"]) == (given, began, [3])
        bring(second, None)
    with running(tmp_path, machines) as third:
        assert call(third.server.running, "GET", "chaos")[1]["scenario"] is None


def test_what_another_version_wrote_and_no_one_can_read_ends(store: Store) -> None:
    store.put(Resource("chaos", "", "global", "scenario", {"scenario": {"weather": "bad"}, "began": 1.0}))
    assert day.resume(store, lambda: 2.0) is None
    assert store.list("chaos") == []


def test_draws_follow_from_the_seed_and_not_from_the_order_of_keys(store: Store) -> None:
    def fired(seed: int, keys: list[str]) -> dict[str, bool]:
        draws = Draws(store, seed)
        return {key: draws.fires(RULE, share=0.5, key=key) for key in keys}

    keys = [f"vm-{number}" for number in range(30)]
    first = fired(1, keys)
    assert fired(1, keys[::-1]) == first
    assert fired(2, keys) != first
    assert 5 < sum(first.values()) < 25


def test_no_more_than_its_times_whoever_draws(store: Store) -> None:
    draws, fired = Draws(store, 0), []

    def draw() -> None:
        for _ in range(20):
            fired.append(draws.fires(RULE, times=7, skip=3))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(fired) == draws.happened(RULE) == 7


def test_a_transaction_that_is_rolled_back_takes_its_draws_along(store: Store) -> None:
    draws = Draws(store, 0)
    with pytest.raises(RuntimeError), store.transaction():
        assert draws.fires(RULE, times=1)
        raise RuntimeError
    assert draws.happened(RULE) == 0
    assert draws.fires(RULE, times=1)


def test_a_number_between_two_is_the_same_for_the_same_key(store: Store) -> None:
    draws = Draws(store, 3)
    first = draws.uniform(RULE, "vm", 5, 20)
    assert 5 <= first <= 20
    assert draws.uniform(RULE, "vm", 5, 20) == first
    assert draws.uniform(RULE, "other", 5, 20) != first
