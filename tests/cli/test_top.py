"""hydra-gce top: how busy the VMs are, by their agents' words."""

from __future__ import annotations

import json
import time

import pytest

from hydra_gce.home import SweepRecord
from hydra_gce.jobs import JobState
from hydra_gce.usage import GPU, Usage
from tests.cli.conftest import Command
from tests.cli.stored import Stored

BUSY = Usage(
    0.93, 4, 3_100_000_000, 15_600_000_000, 8_000_000_000, 50_000_000_000, (GPU(0.97, 14 << 30, 16 << 30),)
)


def test_what_is_written_can_be_read() -> None:
    assert Usage.from_text(BUSY.to_text()) == BUSY
    assert len(BUSY.to_text()) < 100


@pytest.mark.parametrize("text", ["", "{", "[]", "[1]", "null", "[0.1,2,[1],[2,3],[]]"])
def test_what_another_version_writes_is_no_error(text: str) -> None:
    assert Usage.from_text(text) is None


def test_vms_that_work_are_shown_with_what_they_do(
    command: Command, stored: Stored, record: SweepRecord
) -> None:
    zone = "us-central1-a"
    stored.status(0, instance=f"hg-{record.sweep}-0", usage=BUSY.to_text(), step=120, zone=zone)
    stored.status(1, JobState.BOOTING, instance=f"hg-{record.sweep}-1", zone=zone)
    stored.status(2, JobState.COMPLETED, instance=f"hg-{record.sweep}-2", zone=zone)
    stored.status(3, JobState.PENDING, attempt=0)
    code, out, _ = command("top", record.sweep)
    head, titles, busy, boots = out.splitlines()
    assert code == 0
    assert head.startswith(f"{record.sweep} at ")
    assert "1 completed" in head
    assert titles.split() == [
        "job",
        "VM",
        "where",
        "state",
        "step",
        "CPU",
        "memory",
        "disk",
        "GPU",
        "GPU",
        "memory",
        "heard",
    ]
    assert "93% of 4  3.1/15.6 GB  8.0/50.0 GB  97%  15.0/17.2 GB" in busy
    assert boots.split()[:4] == ["1", "1", "us-central1-a", "BOOTING"]


def test_programs_get_shares_and_bytes(command: Command, stored: Stored, record: SweepRecord) -> None:
    beat = time.time()
    stored.status(0, instance="hg-x-0", usage=BUSY.to_text(), heartbeat=beat)
    (vm,) = json.loads(command("top", record.sweep, "--json")[1])["vms"]
    assert (vm["vm"], vm["job"], vm["heartbeat"]) == ("hg-x-0", 0, beat)
    assert vm["usage"]["cpu"] == 0.93
    assert vm["usage"]["gpus"] == [{"busy": 0.97, "memory_used": 14 << 30, "memory_total": 16 << 30}]


def test_a_sweep_without_a_vm(command: Command, stored: Stored) -> None:
    stored.status(0, JobState.COMPLETED)
    assert "no VM works for it now" in command("top", stored.sweep)[1]
