"""A dry run shows the plan with its price and the very requests, and nothing that is secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from hydra_gce.launch.compose import Point
from hydra_gce.launch.dry_run import lines
from hydra_gce.machines import resolve
from hydra_gce.request import Order, to_message, vm_request
from hydra_gce.settings import VM, Settings
from tests.local.schema import violations

KEY = "0123456789abcdef" * 4


def settings(**fields: Any) -> Settings:
    vm = fields.pop("vm", VM(gpu="T4", provisioning="spot"))
    return Settings(vm=vm, **fields)


def shown(asked: Settings, points: int = 3, order: Order | None = None, **more: Any) -> str:
    whole = [
        Point(num, [f"lr=1e-{num}"], OmegaConf.create({}), Path("/s"), Path(f"/s/{num}"))
        for num in range(points)
    ]
    order = order or Order("calm-otter", "ml-lab", asked.vm, None, {})
    return "\n".join(lines(order, resolve(vm_request(asked.vm)), whole, asked, **more))


def body_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.JSONDecoder().raw_decode(text[text.index("{\n") :])[0]
    return found


def metadata(body: dict[str, Any]) -> dict[str, str]:
    return {item["key"]: item["value"] for item in body["metadata"]["items"]}


def test_the_plan_says_what_where_and_for_how_much() -> None:
    text = shown(settings(vm=VM(gpu="T4", provisioning="spot", disk_gb=80), expected_hours=2))
    assert "nothing is started" in text
    assert (
        "machine    spot n1-standard-4 + T4 · 80 GB pd-balanced · image deeplearning-platform-release/"
        in text
    )
    assert "estimate   3 points x 2 h: $" in text
    assert "points       0  lr=1e-0\n             1  lr=1e-1\n" in text


def test_places_come_cheapest_first_and_the_many_others_are_counted() -> None:
    asked = settings()
    candidates = resolve(vm_request(asked.vm))
    text = shown(asked)
    places = text[text.index("places") : text.index("\n\n")].splitlines()
    assert len(places) == 10
    assert [row[11:].split()[0] for row in places[:9]] == [one.zone for one in candidates[:9]]
    assert str(candidates[0].price) in places[0]
    dearest = max(candidates, key=lambda one: one.price.hourly)
    assert places[9].strip() == f"and {len(candidates) - 9} more, up to {dearest.price} in {dearest.zone}"


def test_a_few_places_are_all_shown() -> None:
    text = shown(settings(vm=VM(zones=["us-central1-a", "us-central1-b"])))
    assert "us-central1-a  standard" in text
    assert "us-central1-b  standard" in text
    assert " more" not in text


def test_each_request_is_shown_as_it_would_be_sent() -> None:
    asked = settings()
    place = resolve(vm_request(asked.vm))[0]
    order = Order("calm-otter", "ml-lab", asked.vm, None, {"hydra-gce-key": KEY, "hydra-gce-bucket": "b"})
    text = shown(asked, points=1, order=order)
    path = f"/compute/v1/projects/ml-lab/zones/{place.zone}/instances"
    assert f"POST https://compute.googleapis.com{path}?requestId=" in text
    body, sent = body_of(text), order.body(0, 1, place)
    assert {**body, "metadata": None} == {**sent, "metadata": None}
    assert metadata(body).keys() == metadata(sent).keys()
    assert [one for one in violations("POST", path, body, 200, {}) if "request" in one] == []
    to_message(body)


def test_requests_that_differ_in_nothing_but_their_job_are_shown_once() -> None:
    order = Order("calm-otter", "ml-lab", VM(), None, {})
    text = shown(settings(vm=VM()), points=3, order=order)
    assert "3 times, for hg-calm-otter-0, hg-calm-otter-1, hg-calm-otter-2:" in text
    assert text.count('"machineType"') == 1
    assert body_of(text)["name"] == "<name>"
    assert body_of(text)["labels"]["hydra-gce-job"] == "<job>"


def test_with_fewer_vms_than_points_only_their_requests_are_shown() -> None:
    text = shown(settings(max_vms=2), points=5)
    assert "2 times, for hg-calm-otter-0, hg-calm-otter-1:" in text
    assert "max_vms=2: the other 3 points follow in these VMs." in text


@pytest.mark.parametrize("points", [1, 3])
def test_the_sweeps_key_is_never_shown_and_long_texts_by_their_size(points: int) -> None:
    vm = VM(metadata={"long": "x" * 5000})
    order = Order("calm-otter", "ml-lab", vm, None, {"hydra-gce-key": KEY})
    text = shown(settings(vm=vm), points=points, order=order)
    assert KEY not in text
    values = metadata(body_of(text))
    assert values["hydra-gce-key"] == "<the sweep's key>"
    assert values["startup-script"].startswith("#!/bin/bash … (")
    assert values["long"] == "x" * 120 + " … (5,000 bytes)"


def test_the_budget_and_the_container_are_said_where_there_are_such() -> None:
    text = shown(settings(budget_usd=500.0, vm=VM(container="python:3.11-slim")), points=1)
    assert "budget     $500, on_budget=wait" in text
    assert "container python:3.11-slim" in text
    assert "budget  " not in shown(settings())
    assert "container" not in shown(settings())


def test_the_embedded_compute_engine_is_named_as_such() -> None:
    assert "POST http://127.0.0.1:8080/compute/v1/" in shown(settings(), endpoint="http://127.0.0.1:8080")
