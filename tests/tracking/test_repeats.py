"""Steps that two attempts logged: the later one's values, once, in each kind of store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from hydra_gce.bucket import Bucket
from hydra_gce.jobs import JobState
from hydra_gce.tracking.relay.destination import POSITION_TAG
from hydra_gce.tracking.relay.relay import Relay
from tests.tracking.lab import STARTED, Killed, Scribe, dying, relay_for


@pytest.fixture
def local_store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database or a directory on this machine."""
    if request.param == "database":
        uri: str = request.getfixturevalue("store")
        return uri
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return (tmp_path / "mlruns").as_uri()


@pytest.fixture
def scribe(bucket: Bucket, tmp_path: Path) -> Callable[..., Scribe]:
    return lambda attempt: Scribe(bucket, tmp_path, 0, attempt)


def history(relay: Relay, store: str, name: str = "loss") -> list[tuple[int, float]]:
    run_id = relay.run_id(0)
    assert run_id, relay.trouble
    return sorted((m.step, m.value) for m in MlflowClient(store).get_metric_history(run_id, name))


def data(relay: Relay, store: str) -> Any:
    return MlflowClient(store).get_run(str(relay.run_id(0))).data


both = pytest.mark.parametrize("local_store", ["database", "directory"], indirect=True)


@both
def test_the_last_attempt_that_logs_a_step_has_it(
    scribe: Callable[[int], Scribe], bucket: Bucket, local_store: str
) -> None:
    relay = relay_for(bucket, local_store)
    lost, resumed = scribe(1), scribe(2)
    run_id = lost.run()
    lost.log(run_id, [("loss", 10.0 + step, step) for step in range(10)])
    lost.log(run_id, [("batch", 1.0, 0), ("batch", 2.0, 0), ("system/cpu", 5.0, 0), ("only", 7.0, 9)])
    relay.tick({0: lost.upload()})
    assert data(relay, local_store).metrics["loss"] == 19.0

    resumed.run()
    resumed.log(run_id, [("loss", 4.0, 4), ("loss", 4.5, 4), ("loss", 5.0, 5)])
    relay.tick({0: resumed.upload()})
    resumed.log(run_id, [("loss", 4.75, 4), ("system/cpu", 6.0, 0)])
    resumed.log(run_id, [("batch", 3.0, 0), ("loss", 9.0, 9)])
    relay.tick({0: resumed.upload()})

    before = [(step, 10.0 + step) for step in (0, 1, 2, 3)]
    after = [(4, 4.0), (4, 4.5), (4, 4.75), (5, 5.0), (6, 16.0), (7, 17.0), (8, 18.0), (9, 9.0)]
    assert history(relay, local_store) == before + after
    assert history(relay, local_store, "batch") == [(0, 3.0)]
    assert history(relay, local_store, "system/cpu") == [(0, 5.0), (0, 6.0)]
    assert history(relay, local_store, "only") == [(9, 7.0)]
    assert data(relay, local_store).metrics["loss"] == 9.0
    assert "hydra_gce.steps_logged_twice" not in data(relay, local_store).tags


@both
def test_a_relay_killed_at_any_call_keeps_to_it(
    scribe: Callable[[int], Scribe], bucket: Bucket, local_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = scribe(1).run()
    for attempt, first, last in ((1, 0, 60), (2, 40, 80), (3, 20, 100)):
        vm = scribe(attempt)
        if attempt > 1:
            vm.run()
        for step in range(first, last):
            vm.log(run_id, [("loss", attempt * 1000.0 + step, step), ("twice", attempt + 0.0, step // 2)])
            if step % 10 == 9:
                status = vm.upload()
    final = vm.status(JobState.COMPLETED)

    kills = 0
    monkeypatch.setattr("hydra_gce.tracking.relay.job._PARTS_PER_COMMIT", 2)
    with dying(before=13, after=9) as count_from:
        for life in range(60):
            count_from(life)
            try:
                relay_for(bucket, local_store).tick({0: status})
            except Killed:
                kills += 1
    relay = relay_for(bucket, local_store)
    relay.finish(final, STARTED + 60, {})

    assert kills > 5
    wanted = [(step, 1000.0 + step) for step in range(20)] + [
        (step, 3000.0 + step) for step in range(20, 100)
    ]
    assert history(relay, local_store) == wanted
    twice = history(relay, local_store, "twice")
    if local_store.startswith("file"):
        assert len(twice) == 100  # a directory keeps equal points apart
    assert {step for step, _ in twice} == set(range(50))
    assert all(value == (1.0 if step < 10 else 3.0) for step, value in twice)


@both
def test_full_batches_that_were_not_yet_said_to_be_there_are_written_once(
    scribe: Callable[[int], Scribe], bucket: Bucket, local_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = scribe(1)
    run_id = vm.run()
    for start in range(0, 25_000, 100):
        vm.log(run_id, [(f"m{step % 3}", step / 7, step) for step in range(start, start + 100)])
    final = vm.upload()

    log_batch, written, marked = MlflowClient.log_batch, 0, 0

    def dies(*args: Any, **kwargs: Any) -> None:
        nonlocal written, marked
        metrics, tags = args[2:4] if len(args) > 3 else ((), kwargs.get("tags", ()))
        log_batch(*args, **kwargs)
        if metrics:
            written += 1
            marked += any(tag.key == POSITION_TAG for tag in tags)
            if written in (7, 18, 20, 24):
                raise Killed

    monkeypatch.setattr(MlflowClient, "log_batch", dies)
    kills = 0
    for _ in range(5):
        relay = relay_for(bucket, local_store)
        try:
            relay.tick({0: final})
        except Killed:
            kills += 1

    assert kills == 4
    assert marked < written / 4
    found = [one for key in range(3) for one in history(relay, local_store, f"m{key}")]
    assert sorted(found) == [(step, step / 7) for step in range(25_000)]


def test_behind_a_server_an_equal_value_is_left_out_and_another_is_told(
    scribe: Callable[[int], Scribe], bucket: Bucket, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = relay_for(bucket, server)
    lost, resumed = scribe(1), scribe(2)
    run_id = lost.run()
    lost.log(run_id, [("loss", float(step), step) for step in range(10)])
    relay.tick({0: lost.upload()})
    assert relay.trouble == ""
    resumed.run()
    resumed.log(run_id, [("loss", float(step), step) for step in range(5, 8)])
    resumed.log(run_id, [("loss", 80.0, 8), ("loss", 90.0, 9), ("loss", 10.0, 10)])
    relay.tick({0: resumed.upload()})
    assert relay.trouble == ""
    assert history(relay, server) == [
        *((step, float(step)) for step in range(9)),
        (8, 80.0),
        (9, 9.0),
        (9, 90.0),
        (10, 10.0),
    ]
    assert data(relay, server).tags["hydra_gce.steps_logged_twice"] == "2"
