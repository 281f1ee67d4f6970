"""When a VM began to cost, in its own words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hydra_gce.agent.instance import Instance
from hydra_gce.agent.record import VMRecord, booted_at
from hydra_gce.bucket import Bucket, SweepNames

VM = Instance("hg-calm-otter-0", "us-central1-a", "p", "e2-micro", {"hydra-gce-sweep": "calm-otter"}, True)


def proc(folder: Path, uptime: float, first_after: float) -> Path:
    """A /proc whose process 1 was started so many seconds after the kernel."""
    (folder / "1").mkdir()
    ticks = int(first_after * os.sysconf("SC_CLK_TCK"))
    (folder / "1" / "stat").write_text(
        f"1 (in it) S 0 1 1 0 -1 4194560 1 1 1 1 1 1 1 1 20 0 1 0 {ticks} 1 1\n"
    )
    (folder / "uptime").write_text(f"{uptime} 1.0\n")
    return folder


def test_a_vm_began_when_its_first_process_did(tmp_path: Path) -> None:
    started = booted_at(1000.0, {"HYDRA_GCE_STARTUP": "980"}, proc(tmp_path, uptime=40.0, first_after=5.0))
    assert started == pytest.approx(965.0, abs=0.02)


@pytest.mark.parametrize(("uptime", "first_after"), [(900.0, 5.0), (20.0, 15.0)])
def test_in_a_container_and_without_namespaces_the_startup_script_knows_better(
    tmp_path: Path, uptime: float, first_after: float
) -> None:
    assert booted_at(1000.0, {"HYDRA_GCE_STARTUP": "980"}, proc(tmp_path, uptime, first_after)) == 980.0


def test_where_nothing_is_known_a_vm_began_with_its_agent(tmp_path: Path) -> None:
    assert booted_at(1000.0, {}, tmp_path) == 1000.0


def test_a_vm_leaves_its_beginning_and_its_end_in_the_bucket(bucket: Bucket) -> None:
    name = SweepNames("calm-otter").vm("hg-calm-otter-0")
    assert name == "sweeps/calm-otter/vms/hg-calm-otter-0"
    record = VMRecord(bucket, VM, started=20.5, booted=10.25)
    record.begin()
    entry = bucket.find(name)
    assert entry is not None
    begun = {
        "zone": "us-central1-a",
        "machine_type": "e2-micro",
        "spot": "true",
        "booted": "10.250",
        "agent_started": "20.500",
    }
    assert entry.metadata == begun
    record.end(99.0)
    entry = bucket.find(name)
    assert entry is not None
    assert entry.metadata == {**begun, "ended": "99.000"}


def test_a_record_that_cannot_be_written_stops_nothing(bucket: Bucket) -> None:
    class Away(Bucket):
        def write(self, *_: object, **more: object) -> int:
            raise ConnectionError("away")

    VMRecord(Away(bucket._bucket), VM, started=2.0, booted=1.0).begin()
