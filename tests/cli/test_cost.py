"""hydra-gce cost, as a person types it: for sweeps that run, that have ended, and whose laptop is lost."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.cli import exits, main
from hydra_gce.cloud.backend import Backend
from hydra_gce.compute import HereCompute
from hydra_gce.home import SweepRecord
from hydra_gce.jobs import JobState, JobStatus
from hydra_gce.machines import Candidate, Price, VMRequest, resolve
from hydra_gce.money.ledger import Ledger
from hydra_gce.request import Order
from tests.scene import IDLE

PLACE: Candidate = replace(
    resolve(VMRequest(machine_type="e2-micro", zones=["us-central1-a"]))[0], price=Price(host=Decimal("0.36"))
)


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture
def store(embedded: Backend) -> Bucket:
    return embedded.bucket(f"b-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def names() -> SweepNames:
    return SweepNames(f"calm-{uuid.uuid4().hex[:6]}")


@pytest.fixture
def order(embedded: Backend, names: SweepNames) -> Order:
    return Order(names.sweep, embedded.project, IDLE, embedded.image, {})


@pytest.fixture
def vm(embedded: Backend, order: Order) -> Iterator[str]:
    """A VM of the sweep that runs."""
    compute = HereCompute(embedded)
    assert compute.insert(PLACE.zone, order.body(0, 1, PLACE), str(uuid.uuid4())) is None
    yield order.instance_name(0, 1)
    compute.delete(PLACE.zone, order.instance_name(0, 1))


@pytest.fixture
def record(
    hydra_gce_home: Path, embedded: Backend, store: Bucket, names: SweepNames
) -> Iterator[SweepRecord]:
    made = SweepRecord(
        sweep=names.sweep,
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


def ended(order: Order) -> Ledger:
    """Of a sweep whose one job had two VMs."""
    ledger = Ledger()
    for attempt, lived in ((1, 100), (2, 200)):
        began = time.time() - 1000 + 500 * attempt
        ledger.began(order.instance_name(0, attempt), 0, attempt, PLACE, began)
        ledger.ended(order.instance_name(0, attempt), began + lived)
    return ledger


def test_a_sweep_that_has_ended(
    capsys: pytest.CaptureFixture[str], record: SweepRecord, store: Bucket, names: SweepNames, order: Order
) -> None:
    store.write(names.ledger, ended(order).to_json())
    for words in (["cost"], ["cost", "last"], ["cost", names.sweep]):
        code, out, _ = command(capsys, *words)
        titles, first, second, sum_ = out.splitlines()
        assert code == 0
        assert titles.split() == ["job", "attempt", "VM", "zone", "machine", "how", "time", "price/h", "cost"]
        name, again = order.instance_name(0, 1), order.instance_name(0, 2)
        where = ["us-central1-a", "e2-micro", "standard"]
        assert first.split() == ["0", "1", name, *where, "1:40", "$0.360", "$0.010"]
        assert second.split() == ["0", "2", again, *where, "3:20", "$0.360", "$0.020"]
        assert sum_ == "1 job · 2 VMs · 5:00 of VM time · $0.030 in all (embedded: nothing is charged)"


def test_a_sweep_that_runs_is_priced_up_to_now(
    capsys: pytest.CaptureFixture[str],
    record: SweepRecord,
    vm: str,
    store: Bucket,
    names: SweepNames,
) -> None:
    ledger = Ledger()
    ledger.began(vm, 0, 1, PLACE, time.time() - 1000)
    store.write(names.ledger, ledger.to_json())
    code, out, _ = command(capsys, "cost")
    assert code == 0
    assert out.splitlines()[1].endswith("runs")
    assert "so far · 1 VM runs, $0.360/h" in out.splitlines()[2]
    _, out, _ = command(capsys, "cost", "--json")
    content = json.loads(out)
    assert content["running"] == [vm]
    assert 0.1 <= content["cost_usd"] < 0.12
    assert (content["sweep"], content["charged"], content["notes"]) == (names.sweep, False, [])
    (attempt,) = content["attempts"]
    assert (attempt["vm"], attempt["end"], attempt["cost_usd"]) == (vm, None, content["cost_usd"])


def test_a_sweep_whose_laptop_is_lost_is_found_in_its_bucket(
    capsys: pytest.CaptureFixture[str], embedded: Backend, store: Bucket, names: SweepNames, order: Order
) -> None:
    store.write(names.ledger, ended(order).to_json())
    code, _, err = command(capsys, "cost", names.sweep)
    assert code == exits.UNKNOWN
    assert "there is no sweep" in err
    for place in (["--backend", "local"], ["--project", embedded.project]):
        code, out, _ = command(capsys, "cost", names.sweep, *place, "--bucket", store.name)
        assert code == 0
        assert "$0.030 in all" in out


def test_a_bucket_without_any_sweep_has_no_last_one(
    capsys: pytest.CaptureFixture[str], store: Bucket
) -> None:
    code, _, err = command(capsys, "cost", "--bucket", store.name, "--backend", "local")
    assert code == exits.UNKNOWN
    assert f"there is no sweep here, nor in gs://{store.name}" in err


def test_a_vm_that_went_while_nobody_watched_counts_until_it_was_last_heard_of(
    capsys: pytest.CaptureFixture[str], record: SweepRecord, store: Bucket, names: SweepNames, order: Order
) -> None:
    now = time.time()
    spoke, silent = order.instance_name(0, 1), order.instance_name(1, 1)
    ledger = Ledger()
    ledger.began(spoke, 0, 1, PLACE, now - 1000)
    ledger.began(silent, 1, 1, PLACE, now - 500)
    store.write(names.ledger, ledger.to_json())
    status = JobStatus(0, JobState.RUNNING, 1, instance=spoke)
    store.write(names.status(0), b"", metadata=status.to_metadata())
    heard = next(iter(store.list(names.statuses))).updated
    _, out, _ = command(capsys, "cost", "--json")
    content = json.loads(out)
    assert content["running"] == []
    assert [one["end"] for one in content["attempts"]] == [heard, pytest.approx(now, abs=60)]
    assert len(content["notes"]) == 2
    assert content["notes"][0].startswith(f"{spoke} is gone")
    _, out, _ = command(capsys, "cost")
    assert f"{silent} is gone" in out
    # Nothing of it is written down: the launcher may know better.
    assert Ledger.from_json(store.read(names.ledger)).running() == [spoke, silent]


def test_a_vm_that_the_ledger_does_not_know_is_pointed_out(
    capsys: pytest.CaptureFixture[str],
    record: SweepRecord,
    vm: str,
    store: Bucket,
    names: SweepNames,
    order: Order,
) -> None:
    ledger = Ledger()
    ledger.began(order.instance_name(1, 1), 1, 1, PLACE, time.time() - 1000)
    store.write(names.ledger, ledger.to_json())
    _, out, _ = command(capsys, "cost")
    assert (
        f"{vm} (e2-micro in us-central1-a) is there and not in the ledger: hydra-gce down {names.sweep}"
        in out
    )


def test_a_sweep_that_never_had_a_vm(
    capsys: pytest.CaptureFixture[str], record: SweepRecord, store: Bucket, names: SweepNames
) -> None:
    store.write(names.ledger, Ledger().to_json())
    code, out, _ = command(capsys, "cost")
    assert (code, out) == (0, f"{names.sweep}: no VM was made for it, nothing was charged\n")


def test_where_there_is_no_ledger_it_says_where_it_looked(
    capsys: pytest.CaptureFixture[str], record: SweepRecord, store: Bucket, embedded: Backend
) -> None:
    code, _, err = command(capsys, "cost")
    assert code == 1
    assert f"no ledger in gs://{store.name}" in err
    nowhere = f"b-{uuid.uuid4().hex[:12]}"
    code, _, err = command(capsys, "cost", "calm-otter", "--backend", "local", "--bucket", nowhere)
    assert code == exits.UNKNOWN
    assert f"nor a bucket gs://{nowhere}" in err
    assert not embedded.storage.bucket(nowhere).exists()  # looking made none


def test_a_ledger_of_a_version_to_come_is_a_clear_error(
    capsys: pytest.CaptureFixture[str], record: SweepRecord, store: Bucket, names: SweepNames
) -> None:
    store.write(names.ledger, b'{"format": 99}')
    code, _, err = command(capsys, "cost")
    assert code == 1
    assert f"the ledger of {names.sweep} cannot be read: a ledger in format 99" in err
