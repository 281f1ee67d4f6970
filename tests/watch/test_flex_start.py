"""Jobs whose VMs wait in Google's queue: told, not billed, not lost, and asked for elsewhere when a queue ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials

from hydra_gce.bucket import Bucket
from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import HereCompute
from hydra_gce.compute.leftovers import find
from hydra_gce.errors import NoPlace
from hydra_gce.follow.leave import NOTHING_LEFT, delete_all
from hydra_gce.jobs import JobState
from hydra_gce.machines import VMRequest, resolve
from hydra_gce.settings import Settings
from tests.local.chaos.weather import bring
from tests.local.embedded import DEBIAN, PROJECT, Embedded
from tests.local.fake_machine import FakeMachines
from tests.patience import wait_until
from tests.scene import IDLE, Scene

QUEUE_MINUTES = 1.5
FLEXIBLE = replace(IDLE, provisioning="flex_start", queue_minutes=QUEUE_MINUTES)
PLACES = resolve(
    VMRequest(
        machine_type="n1-standard-1",
        gpu="T4",
        provisioning="flex_start",
        zones=["us-central1-a", "us-east1-c"],
    )
)
HERE, THERE = (place.zone for place in PLACES)
SOLD_OUT: dict[str, Any] = {"stock": [{"zones": "*"}]}

Opened = Callable[..., Scene]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Embedded]:
    (tmp_path / "local").mkdir()
    embedded = Embedded(tmp_path / "local", FakeMachines())
    yield embedded
    embedded.close()
    assert embedded.server.broken == []


@pytest.fixture
def opened(
    cloud: Embedded, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Opened]:
    monkeypatch.setattr("tests.scene.IDLE", FLEXIBLE)
    scenes: list[Scene] = []
    backend = Backend("cloud", PROJECT, cloud.url, None, AnonymousCredentials(), DEBIAN)

    def open_scene(**more: Any) -> Scene:
        settings = more.pop("settings", Settings(vm=FLEXIBLE))
        scene = Scene(backend, bucket, PLACES, tmp_path, settings=settings, **more)
        scenes.append(scene)
        return scene

    yield open_scene
    for scene in scenes:
        scene.close()


def queue_ends(cloud: Embedded, scene: Scene) -> None:
    """The time of all requests is over, on Google's clock and on ours."""
    before, seconds = cloud.server.cloud.clock, QUEUE_MINUTES * 60
    cloud.server.cloud.clock = lambda: before() + seconds
    scene.now += seconds


def waits_in(scene: Scene, num: int, zone: str) -> None:
    scene.tick_until(
        num, JobState.PROVISIONING, note=f"waits in Google's queue in {zone} (up to {QUEUE_MINUTES:g} min)"
    )


def test_a_job_whose_vm_waits_is_told_so_and_pays_nothing_for_it(cloud: Embedded, opened: Opened) -> None:
    bring(cloud, SOLD_OUT)
    scene = opened(settings=Settings(vm=FLEXIBLE, boot_timeout_s=60.0))
    waits_in(scene, 0, HERE)
    (name,) = scene.vms()
    assert scene.vms() == {name: "PENDING"}
    scene.now += 2 * scene.settings.boot_timeout_s  # it does not boot yet
    for _ in range(3):
        scene.watch.tick()
    waits_in(scene, 0, HERE)
    assert scene.watch.views()[0].cost == Decimal(0)
    assert scene.watch.views()[0].vm_seconds == 0
    (listed,) = find(scene.backend, scene.names.sweep, 1e10).leftovers
    assert listed.hourly == Decimal(0) or (listed.hourly or 1) < PLACES[0].price.hourly

    bring(cloud, None)
    scene.tick_until(0, JobState.BOOTING, instance=name, zone=HERE, note="")
    assert scene.vms() == {name: "RUNNING"}
    scene.now += scene.settings.boot_timeout_s - 10  # the time for its boot began a moment ago
    scene.watch.tick()
    assert scene.view(0).instance == name
    scene.say(scene.claim(0, name))
    scene.tick_until(0, JobState.RUNNING)
    assert scene.watch.tracks[0].vms == 1
    assert scene.news == []


