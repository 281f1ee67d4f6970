"""The hydra-gce command, as a person types it, over the embedded Compute Engine."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hydra_gce.backend import Backend
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.cli import main
from hydra_gce.compute import HereCompute
from hydra_gce.home import SweepRecord
from hydra_gce.jobs import JobState, JobStatus
from hydra_gce.machines import VMRequest, resolve
from hydra_gce.request import Order
from tests.scene import IDLE

(PLACE,) = resolve(VMRequest(machine_type="e2-micro", zones=["us-central1-a"]))


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture
def store(embedded: Backend) -> Bucket:
    return embedded.bucket(f"b-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def record(hydra_gce_home: Path, embedded: Backend, store: Bucket) -> Iterator[SweepRecord]:
    made = SweepRecord(
        sweep=f"calm-{uuid.uuid4().hex[:6]}",
        key="00",
        backend="local",
        project=embedded.project,
        bucket=store.name,
        sweep_dir="/home/me/multirun",
        started=9e9,  # the newest of this session
        pid=os.getpid(),
    )
    made.save()
    yield made
    (hydra_gce_home / "sweeps" / f"{made.sweep}.json").unlink()


@pytest.fixture
def vm(embedded: Backend, record: SweepRecord) -> Iterator[str]:
    order = Order(record.sweep, embedded.project, IDLE, embedded.image, {})
    compute = HereCompute(embedded)
    assert compute.insert(PLACE.zone, order.body(0, 1, PLACE), str(uuid.uuid4())) is None
    yield order.instance_name(0, 1)
    compute.delete(PLACE.zone, order.instance_name(0, 1))


def test_ls_shows_vms_and_who_watches_them(
    capsys: pytest.CaptureFixture[str], record: SweepRecord, vm: str
) -> None:
    code, out, _ = command(capsys, "ls", "--backend", "local")
    assert code == 0
    assert f"{record.sweep}  1 VMs  its launcher is alive  /home/me/multirun" in out
    assert f"{vm}  " in out
    assert "us-central1-a" in out
    assert "e2-micro" in out
    assert f"hydra-gce down {record.sweep}" not in out
    replace(record, pid=2**22 - 1).save()
    code, out, _ = command(capsys, "ls", "--backend", "local")
    assert f"nobody watches them: hydra-gce down {record.sweep}" in out


def test_ls_for_programs_and_with_sweeps_that_have_ended(
    capsys: pytest.CaptureFixture[str], record: SweepRecord, vm: str, hydra_gce_home: Path
) -> None:
    ended = replace(record, sweep="long-ago", pid=2**22 - 1)
    ended.save()
    _, out, _ = command(capsys, "ls", "--backend", "local", "--json")
    rows = {row["sweep"]: row for row in json.loads(out)}
    assert "long-ago" not in rows
    assert rows[record.sweep]["launcher_alive"] is True
    assert [(one["name"], one["zone"], one["status"]) for one in rows[record.sweep]["vms"]] == [
        (vm, "us-central1-a", "RUNNING")
    ]
    assert 0 <= rows[record.sweep]["vms"][0]["age_s"] < 100
    _, out, _ = command(capsys, "ls", "--all", "--backend", "local", "--json")
    rows = {row["sweep"]: row for row in json.loads(out)}
    assert rows["long-ago"]["vms"] == []
    (hydra_gce_home / "sweeps" / "long-ago.json").unlink()


def test_down_deletes_one_sweeps_vms(
    capsys: pytest.CaptureFixture[str], record: SweepRecord, vm: str, embedded: Backend
) -> None:
    code, out, _ = command(capsys, "down", record.sweep)
    assert code == 0
    assert out.splitlines() == [f"deleting {vm} in us-central1-a", "no VM is left"]
    assert HereCompute(embedded).instances(record.sweep) == []


@pytest.mark.parametrize("words", [["down"], ["down", "calm-otter", "--all"]])
def test_down_wants_to_know_exactly_what(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    code, _, err = command(capsys, *words)
    assert code == 1
    assert "name one sweep" in err


def test_logs_are_of_the_last_sweep_unless_another_is_named(
    capsys: pytest.CaptureFixture[str], record: SweepRecord, store: Bucket
) -> None:
    names = SweepNames(record.sweep)
    store.write(names.status(0), b"", metadata=JobStatus(0, JobState.COMPLETED, 1).to_metadata())
    store.write(names.log(0, 1, 0), b"it is training\n")
    for words in (["logs"], ["logs", "last"], ["logs", record.sweep, "-f"], ["logs", "--job", "0"]):
        code, out, _ = command(capsys, *words)
        assert (code, out) == (0, "it is training\n")


def test_a_sweep_that_does_not_exist_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str], record: SweepRecord
) -> None:
    for verb in ("logs", "collect"):
        code, _, err = command(capsys, verb, record.sweep[:-1])
        assert code == 1
        assert f"Did you mean {record.sweep}" in err
        assert err.count("\n") == 1


def test_without_any_sweep_last_is_a_clear_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_GCE_HOME", str(tmp_path))
    code, _, err = command(capsys, "logs")
    assert code == 1
    assert "there is no sweep" in err


def test_wrong_usage_has_an_exit_code_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["logs", "--job", "three"])
    assert ended.value.code == 2
    assert "--job" in capsys.readouterr().err
