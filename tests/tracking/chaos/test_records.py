"""Records of a sweep whose VMs are taken away, whose uploads fail and whose relays are killed: all, and once."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from hydra_gce.bucket import Bucket
from hydra_gce.jobs import JobState
from tests.patience import wait_until
from tests.tracking.chaos.recording import __file__ as PROGRAM
from tests.tracking.chaos.relays import Relays
from tests.tracking.chaos.vms import Job
from tests.tracking.equality import records
from tests.tracking.lab import STARTED, relay_for, run_program


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "seed, jobs, losses, kills",
    [
        pytest.param(0, 1, 1, 4, id="4-kills"),
        pytest.param(0, 2, 1, 6, id="6-kills", marks=pytest.mark.slow),
        *(
            pytest.param(seed, 3, 2, 20, id=f"20-kills-seed-{seed}", marks=pytest.mark.chaos)
            for seed in range(10)
        ),
    ],
)
def test_they_are_those_of_a_program_that_nothing_happened_to(
    seed: int,
    jobs: int,
    losses: int,
    kills: int,
    bucket: Bucket,
    storage_url: str,
    store: str,
    tmp_path: Path,
    empty_store: Path,
) -> None:
    running = [Job(bucket, storage_url, num, losses, 0.05, seed, tmp_path / "vms") for num in range(jobs)]
    with Relays(bucket, storage_url, store, jobs, kills, random.Random(seed)) as relays:
        for job in running:
            job.start()
        for job in running:
            job.join()
        wait_until(relays.are_over, "all relays that were to be killed are", 250)
    assert [job.error for job in running if job.error] == []
    assert relays.killed == kills

    relay = relay_for(bucket, store, jobs=jobs)
    for job in running:
        relay.finish(job.last, STARTED + 60, {})
    relay.close(JobState.COMPLETED, STARTED + 61, {})
    assert relay.trouble == ""
    assert relay.refused == []
    shutil.copy(empty_store, tmp_path / "plain.db")
    ours, plain = MlflowClient(store), MlflowClient(f"sqlite:///{tmp_path / 'plain.db'}")
    for num in range(jobs):
        wanted = run_plainly(plain, tmp_path / f"plain-{num}", num)
        assert records(ours, str(relay.run_id(num))) == wanted
    experiment = ours.get_experiment_by_name("membrane")
    runs = ours.search_runs([e.experiment_id for e in ours.search_experiments()])
    assert experiment is not None and len(runs) == 1 + jobs * (1 + len(wanted["nested"]))


def run_plainly(plain: MlflowClient, directory: Path, num: int) -> dict[str, Any]:
    directory.mkdir()
    environment = {"MLFLOW_TRACKING_URI": plain.tracking_uri, "MLFLOW_EXPERIMENT_NAME": "membrane"}
    run_program(Path(PROGRAM), environment, directory, [str(directory), str(num), "0"])
    (experiment,) = [e for e in plain.search_experiments() if e.name == "membrane"]
    (run,) = plain.search_runs([experiment.experiment_id], f"params.x = '{num}'")
    return records(plain, run.info.run_id)
