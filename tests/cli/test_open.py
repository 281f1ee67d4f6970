"""hydra-gce open: MLflow's page, Google's console, the bucket; an address where there is no browser."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hydra_gce.cli import exits, open_page
from hydra_gce.cli.open_page import pages_of
from hydra_gce.coming_back.seen import see
from hydra_gce.found import FoundSweep
from hydra_gce.home import SweepRecord
from hydra_gce.jobs import JobState
from hydra_gce.view import JobView
from tests.cli.conftest import Command
from tests.cli.stored import Stored
from tests.cli.test_ssh import CLOUD

SERVER = "https://mlflow.example.org"
RUNS = f"{SERVER}/#/experiments/7/runs?searchFilter=x"


def job(num: int = 0, state: JobState = JobState.RUNNING) -> JobView:
    return JobView(num, [], state, 1, f"hg-x-{num}", "us-east1-c", mlflow_run="a41f")


def test_a_sweeps_runs(command: Command, stored: Stored) -> None:
    stored.view(job(), mlflow=RUNS)
    code, out, _ = command("open", stored.sweep)
    assert (code, out) == (0, f"{RUNS}\n")


def test_a_jobs_own_run(command: Command, stored: Stored) -> None:
    stored.view(job(), mlflow=RUNS)
    code, out, _ = command("open", stored.sweep, "0")
    assert (code, out) == (0, f"{SERVER}/#/experiments/7/runs/a41f\n")


def test_nothing_is_opened_where_nobody_would_see_it(
    command: Command, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    stored.view(job(), mlflow=RUNS)
    command("open", stored.sweep)
    assert opened == []
    monkeypatch.setattr(open_page, "_has_browser", lambda: True)
    command("open", stored.sweep, "--no-browser")
    assert opened == []
    command("open", stored.sweep)
    assert opened == [RUNS]


def test_a_vms_and_the_buckets_pages_on_google(stored: Stored, record: SweepRecord) -> None:
    stored.view(job(0), job(1, JobState.COMPLETED), mlflow="hydra-gce ui")
    seen = see(FoundSweep(record.sweep, CLOUD, stored.bucket, record))
    console = "https://console.cloud.google.com"
    folder = f"{console}/storage/browser/{stored.bucket.name}/hydra-gce/sweeps/{record.sweep}"
    assert pages_of(seen, None) == {"bucket": f"{folder}?project=ml-lab"}
    assert pages_of(seen, 0) == {
        "vm": f"{console}/compute/instancesDetail/zones/us-east1-c/instances/hg-x-0?project=ml-lab",
        "bucket": f"{folder}/jobs/0?project=ml-lab",
    }
    assert "vm" not in pages_of(seen, 1)


def test_runs_in_a_store_of_a_laptop_have_no_page(command: Command, stored: Stored) -> None:
    stored.view(job(), mlflow=f"hydra-gce ui {stored.sweep}")
    code, out, err = command("open", stored.sweep)
    assert (code, out) == (exits.UNKNOWN, "")
    assert f"hydra-gce ui {stored.sweep} serves them there" in err


def test_programs_get_all_of_them(command: Command, stored: Stored) -> None:
    stored.view(job(), mlflow=RUNS)
    content = json.loads(command("open", stored.sweep, "--json")[1])
    assert content == {
        "sweep": stored.sweep,
        "job": None,
        "pages": {"mlflow": RUNS, "vm": None, "bucket": None},
    }


def test_a_page_that_is_asked_for_must_be_there(command: Command, stored: Stored) -> None:
    stored.view(job(), mlflow=RUNS)
    code, _, err = command("open", stored.sweep, "0", "--page", "vm")
    assert code == exits.UNKNOWN
    assert "there is no vm page" in err
    assert "the embedded Compute Engine has none" in err


def test_a_record_of_this_machine_is_said_by_its_name(record: SweepRecord, stored: Stored) -> None:
    assert FoundSweep(record.sweep, CLOUD, stored.bucket, record).said == record.sweep
    elsewhere = FoundSweep(record.sweep, replace(CLOUD), stored.bucket)
    assert elsewhere.said == f"{record.sweep} --project ml-lab --bucket {stored.bucket.name}"
