"""hydra-gce ls: what there is, who watches it, and what it costs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.cli.ls import lines
from hydra_gce.cloud.backend import Backend
from hydra_gce.coming_back.inventory import SweepInventory, inventory, to_json
from hydra_gce.compute import Instance
from hydra_gce.compute.leftovers import Kind, Leftover
from hydra_gce.home import SweepRecord
from hydra_gce.jobs import JobState, JobStatus
from tests.cli.conftest import Command
from tests.cli.stored import Stored

NOW = 1_000_000.0
RECORD = SweepRecord("calm-otter", "00", "local", "p", "b", "/home/me/multirun", NOW - 800, 1)


def vm(name: str = "hg-calm-otter-0", **fields: Any) -> Leftover:
    instance = Instance(name, "us-central1-a", "RUNNING", "n1-standard-4", {}, NOW - 725, model="SPOT")
    defaults: dict[str, Any] = {
        "kind": Kind.VM,
        "name": name,
        "where": "us-central1-a",
        "sweep": "calm-otter",
        "status": "RUNNING",
        "what": "spot n1-standard-4 + T4",
        "created": NOW - 725,
        "hourly": Decimal("0.211"),
        "spent": Decimal("0.042"),
        "owner": "ada_at_laptop",
        "instance": instance,
    }
    return Leftover(**{**defaults, **fields})


def shown(sweeps: Sequence[SweepInventory], width: int | None) -> list[str]:
    return [line.plain for line in lines(sweeps, NOW, width)]


def test_a_vm_with_place_machine_state_age_and_cost_fits_80_columns() -> None:
    sweep = SweepInventory(
        "calm-otter",
        [vm(), vm("hg-calm-otter-12-a2")],
        RECORD,
        launcher_alive=True,
        jobs={"RUNNING": 2, "COMPLETED": 1},
        cost=Decimal("0.1"),
    )
    assert shown([sweep], 80) == [
        "calm-otter 2 VMs · $0.422/h · $0.100 so far · 3 jobs: 1 completed, 2 running",
        "began 13:20 ago · its launcher is alive · /home/me/multirun",
        "  name   zone           machine                  state      age     $/h  so far",
        "  0      us-central1-a  spot n1-standard-4 + T4  RUNNING  12:05  $0.211  $0.042",
        "  12-a2  us-central1-a  spot n1-standard-4 + T4  RUNNING  12:05  $0.211  $0.042",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 120, None])
def test_no_line_is_wider_than_the_terminal(width: int | None) -> None:
    long = vm(
        "hg-calm-otter-1000-a10",
        where="northamerica-northeast1-a",
        what="flex_start n1-highmem-96-ext + 8 x V100",
        status="PROVISIONING",
        hourly=None,
        spent=Decimal("1234.5"),
        created=NOW - 10**6,
    )
    disk = vm("hg-calm-otter-7", kind=Kind.DISK, what="500 GB hyperdisk-balanced", instance=None)
    table = shown([SweepInventory("calm-otter", [long, disk], None)], width)[2:]
    assert all(len(line) <= (width or 200) for line in table)
    if width is None:
        assert "hg-calm-otter-1000-a10" in table[0]  # a pipe gets whole names


def test_a_terminal_shows_twenty_vms_of_a_sweep_and_counts_the_others() -> None:
    many = SweepInventory("calm-otter", [vm(f"hg-calm-otter-{num}") for num in range(1000)], RECORD)
    told = shown([many], 80)
    assert sum("us-central1-a" in line for line in told) == 20
    assert any(line.startswith("  and 980 more") for line in told)
    assert sum("us-central1-a" in line for line in shown([many], None)) == 1000  # a pipe gets all


def test_unwatched_vms_are_said_with_what_to_run() -> None:
    sweep = SweepInventory("calm-otter", [vm()], RECORD, launcher_alive=False)
    assert "  nobody watches them: hydra-gce down calm-otter" in shown([sweep], 80)


def test_those_that_somebody_watches_from_elsewhere_are_not_said_to_be_forgotten() -> None:
    sweep = SweepInventory("calm-otter", [vm()], RECORD, watched=True)
    assert not any("nobody watches" in line for line in shown([sweep], 80))
    assert "watched" in shown([sweep], None)[0]


def test_those_of_another_machine_are_shown_with_their_owner() -> None:
    sweep = SweepInventory("calm-otter", [vm()])
    assert "of ada_at_laptop" in shown([sweep], 80)[0]


def test_several_sweeps_have_a_sum_and_a_price_that_is_not_known_is_said() -> None:
    sweeps = [
        SweepInventory(name, [vm(hourly=price)]) for name, price in (("a-b", Decimal(1)), ("c-d", None))
    ]
    assert shown(sweeps, None)[-1] == "in all  2 VMs · $1.00/h · $0.084 so far · 1 without a known price"


def test_disks_without_a_vm_are_among_what_is_left() -> None:
    disk = vm("hg-calm-otter-7", kind=Kind.DISK, what="50 GB pd-balanced", instance=None)
    said = shown([SweepInventory("calm-otter", [disk], RECORD)], None)
    assert said[0].startswith("calm-otter 0 VMs · 1 disks and addresses")
    assert any("50 GB pd-balanced" in line and "disk" in line for line in said)
    assert "  nobody watches them: hydra-gce down calm-otter" in said


def test_a_sweep_of_this_machine_that_neither_runs_nor_has_anything_is_shown_with_all_only() -> None:
    dead = replace(RECORD, pid=2**22 - 1)
    others = [vm(sweep="calm-yak")]
    assert inventory(others, [dead], everything=False) == []
    names = [one.sweep for one in inventory(others, [dead], everything=True)]
    assert names == ["calm-otter", "calm-yak"]


def test_a_sweep_that_ended_is_told_from_one_that_was_interrupted() -> None:
    whole = SweepInventory(
        "calm-otter", record=replace(RECORD, ended=NOW), jobs={"COMPLETED": 3, "FAILED": 1}
    )
    broken = SweepInventory("calm-otter", record=RECORD, jobs={"COMPLETED": 3, "RUNNING": 1})
    assert shown([whole], 80)[0].startswith("calm-otter · ended: 3 completed, 1 failed")
    assert shown([broken], 80)[0].startswith("calm-otter · interrupted: 3 completed, 1 running")


def test_keys_that_programs_read() -> None:
    known = SweepInventory("calm-otter", [vm()], RECORD, True, {"RUNNING": 1}, Decimal("0.1"))
    plain = to_json(known, NOW)
    assert json.loads(json.dumps(plain)) == {
        "sweep": "calm-otter",
        "started": NOW - 800,
        "ended": None,
        "launcher_alive": True,
        "watched": True,
        "sweep_dir": "/home/me/multirun",
        "owner": "ada_at_laptop",
        "jobs": {"RUNNING": 1},
        "cost_usd": 0.1,
        "usd_per_hour": 0.211,
        "usd_so_far": 0.042,
        "vms": [
            {
                "name": "hg-calm-otter-0",
                "zone": "us-central1-a",
                "status": "RUNNING",
                "machine_type": "n1-standard-4",
                "model": "SPOT",
                "accelerators": [],
                "age_s": 725,
                "usd_per_hour": 0.211,
                "usd_so_far": 0.042,
                "owner": "ada_at_laptop",
            }
        ],
        "disks": [],
        "addresses": [],
    }


@pytest.fixture(name="vm_name")
def _vm_name(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("vm"))


def test_vms_are_shown_with_who_watches_them(command: Command, record: SweepRecord, vm_name: str) -> None:
    replace(record, pid=os.getpid()).save()
    _, out, _ = command("ls", "--backend", "local")
    assert f"{record.sweep} 1 VM · $0.020/h" in out
    assert "its launcher is alive · /home/me/multirun" in out
    assert f"  {vm_name}  us-central1-a  e2-micro  RUNNING" in out
    assert f"hydra-gce down {record.sweep}" not in out
    record.save()
    _, out, _ = command("ls", "--backend", "local")
    assert f"nobody watches them: hydra-gce down {record.sweep}" in out


def test_all_shows_other_machines_sweeps_and_how_ours_ended(
    command: Command, record: SweepRecord, store: Bucket, vm_name: str, hydra_gce_home: Path
) -> None:
    ended = replace(record, sweep="long-ago")
    ended.save()
    status = JobStatus(0, JobState.COMPLETED, 1)
    store.write(SweepNames("long-ago").status(0), b"", metadata=status.to_metadata())
    (hydra_gce_home / "sweeps" / f"{record.sweep}.json").unlink()
    _, out, _ = command("ls", "--backend", "local")
    assert record.sweep not in out
    assert "more of other machines" in out
    _, out, _ = command("ls", "--all", "--backend", "local", "--json")
    rows = {row["sweep"]: row for row in json.loads(out)}
    assert [one["name"] for one in rows[record.sweep]["vms"]] == [vm_name]
    assert 0 <= rows[record.sweep]["vms"][0]["age_s"] < 300
    assert (rows["long-ago"]["vms"], rows["long-ago"]["jobs"]) == ([], {"COMPLETED": 1})
    (hydra_gce_home / "sweeps" / "long-ago.json").unlink()


def test_a_bucket_that_is_gone_is_no_reason_to_show_nothing(
    command: Command, record: SweepRecord, embedded: Backend
) -> None:
    replace(record, bucket="gone").save()
    code, out, _ = command("ls", "--all", "--backend", "local")
    assert code == 0
    assert f"{record.sweep} · ended" in out


def test_jobs_and_cost_of_a_sweep_that_runs_come_from_its_bucket(
    command: Command, record: SweepRecord, stored: Stored, vm_name: str
) -> None:
    stored.status(0, JobState.RUNNING)
    stored.status(1, JobState.COMPLETED)
    stored.ledger(job0=1000)
    _, out, _ = command("ls", "--backend", "local", "--json")
    (row,) = [one for one in json.loads(out) if one["sweep"] == record.sweep]
    assert row["jobs"] == {"RUNNING": 1, "COMPLETED": 1}
    assert row["cost_usd"] == pytest.approx(0.1, rel=0.01)
    _, out, _ = command("ls", "--backend", "local")
    assert "$0.100 so far · 2 jobs: 1 completed, 1 running" in out


def test_all_shows_sweeps_that_lie_in_the_bucket_alone(command: Command, forgotten: Stored) -> None:
    forgotten.status(0, JobState.COMPLETED)
    _, out, _ = command("ls", "--backend", "local", "--json")
    assert forgotten.sweep not in out
    _, out, _ = command("ls", "--all", "--backend", "local", "--json")
    (row,) = [one for one in json.loads(out) if one["sweep"] == forgotten.sweep]
    assert (row["jobs"], row["vms"], row["sweep_dir"]) == ({"COMPLETED": 1}, [], None)
    assert row["started"] is not None