def test_a_queue_that_ends_without_a_vm_is_a_refusal_of_the_zone(cloud: Embedded, opened: Opened) -> None:
    bring(cloud, SOLD_OUT)
    scene = opened(jobs=3)
    for num in range(3):
        waits_in(scene, num, HERE)
    queue_ends(cloud, scene)
    for num in range(3):
        waits_in(scene, num, THERE)
    (line,) = scene.news
    assert line.startswith(f"{HERE} had no T4 for 1.5 min; trying {THERE} (")
    bring(cloud, None)
    for num in range(3):
        assert scene.tick_until(num, JobState.BOOTING).zone == THERE
        track = scene.watch.tracks[num]
        assert (track.vms, track.lost, track.preemptions) == (1, 0, 0)
    assert len(scene.vms()) == 3


def test_when_no_queue_has_had_a_vm_a_table_says_so(cloud: Embedded, opened: Opened) -> None:
    bring(cloud, SOLD_OUT)
    scene = opened(settings=Settings(vm=FLEXIBLE, wait_for_room_minutes=0.0))
    waits_in(scene, 0, HERE)
    queue_ends(cloud, scene)
    waits_in(scene, 0, THERE)
    queue_ends(cloud, scene)
    with pytest.raises(NoPlace, match="No flex_start T4 could be had for job 0 in 3 min") as none:
        scene.tick_until(0, JobState.BOOTING)
    assert "had no T4 for 1.5 min" in str(none.value)
    assert "queue_minutes" in str(none.value)


def test_more_jobs_wait_than_there_are_threads(cloud: Embedded, opened: Opened) -> None:
    bring(cloud, SOLD_OUT)
    scene = opened(jobs=36)

    def all_wait() -> bool:
        scene.watch.tick()
        return all("waits in Google's queue" in view.note for view in scene.watch.views())

    wait_until(all_wait, "all jobs wait")
    assert set(scene.vms().values()) == {"PENDING"}
    assert scene.fleet.searching == 0
    scene.fleet.close()  # at once: nobody waits for the queue
    assert delete_all(HereCompute(scene.backend), scene.names.sweep) == NOTHING_LEFT
    assert scene.vms() == {}


def test_a_launcher_that_takes_the_sweep_up_again_knows_what_waits(cloud: Embedded, opened: Opened) -> None:
    bring(cloud, SOLD_OUT)
    scene = opened()
    waits_in(scene, 0, HERE)
    scene.watch.close()
    scene.fleet.close()
    again = opened(names=scene.names)
    again.watch.take_up()
    assert "waits in Google's queue" in again.view(0).note
    for _ in range(3):
        again.watch.tick()
    assert list(again.vms().values()) == ["PENDING"]
    bring(cloud, None)
    view = again.tick_until(0, JobState.BOOTING, note="")
    assert again.vms() == {view.instance: "RUNNING"}
    assert again.watch.tracks[0].vms == 1


def test_what_waits_for_a_job_that_is_done_is_taken_back(cloud: Embedded, opened: Opened) -> None:
    """Another VM of the sweep has worked on it."""
    bring(cloud, SOLD_OUT)
    scene = opened()
    waits_in(scene, 0, HERE)
    claim = scene.claim(0, "another")
    scene.finish(claim, 1.0)
    scene.say(claim, JobState.COMPLETED)
    scene.tick_until(0, JobState.COMPLETED)

    def gone() -> bool:
        scene.watch.tick()
        return not scene.vms()

    wait_until(gone, "nothing waits any more")
    assert scene.fleet.asking == 0


def test_a_request_that_somebody_deletes_goes_on_elsewhere(cloud: Embedded, opened: Opened) -> None:
    bring(cloud, SOLD_OUT)
    scene = opened()
    waits_in(scene, 0, HERE)
    scene.end_vm(next(iter(scene.vms())))
    waits_in(scene, 0, THERE)
    assert scene.watch.tracks[0].lost == 0


def test_a_vm_that_came_and_went_while_the_laptop_slept_has_done_its_job(
    cloud: Embedded, opened: Opened
) -> None:
    bring(cloud, SOLD_OUT)
    scene = opened()
    waits_in(scene, 0, HERE)
    (name,) = scene.vms()
    bring(cloud, None)
    wait_until(lambda: scene.vms() == {name: "RUNNING"}, "it runs")
    claim = scene.claim(0, name)
    scene.finish(claim, 2.0)
    scene.say(claim, JobState.COMPLETED, started=scene.now + 1)
    scene.end_vm(name)
    wait_until(lambda: not scene.vms(), "it is gone")
    scene.now += 3600.0
    assert scene.tick_until(0, JobState.COMPLETED).return_value == 2.0
    assert scene.fleet.ledger.jobs() == [0]
    assert (scene.fleet.asking, scene.news, scene.vms()) == (0, [], {})
