"""What a launch has settled lies sealed in the bucket, and is read again as it was, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.cargo.pack import Sent
from hydra_gce.cloud.backend import Backend
from hydra_gce.coming_back.rejoin import known
from hydra_gce.coming_back.resume import earlier
from hydra_gce.errors import ConfigError, SealBroken
from hydra_gce.identity import Identity, keep_record
from hydra_gce.jobs import Placement, seal, unseal
from hydra_gce.launch import plan as plans
from hydra_gce.launch.compose import Point
from hydra_gce.launch.plan import Plan
from hydra_gce.settings import VM, Settings
from hydra_gce.tracking.mode import Mode
from hydra_gce.tracking.relay.runs import TrackedSweep

KEY = b"k" * 32
NAMES = SweepNames("calm-otter")
IDENTITY = Identity(NAMES, KEY, 1000.0)
BACKEND = Backend("local", "my-project", "http://127.0.0.1:9", None, None, None)
SENT = Sent(Placement("code/1", "/project"), [Placement("data/1", "/data")], "environments/1", "launcher/1")


def plan_of(*nums: int) -> Plan:
    config = OmegaConf.create({"lr": 0.1})
    points = [Point(num, [f"lr=0.{num}"], config, Path("/sweep"), Path(f"/sweep/{num}")) for num in nums]
    tracked = TrackedSweep(
        "calm-otter", 1000.0, "my-project", "local", {num: [f"lr=0.{num}"] for num in nums}
    )
    settings = Settings(vm=VM(zones=["us-central1-a"]), max_vms=3)
    marks = {num: {"config": f"c{num}", "code": "1", "data": "1"} for num in nums}
    return Plan(settings, points, SENT, tracked, Mode.RELAY, "image", "code 3 files", marks=marks)


def change(bucket: Bucket, what: Callable[[dict[str, Any]], object]) -> None:
    """As another version would have written it."""
    header, body = unseal(KEY, f"{NAMES.sweep}/plan/0", bucket.read(NAMES.plan(0)))
    what(header)
    bucket.write(NAMES.plan(0), seal(KEY, f"{NAMES.sweep}/plan/0", header, body))


def test_it_is_read_again_as_it_was(bucket: Bucket) -> None:
    plans.write(bucket, IDENTITY, plan_of(0, 1))
    plans.write(bucket, IDENTITY, plan_of(2))
    first, second = plans.read(bucket, NAMES, KEY)
    assert asdict(first.settings) == asdict(plan_of(0, 1).settings)
    assert (first.sent, first.tracked) == (SENT, plan_of(0, 1).tracked)
    assert [(one.num, one.overrides, one.config, one.output_dir) for one in first.points] == [
        (one.num, one.overrides, one.config, one.output_dir) for one in plan_of(0, 1).points
    ]
    assert second.marks == plan_of(2).marks
    joined = plans.joined([first, second])
    assert [point.num for point in joined.points] == [0, 1, 2]
    assert set(joined.tracked.job_overrides) == {0, 1, 2}


def test_nothing_is_opened_that_another_key_has_sealed(bucket: Bucket) -> None:
    plans.write(bucket, IDENTITY, plan_of(0))
    with pytest.raises(SealBroken):
        plans.read(bucket, NAMES, b"o" * 32)


@pytest.mark.parametrize(
    "what",
    [
        lambda header: header["settings"].update(quantum=True),
        lambda header: header["settings"].update(max_vms="many"),
        lambda header: header.pop("points"),
        lambda header: header["tracked"].update(flavour="new"),
        lambda header: header.update(mode="telepathy"),
        lambda header: header.update(sent={"code": {"object": "x"}}),
    ],
    ids=["unknown setting", "other type", "no points", "unknown field", "unknown mode", "other format"],
)
def test_what_another_version_has_written_is_named_with_that_version(
    bucket: Bucket, what: Callable[[dict[str, Any]], object]
) -> None:
    plans.write(bucket, IDENTITY, plan_of(0))
    change(bucket, what)
    change(bucket, lambda header: header.update(version="9.9"))
    with pytest.raises(ConfigError, match=r"launched with hydra-gce-launcher 9\.9.*pip install .*==9\.9"):
        plans.read(bucket, NAMES, KEY)


def test_a_launch_after_another_version_says_how_to_begin_anew(here: Bucket, tmp_path: Path) -> None:
    plans.write(here, IDENTITY, plan_of(0))
    assert earlier(None, tmp_path, BACKEND, here) is not None
    change(here, lambda header: header.pop("points"))
    with pytest.raises(ConfigError, match=r"cannot read .* hydra\.launcher\.resume=never"):
        earlier(None, tmp_path, BACKEND, here)
    assert earlier("never", tmp_path, BACKEND, here) is None


# Half-written sweeps


@pytest.fixture
def here(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """This laptop has a record of the sweep."""
    monkeypatch.setenv("HYDRA_GCE_HOME", str(tmp_path / "home"))
    keep_record(IDENTITY, BACKEND, bucket, tmp_path)
    return bucket


def test_of_a_sweep_that_was_only_named_it_is_said_what_to_do(here: Bucket) -> None:
    here.write(NAMES.description, json.dumps({"started": 1000.0}).encode())
    with pytest.raises(ConfigError, match=r"has no jobs .* Launch it anew"):
        known(BACKEND, here, NAMES.sweep)


def test_specs_without_a_plan_are_no_sweep_yet(here: Bucket) -> None:
    here.write(NAMES.description, json.dumps({"started": 1000.0}).encode())
    here.write(NAMES.spec(0), b"sealed")
    with pytest.raises(ConfigError, match="has no jobs"):
        known(BACKEND, here, NAMES.sweep)


@pytest.mark.parametrize("description", [None, b"", b"{", b"[]"])
def test_a_plan_is_enough_where_the_description_is_gone(here: Bucket, description: bytes | None) -> None:
    plans.write(here, IDENTITY, plan_of(0))
    if description is not None:
        here.write(NAMES.description, description)
    plan, identity = known(BACKEND, here, NAMES.sweep)
    assert [point.num for point in plan.points] == [0] and identity.taken_up


def test_a_name_that_nothing_has_is_no_sweep(here: Bucket) -> None:
    with pytest.raises(ConfigError, match="there is no sweep 'calm-otter'"):
        known(BACKEND, here, NAMES.sweep)
