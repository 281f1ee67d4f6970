"""A job's spec is sent once and never changed; a launch that is another one is told so."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.cargo.environment import Environment, Resolution
from hydra_gce.cargo.pack import Cargo, Sent
from hydra_gce.cargo.snapshot import Snapshot
from hydra_gce.cargo.wheel import Wheel
from hydra_gce.errors import SealBroken
from hydra_gce.identity import Identity
from hydra_gce.jobs import JobState, JobStatus, Placement, unseal_spec
from hydra_gce.launch import specs
from hydra_gce.launch.compose import Point, Program
from hydra_gce.settings import Env, Settings, Tracking
from hydra_gce.tracking import mode
from tests.scene import point

KEY = b"k" * 32
IDENTITY = Identity(SweepNames("calm-otter"), KEY, 1000.0)
NAMES = IDENTITY.names
SENT = Sent(Placement("code/1", "/project"), [Placement("data/1", "/data")], "environments/1", "launcher/1")
PROGRAM = Program(b"task", b"context", {}, {}, {})


def packed(root: Path) -> Cargo:
    code = Snapshot("1", root / "code.tar.gz", 1, 1, [], "code/1")
    environment = Environment.__new__(Environment)
    return Cargo(root, code, [], Resolution(environment, "none", ["src"], []), Wheel.__new__(Wheel))


def send(bucket: Bucket, points: list[Point], **more: Any) -> None:
    given: dict[str, Any] = {
        "identity": IDENTITY,
        "settings": Settings(),
        "sent": SENT,
        "environ": {},
        **more,
    }
    specs.send(
        bucket,
        given["identity"],
        given["settings"],
        points,
        PROGRAM,
        packed(Path("/project")),
        given["sent"],
        given["environ"],
        mode.choose(given["settings"].tracking.mode, given["environ"], embedded=True),
        fresh_after=given.get("fresh_after"),
    )


@pytest.fixture
def points(tmp_path: Path) -> list[Point]:
    return [point(num, tmp_path) for num in range(3)]


def test_each_job_has_a_sealed_spec_and_waits_for_a_vm(bucket: Bucket, points: list[Point]) -> None:
    settings = Settings(env=Env(pass_variables=["WANDB_MODE"]), preempt_grace_s=30.0)
    environ = {"WANDB_MODE": "offline", "SECRET": "x", "MLFLOW_EXPERIMENT_NAME": "unet"}
    send(bucket, points, settings=settings, environ=environ)
    for one in points:
        spec, program = unseal_spec(KEY, "calm-otter", one.num, bucket.read(NAMES.spec(one.num)))
        assert (spec.num, spec.overrides, spec.output_dir) == (one.num, one.overrides, str(one.output_dir))
        assert spec.variables == {"MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "true", "WANDB_MODE": "offline"}
        assert spec.preempt_grace_s == 30.0
        assert (spec.tracking, spec.experiment) == ("relay", "unet")
        assert (spec.code, spec.data) == (SENT.code, SENT.data)
        assert "/project/src" in spec.sys_path
        assert set(pickle.loads(program)) >= {"task_function", "config"}
        found = bucket.find(NAMES.status(one.num))
        assert found is not None and JobStatus.from_metadata(found.metadata) == JobStatus(one.num)


def test_variables_are_not_to_be_read_in_the_bucket(bucket: Bucket, points: list[Point]) -> None:
    send(
        bucket,
        points[:1],
        settings=Settings(env=Env(pass_variables=["TOKEN"]), tracking=Tracking(system_metrics=False)),
        environ={"TOKEN": "planted-9f3"},
    )
    content = bucket.read(NAMES.spec(0))
    assert b"planted-9f3" not in content and b"TOKEN" not in content
    assert unseal_spec(KEY, "calm-otter", 0, content)[0].variables == {"TOKEN": "planted-9f3"}


def test_a_spec_opens_with_its_sweeps_key_alone(bucket: Bucket, points: list[Point]) -> None:
    send(bucket, points)
    with pytest.raises(SealBroken):
        unseal_spec(b"x" * 32, "calm-otter", 0, bucket.read(NAMES.spec(0)))


def test_tracking_may_be_off_and_its_experiment_named(bucket: Bucket, points: list[Point]) -> None:
    send(bucket, points[:1], settings=Settings(tracking=Tracking(mode="none", experiment="mine")))
    spec, _ = unseal_spec(KEY, "calm-otter", 0, bucket.read(NAMES.spec(0)))
    assert (spec.tracking, spec.experiment, spec.variables) == ("none", "mine", {})


def test_what_lies_there_already_is_left_as_it_is(bucket: Bucket, points: list[Point]) -> None:
    """A VM may be at work with it, and have said so."""
    send(bucket, points[:2])
    generation = bucket.find(NAMES.spec(0))
    running = JobStatus(0, JobState.RUNNING, attempt=1, instance="vm").to_metadata()
    bucket.write(NAMES.status(0), b"", metadata=running)
    send(bucket, points)
    assert bucket.find(NAMES.spec(0)) == generation
    status = bucket.find(NAMES.status(0))
    assert status is not None and status.metadata["state"] == "RUNNING"
    assert bucket.find(NAMES.spec(2)) is not None


def test_a_job_that_is_to_run_again_is_written_anew_and_may_begin_from_nothing(
    bucket: Bucket, points: list[Point]
) -> None:
    send(bucket, points)
    send(bucket, points, sent=replace(SENT, code=Placement("code/2", "/project")), fresh_after={1: 3, 2: 0})
    specs_now = [unseal_spec(KEY, "calm-otter", num, bucket.read(NAMES.spec(num)))[0] for num in range(3)]
    assert [spec.code.object for spec in specs_now] == ["code/1", "code/2", "code/2"]
    assert [spec.fresh_after for spec in specs_now] == [0, 3, 0]
