"""What ``dry_run=true`` shows: the plan with its price, and each request as it would be sent. Nothing is started."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hydra_gce.display.figures import money
from hydra_gce.labels import JOB_LABEL
from hydra_gce.launch.compose import Point
from hydra_gce.machines import Candidate, Price
from hydra_gce.machines.words import shortened
from hydra_gce.money.estimate import before
from hydra_gce.request import Order
from hydra_gce.settings import Settings

GOOGLE = "https://compute.googleapis.com"

_MOST_PLACES = 10
_MOST_POINTS = 10
_MOST_NAMES = 6
_MOST_CHARACTERS = 120
"""Of a metadata value: what is longer is shown by its first line and its size."""
_SECRET = {"hydra-gce-key": "<the sweep's key>"}
_JOB = "<job>"


def lines(
    order: Order,
    candidates: Sequence[Candidate],
    points: Sequence[Point],
    settings: Settings,
    endpoint: str = GOOGLE,
) -> Iterator[str]:
    """The plan, then the requests.

    :param candidates: all places, the one that is asked first at the head.
    :param endpoint: where Compute Engine is, without its path.
    """
    yield f"hydra-gce  dry run: nothing is started, nothing is charged · project {order.project}"
    yield from _titled("machine", [_machine(order, candidates[0], settings)])
    yield from _titled(
        "estimate", [_points_said(points, settings) + before(candidates, len(points), settings)]
    )
    if settings.budget_usd is not None:
        yield from _titled("budget", [f"${settings.budget_usd:g}, on_budget={settings.on_budget}"])
    yield from _titled("points", _points(points))
    yield from _titled("places", _places(candidates))
    yield ""
    yield from _requests(order, candidates, points, settings, endpoint)


def _titled(title: str, rows: Iterable[str]) -> Iterator[str]:
    for row in rows:
        yield f"{title:<11}{row}".rstrip()
        title = ""


def _machine(order: Order, candidate: Candidate, settings: Settings) -> str:
    vm, boot = settings.vm, order.body(0, 1, candidate)["disks"][0].get("initializeParams", {})
    parts = [str(candidate).rpartition(" in ")[0], f"{vm.disk_gb} GB {candidate.disk_type}"]
    if candidate.local_ssds:
        parts.append(f"{candidate.local_ssds} x 375 GB local SSD")
    if image := boot.get("sourceImage"):
        parts.append(
            f"image {image.removeprefix('projects/').replace('/global/images', '').replace('/family', '')}"
        )
    if vm.container:
        parts.append(f"container {vm.container}")
    return " · ".join([*parts, f"deleted after {vm.max_run_hours:g} h at the latest"])


def _points_said(points: Sequence[Point], settings: Settings) -> str:
    """ "3 points x 2 h: " where it is known how long one takes."""
    if settings.expected_hours is None:
        return ""
    return f"{_counted(len(points), 'point')} x {settings.expected_hours:g} h: "


def _points(points: Sequence[Point]) -> Iterator[str]:
    shown = points if len(points) <= _MOST_POINTS else points[: _MOST_POINTS - 1]
    for point in shown:
        yield f"{point.num:>3}  {' '.join(point.overrides)}"
    if len(shown) < len(points):
        yield f"     and {len(points) - len(shown)} more"


def _places(candidates: Sequence[Candidate]) -> Iterator[str]:
    shown = candidates if len(candidates) <= _MOST_PLACES else candidates[: _MOST_PLACES - 1]
    how = max(len(candidate.model.value) for candidate in shown)
    where = max(len(candidate.zone) for candidate in shown)
    for candidate in shown:
        model = candidate.model.value.lower()
        yield f"{candidate.zone:<{where}}  {model:<{how}}  {candidate.price!s:<16} {_parts(candidate.price)}"
    rest = candidates[len(shown) :]
    if rest:
        dearest = max(rest, key=lambda candidate: candidate.price.hourly)
        yield f"and {len(rest)} more, up to {dearest.price} in {dearest.zone}"


def _parts(price: Price) -> str:
    """What an hour of it is for: "host $0.19, GPU $0.35, disk $0.0068"."""
    parts = (
        ("host", price.host),
        ("GPU", price.gpu),
        ("local SSD", price.local_ssd),
        ("disk", price.disk),
        ("address", price.address),
    )
    return ", ".join(f"{name} {money(amount)}" for name, amount in parts if amount)


def _requests(
    order: Order, candidates: Sequence[Candidate], points: Sequence[Point], settings: Settings, endpoint: str
) -> Iterator[str]:
    """As they are sent first, to the head of the places; each body once, with the names that go with it."""
    first = candidates[0]
    asked = points[: settings.max_vms or len(points)]
    names: dict[str, list[str]] = {}
    for point in asked:
        body = order.body(point.num, 1, first)
        name, text = (
            body["name"],
            json.dumps(_shown(body, alone=len(asked) == 1), indent=2, ensure_ascii=False),
        )
        names.setdefault(text, []).append(name)
    yield f"POST {endpoint}/compute/v1/projects/{order.project}/zones/{first.zone}/instances?requestId=<uuid>"
    for text, whose in names.items():
        if len(asked) > 1:
            yield f"{len(whose)} times, for {shortened(whose, _MOST_NAMES)}:"
        yield from text.splitlines()
    if len(candidates) > 1:
        yield "Where this is refused, the next place is asked the same."
    if len(asked) < len(points):
        yield (
            f"max_vms={settings.max_vms}: the other {_counted(len(points) - len(asked), 'point')} follow in these VMs."
        )


def _shown(body: dict[str, Any], alone: bool) -> dict[str, Any]:
    """The body with nothing secret in it, nothing that fills a screen, and, unless it is alone, no name or job."""
    items = [
        {"key": item["key"], "value": _metadata_value(item["key"], item["value"], alone)}
        for item in body["metadata"]["items"]
    ]
    shown = {**body, "metadata": {**body["metadata"], "items": items}}
    if alone:
        return shown
    disks = [_without_job(disk) for disk in body["disks"]]
    return {**shown, "name": "<name>", "labels": {**body["labels"], JOB_LABEL: _JOB}, "disks": disks}


def _without_job(disk: dict[str, Any]) -> dict[str, Any]:
    parameters = disk.get("initializeParams", {})
    if JOB_LABEL not in parameters.get("labels", {}):
        return disk
    labels = {**parameters["labels"], JOB_LABEL: _JOB}
    return {**disk, "initializeParams": {**parameters, "labels": labels}}


def _metadata_value(key: str, value: str, alone: bool) -> str:
    if key in _SECRET:
        return _SECRET[key]
    if key == JOB_LABEL and not alone:
        return _JOB
    if len(value) <= _MOST_CHARACTERS:
        return value
    return f"{value.splitlines()[0][:_MOST_CHARACTERS]} … ({len(value.encode()):,} bytes)"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
