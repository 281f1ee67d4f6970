"""How far a job is, over several attempts: what its statuses tell, and what its config does."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from hydra_gce.jobs import JobState, JobStatus
from hydra_gce.watch.settled import numbers_in
from hydra_gce.watch.track import Track
from tests.scene import Scene, point


def heard(track: Track, attempt: int, metric: float, **known: object) -> None:
    status = JobStatus(0, JobState.RUNNING, attempt, f"hg-{attempt}", metric_name="val_loss", metric=metric)
    track.hear(JobStatus(**{**vars(status), **known}), attempt, 1.0)


def test_a_job_that_lost_its_vm_tells_where_it_goes_on(scene: Scene) -> None:
    claim = scene.running()
    scene.say(claim, step=420, metric_name="val_loss", metric=0.5)
    scene.give_back(claim)
    again = scene.claim(0, scene.placed(0, but=claim.instance))
    scene.say(again)
    scene.tick_until(0, JobState.RUNNING)
    assert not scene.says(", back in")  # how far on it is, the program has not said yet
    for step in (401, 402):
        scene.say(again, step=step, first_step=401)
        scene.tick_until(0, JobState.RUNNING, step=step)
    zone = scene.candidates[0].zone
    assert scene.times_said(f"job 0 preempted in {zone}, back in") == 1
    assert scene.says("goes on from step 401")


def test_a_program_that_starts_anew_is_not_said_to_go_on(tmp_path: Path) -> None:
    track = Track(point(0, tmp_path), zone="us-central1-a")
    track.lose("lost")
    track.zone, track.instance = "us-central1-c", "hg-2"
    heard(track, 2, 0.5, first_step=1)
    assert track.back() == "job 0 lost in us-central1-a, back in us-central1-c, begins again"
    assert track.back() == ""


def test_curve_and_best_go_over_all_attempts(tmp_path: Path) -> None:
    track = Track(point(0, tmp_path))
    heard(track, 1, 0.4, history=(0.9, 0.4), best=0.3)
    heard(track, 2, 0.6, history=(0.7, 0.6), best=0.5)
    assert track.history == [0.9, 0.4, 0.7, 0.6]
    assert track.best == 0.3


def test_the_total_is_what_the_program_says_then_what_its_config_does(tmp_path: Path) -> None:
    track = Track(point(0, tmp_path))
    assert track._total_steps(3) is None
    track.__dict__["_settled"] = {"trainer.max_steps": 40}
    assert track._total_steps(3) == 40
    heard(track, 1, 0.4, step=3, total_steps=80)
    heard(track, 2, 0.4, step=3)
    assert track._total_steps(3) == 80


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"lr": 0.1, "trainer": {"steps": 7, "name": "x", "on": True}}, {"lr": 0.1, "trainer.steps": 7}),
        ({"steps": "${trainer.steps}", "trainer": {"steps": 7}}, {"steps": 7, "trainer.steps": 7}),
        ({"steps": 7, "home": "${no_such_resolver:x}"}, {"steps": 7}),
        ({"steps": 7, "hydra": {"steps": 8}}, {"steps": 7}),
    ],
)
def test_the_numbers_of_a_config(config: dict[str, object], expected: dict[str, float]) -> None:
    assert numbers_in(OmegaConf.create(config)) == expected
