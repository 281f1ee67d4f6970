"""hydra-gce ui: MLflow's page of a sweep, wherever its runs are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import parse_qs

import mlflow
import pytest
from mlflow import MlflowClient

from hydra_gce.cli import main
from hydra_gce.home import SweepRecord
from hydra_gce.tracking import links, versions

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_GCE_HOME", str(tmp_path / "home"))


def remember(tracking_uri: str | None, ended: float | None = None) -> None:
    SweepRecord(
        "calm-otter", "00", "local", "p", "b", "/sweep", time.time(), os.getpid(), ended, tracking_uri
    ).save()


def points(store: str, jobs: int) -> list[str]:
    client = MlflowClient(store)
    tags = {"hydra_gce.sweep": "calm-otter", "hydra_gce.role": "point"}
    made = [client.create_run("0", tags={**tags, "hydra_gce.job": str(num)}) for num in range(jobs)]
    client.create_run("0", tags={**tags, "hydra_gce.role": "sweep"})
    client.create_run("0")
    return [run.info.run_id for run in made]


def test_a_sweep_without_runs_is_said_to_have_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    remember(None)
    assert main(["ui"]) == 1
    assert "has no runs in MLflow" in capsys.readouterr().err
    remember(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert main(["ui", "calm-otter"]) == 1
    assert "has no runs of sweep calm-otter" in capsys.readouterr().err


def test_where_a_server_is_up_its_page_is_opened(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    remember("https://me:secret@mlflow.example.com/", ended=time.time())
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("hydra_gce.tracking.links.points_of", lambda *_: (["r1", "r2"], ["7"]))
    assert main(["ui"]) == 0
    page = "https://mlflow.example.com/#/compare-runs?runs=%5B%22r1%22,%22r2%22%5D&experiments=%5B%227%22%5D"
    assert opened == [page]
    assert capsys.readouterr().out.strip() == page


def test_of_a_sweep_that_runs_the_curves_are_opened(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    remember("https://mlflow.example.com")
    monkeypatch.setattr("hydra_gce.tracking.links.points_of", lambda *_: (["r1", "r2"], ["7"]))
    assert main(["ui", "--no-browser"]) == 0
    page, _, asked = capsys.readouterr().out.strip().partition("?")
    assert page == "https://mlflow.example.com/#/experiments/7/runs"
    query = parse_qs(asked)
    assert query["compareRunsMode"] == ["CHART"]
    assert query["searchFilter"] == [
        "tags.`hydra_gce.sweep` = 'calm-otter' AND tags.`hydra_gce.role` = 'point'"
    ]


def test_of_a_sweep_that_runs_in_several_experiments_all_curves_are_on_one_page(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    remember("https://mlflow.example.com")
    monkeypatch.setattr("hydra_gce.tracking.links.points_of", lambda *_: (["r1", "r2"], ["7", "9"]))
    assert main(["ui", "--no-browser"]) == 0
    page, _, asked = capsys.readouterr().out.strip().partition("?")
    assert page == "https://mlflow.example.com/#/compare-experiments/s"
    query = parse_qs(asked)
    assert query["experiments"] == ['["7", "9"]']
    assert query["compareRunsMode"] == ["CHART"]


def test_a_store_on_this_machine_is_served_until_ctrl_c(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    runs = points(store, 2)
    remember(store, ended=time.time())
    command: list[Any] = [sys.executable, "-m", "hydra_gce.cli", "ui", "--no-browser", "--port", "0"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        page = process.stdout.readline()
        server, _, path = page.partition("/#/")
        assert path.startswith(f"compare-runs?runs=%5B%22{runs[0]}%22,%22{runs[1]}%22%5D&")
        if versions.SERVER_HAS_ASGI_APP:
            since = {"If-Modified-Since": formatdate(usegmt=True)}
            asked = urllib.request.Request(server, headers=since)
            with urllib.request.urlopen(asked, timeout=60) as answer:
                html = answer.read()
            assert html.index(b"setInterval") < html.index(
                b'src="static-files'
            )  # before any of MLflow's own scripts
        with urllib.request.urlopen(f"{server}/version", timeout=60) as answer:
            assert answer.read().decode() == mlflow.__version__
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        with pytest.raises(URLError):  # none of its processes serves any more
            urllib.request.urlopen(server, timeout=60)
    finally:
        process.terminate()  # it ends the server, which SIGKILL would leave
        process.wait(60)


@pytest.mark.parametrize("has_it", [True, False])
def test_where_mlflows_server_is_no_asgi_app_its_pages_are_served_as_they_are(
    has_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "SERVER_HAS_ASGI_APP", has_it)
    assert ("--app-name" in links.server_command(5000)) == has_it
