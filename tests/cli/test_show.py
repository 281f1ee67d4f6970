"""hydra-gce show: one sweep in full, by its watcher's words and, where nobody watches, by its jobs' own."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from decimal import Decimal

import pytest

from hydra_gce.cli import exits
from hydra_gce.home import SweepRecord
from hydra_gce.jobs import JobState
from hydra_gce.view import JobView
from tests.cli.conftest import Command
from tests.cli.stored import Stored


def job(num: int, state: JobState = JobState.RUNNING, **more: object) -> JobView:
    return replace(JobView(num, [f"lr=0.{num}", "seed=1"], state, attempt=1, zone="us-central1-a"), **more)  # type: ignore[arg-type]


def test_what_a_watcher_sees_is_shown(command: Command, stored: Stored, record: SweepRecord) -> None:
    replace(record, pid=os.getpid()).save()  # its launcher is alive
    stored.view(
        job(0, metric_name="miou", metric=0.5, step=10, total_steps=40, cost=Decimal("0.031")),
        job(1, JobState.FAILED, note="out of memory in step 12"),
        news=[(time.time(), "us-central1-a took VM 1 back")],
    )
    stored.status(0, JobState.COMPLETED)  # which its watcher has not heard yet
    code, out, err = command("show", stored.sweep)
    assert (code, err) == (0, "")
    head, *rows = out.splitlines()
    assert head.startswith(f"{stored.sweep} runs · 2 jobs: 1 running, 1 failed · embedded Compute Engine")
    assert "$0.031 so far (embedded: nothing is charged)" in head
    assert "bucket  gs://" + stored.bucket.name in rows
    (row,) = [line for line in rows if line.lstrip().startswith("0 ")]
    assert row.split() == [
        "0",
        "lr=0.0",
        "RUNNING",
        "1",
        "us-central1-a",
        "10/40",
        "miou",
        "0.5000",
        "$0.031",
    ]
    assert "job 1: out of memory in step 12" in rows
    assert rows[-1].endswith("us-central1-a took VM 1 back")


def test_where_nobody_watches_the_jobs_own_words_count(command: Command, stored: Stored) -> None:
    stored.view(job(0), job(1), job(2, JobState.COMPLETED, return_value=0.7), now=time.time() - 3600)
    stored.status(0, JobState.FAILED)
    stored.status(1, JobState.RUNNING, attempt=2, zone="us-east1-c", heartbeat=time.time() - 600)
    stored.status(2, JobState.RUNNING)  # its watcher brought the result home
    stored.ledger(job0=100)
    code, out, _ = command("show", stored.sweep, "--json")
    content = json.loads(out)
    assert (code, content["state"], content["watched"]) == (0, "unwatched", False)
    assert [(one["state"], one["attempt"], one["zone"]) for one in content["jobs"]] == [
        ("FAILED", 1, "us-central1-a"),
        ("RUNNING", 2, "us-east1-c"),
        ("COMPLETED", 1, "us-central1-a"),
    ]
    assert content["jobs"][1]["note"] == "not heard of for 10 min"
    assert content["jobs"][0]["cost_usd"] == pytest.approx(0.01)
    _, out, _ = command("show", stored.sweep)
    assert f"nobody watches it: hydra-gce attach {stored.sweep} goes on" in out


def test_a_lease_in_the_bucket_says_that_somebody_watches(command: Command, stored: Stored) -> None:
    stored.view(job(0))
    stored.bucket.write(stored.names.watcher, b'{"host": "elsewhere", "boot": "", "pid": 1}')
    _, out, _ = command("show", stored.sweep, "--json")
    assert json.loads(out)["state"] == "running"
    stored.bucket.write(stored.names.watcher, b"")
    _, out, _ = command("show", stored.sweep, "--json")
    assert json.loads(out)["state"] == "unwatched"


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([JobState.COMPLETED, JobState.COMPLETED], exits.DONE),
        ([JobState.COMPLETED, JobState.FAILED], exits.JOB_FAILED),
        ([JobState.COMPLETED, JobState.RUNNING], exits.GOES_ON),
    ],
)
def test_a_script_can_ask_how_it_stands(
    command: Command, stored: Stored, states: list[JobState], code: int
) -> None:
    stored.view(*(job(num, state) for num, state in enumerate(states)))
    assert command("show", stored.sweep, "--exit-code")[0] == code
    assert command("show", stored.sweep)[0] == 0


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"jobs": [{}]}', b'{"sweep": "x"}', b"null"])
def test_a_view_that_is_half_written_is_told_and_no_reason_to_show_nothing(
    command: Command, stored: Stored, content: bytes
) -> None:
    stored.bucket.write(stored.names.view, content)
    stored.status(0, JobState.COMPLETED)
    code, out, err = command("show", stored.sweep)
    assert code == 0
    assert f"{stored.sweep} has ended · 1 job: 1 completed" in out
    assert f"{stored.names.view} cannot be read" in err


def test_a_sweep_that_has_only_just_begun(command: Command, stored: Stored) -> None:
    stored.describe()
    code, out, _ = command("show", stored.sweep)
    assert code == 0
    assert "no job has been sent yet" in out


def test_json_has_no_nan(command: Command, stored: Stored) -> None:
    stored.view(job(0, JobState.COMPLETED, return_value=float("nan"), metric=float("inf")))
    _, out, _ = command("show", stored.sweep, "--json")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    (only,) = json.loads(out, parse_constant=refuse)["jobs"]
    assert (only["return_value"], only["metric"]) == ("nan", "inf")


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_no_row_is_wider_than_the_terminal(
    stored: Stored, record: SweepRecord, width: int, embedded: object
) -> None:
    from hydra_gce.cli.show import lines
    from hydra_gce.coming_back.seen import see
    from hydra_gce.found import FoundSweep

    long = [
        job(num, machine="spot n1-highmem-96 + 8 x V100", metric_name="val/miou", metric=0.5, step=10)
        for num in range(30)
    ]
    stored.view(*long)
    found = FoundSweep(record.sweep, embedded, stored.bucket, record)  # type: ignore[arg-type]
    rows = [line.plain for line in lines(see(found), width) if "RUNNING" in line.plain]
    assert len(rows) == 30
    assert all(len(row) <= width for row in rows)
