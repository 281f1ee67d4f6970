"""The bench of large sweeps: that it counts what it says it counts, and says when a budget is passed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bench import simulated_sweep
from bench.simulated_sweep import Sweep
from bench.simulation import cloud, program
from bench.simulation.laptop import Usage

BELOW = "/compute/v1/projects/p"
BUCKET = "http://127.0.0.1:1/storage/v1/b/bucket/o"


@pytest.mark.parametrize(
    ("method", "path", "query", "kind"),
    [
        ("POST", "zones/z/instances", "requestId=1", "instances.insert"),
        ("GET", "zones/z/instances", "filter=a", "instances.list"),
        ("GET", "zones/z/instances", "pageToken=b", "instances.list (next page)"),
        ("GET", "zones/z/instances/vm", "", "instances.get"),
        ("DELETE", "zones/z/instances/vm", "", "instances.delete"),
        ("GET", "zones/z/instances/vm/serialPort", "", "instances.serialPort"),
        ("GET", "aggregated/instances", "", "instances.aggregatedList"),
        ("POST", "zones/z/operations/o/wait", "", "operations.wait"),
        ("GET", "regions", "", "regions.list"),
        ("GET", "", "", "projects.get"),
    ],
)
def test_requests_to_compute_engine_are_told_apart(method: str, path: str, query: str, kind: str) -> None:
    assert cloud.kind_of(method, f"{BELOW}/{path}".rstrip("/"), query) == kind


@pytest.mark.parametrize(
    ("method", "url", "body", "kind"),
    [
        ("GET", f"{BUCKET}?projection=noAcl&prefix=hydra-gce%2Fsweeps%2Fs%2Fstatus%2F", "", "list status"),
        ("GET", f"{BUCKET}?pageToken=x&prefix=a%2Fstatus%2F", "", "list status (next page)"),
        ("GET", f"{BUCKET}/hydra-gce%2Fsweeps%2Fs%2Fjobs%2F3%2Fclaim?alt=media", "", "GET claim"),
        ("GET", f"{BUCKET}/hydra-gce%2Fsweeps%2Fs%2Fjobs%2F3%2Foutput%2F001%2Fmanifest", "", "GET output"),
        (
            "POST",
            f"{BUCKET}?uploadType=multipart",
            '{"name": "hydra-gce/sweeps/s/ledger.json"}',
            "POST ledger",
        ),
        ("POST", f"{BUCKET}?uploadType=multipart", '{"name": "hydra-gce/wheels/1"}', "POST other"),
    ],
)
def test_requests_to_cloud_storage_are_told_apart(method: str, url: str, body: str, kind: str) -> None:
    assert program.kind_of(method, url, body) == kind


def sweep(jobs: int = 1000, watch_s: float = 40.0, memory: float = 300e6, tracking: str = "none") -> Sweep:
    requests = Counter({"list status": 50, "instances.list": 50, "POST ledger": 25, "GET claim": 2 * jobs})
    return Sweep(jobs, 200, tracking, Usage(10.0, watch_s, int(memory), ""), requests, 100.0)


def test_a_budget_that_the_largest_sweep_passes_is_named() -> None:
    (memory,) = simulated_sweep.over_budget([sweep(memory=500e6)])
    assert memory == "500 MB of memory are more than 400 MB."
    (processor,) = simulated_sweep.over_budget([sweep(watch_s=60.0)])
    assert processor == "60 ms of processor time per job are more than 50 ms."


def test_small_sweeps_have_no_budget_per_job() -> None:
    """What a sweep takes whatever it does, ten jobs cannot share."""
    assert simulated_sweep.over_budget([sweep(jobs=10, watch_s=2.0), sweep()]) == []


def test_listings_are_counted_by_tick() -> None:
    counted = sweep()
    assert (counted.ticks, counted.pages_of_statuses, counted.pages_of_vms) == (50, 1.0, 1.0)
    assert counted.per_job == 2.0


@pytest.mark.slow
@pytest.mark.parametrize("tracking", ["none", "auto"])
def test_simulated_vms_bring_every_job_to_its_end(tmp_path: Path, tracking: str) -> None:
    done = simulated_sweep.run_sweep(3, 2, tracking, tmp_path, job_s=0.5)
    assert "no VM is left" in done.usage.said
    values = [(tmp_path / "multirun" / str(num) / "result.txt").read_text().split()[0] for num in range(3)]
    assert values == ["0", "1", "2"]
    assert done.requests["instances.insert"] >= 2
    assert 0 < done.usage.watch_s < 60
    assert done.usage.memory_bytes > 50e6
