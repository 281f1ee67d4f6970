"""How fast a journal is played into MLflow beside what its API can take at best, and what a logging call costs.

`python -m bench.tracking` measures, turn by turn: full batches of one call of `log_batch` each (the ceiling of the
public API), the relay with a journal of one metric a record, and `log_metric` one by one; into SQLite and into a
server. Then several runs into a server, one after the other and side by side; `log_metric` on a VM beside the same
call against a store that does nothing; and the memory that a journal of a million points takes. Writes a section of
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench import page
from bench.mlflow_server import MLflowServer

POINTS = 20_000
ONE_BY_ONE = 1_000
CALLS = 2_000
MILLION = 1_000_000
RUNS = 8  # as many as the relay plays at once
WORKERS = 4  # as many as `mlflow server` has by default
KEYS = 5
STARTED_MS = 1_760_000_000_000


def lines(points: int, job: int = 0) -> Iterator[bytes]:
    """A journal's records of one metric each, as a program writes them step by step, after ``begin``'s."""
    from hydra_gce.tracking.journal import Record, encode

    run = vm_run(job)
    for number in range(points):
        row = [f"m{number % KEYS}", number / 7, STARTED_MS + number, number // KEYS]
        args = {"run": run, "metrics": [row], "params": [], "tags": []}
        yield encode(Record(2 + number, STARTED_MS / 1000, "batch", args))


def begin(job: int) -> bytes:
    """The record that makes the run."""
    from hydra_gce.tracking.journal import Record, encode

    run = {"run": vm_run(job), "experiment": "bench", "start_time": STARTED_MS, "tags": [], "name": ""}
    return encode(Record(1, STARTED_MS / 1000, "run", run))


def ceiling(uri: str) -> float:
    """Points a second through full batches."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client = MlflowClient(uri)
    run = client.create_run("0").info.run_id
    points = [Metric(f"m{n % KEYS}", n / 7, STARTED_MS + n, n // KEYS) for n in range(POINTS)]
    began = time.perf_counter()
    for start in range(0, POINTS, 1000):
        client.log_batch(run, points[start : start + 1000])
    return POINTS / (time.perf_counter() - began)


def one_by_one(uri: str) -> float:
    """Points a second through `log_metric`."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    run = client.create_run("0").info.run_id
    began = time.perf_counter()
    for number in range(ONE_BY_ONE):
        client.log_metric(run, f"m{number % KEYS}", number / 7, STARTED_MS + number, number // KEYS)
    return ONE_BY_ONE / (time.perf_counter() - began)


def vm_run(job: int) -> str:
    """The run's id on its VM."""
    return f"{job:032x}"


class Parts:
    """In the place of the bucket: a job's journal, already here."""

    def __init__(self, job: int) -> None:
        self.coming: Iterator[bytes] = iter([begin(job)])
        self.records = 0

    def read(self, name: str) -> bytes:
        from hydra_gce.errors import ObjectMissing

        part = next(self.coming, None)
        if part is None:
            raise ObjectMissing(name)
        self.records += part.count(b"\n")
        return part


def play(uri: str, journals: Sequence[Iterable[bytes]], at_once: int = 1) -> float:
    """Points a second from the bytes of the jobs' journals, in parts, to the last batch's answer."""
    from hydra_gce.bucket import SweepNames
    from hydra_gce.jobs import JobState, JobStatus
    from hydra_gce.tracking.relay.destination import Destination
    from hydra_gce.tracking.relay.job import JobRelay
    from hydra_gce.tracking.relay.refusals import Refusals
    from hydra_gce.tracking.relay.runs import Runs, TrackedSweep

    sweep = TrackedSweep(
        f"bench-{time.time_ns()}",
        STARTED_MS / 1000,
        "p",
        "local",
        {num: [] for num in range(len(journals))},
        experiment="bench",
    )
    to = Destination(uri, sweep.name)
    runs = Runs(to, sweep)
    runs.make()
    buckets: list[Any] = [Parts(num) for num in range(len(journals))]
    names = SweepNames(sweep.name)
    jobs = [JobRelay(bucket, names, num, to, runs, Refusals()) for num, bucket in enumerate(buckets)]

    def carry_over(num: int) -> None:
        status = JobStatus(num, JobState.RUNNING, 1, journal_parts=sys.maxsize)
        jobs[num].play(status)
        jobs[num].tell(status)

    for num, journal in enumerate(journals):
        carry_over(num)  # the run is there, and what is open is open
        buckets[num].coming, buckets[num].records = iter(journal), 0
    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(carry_over, range(len(journals))))
    points: int = sum(bucket.records for bucket in buckets)
    return points / (time.perf_counter() - began)


def side_by_side(directory: Path, rounds: int) -> tuple[float, float]:
    """Points a second of several runs into a server: one after the other, and as many at once as the relay does."""
    points = POINTS // RUNS
    journals = [[b"".join(lines(points, num))] for num in range(RUNS)]
    speeds: dict[int, list[float]] = {1: [], RUNS: []}
    with MLflowServer(directory, workers=WORKERS) as server:
        for number in range(rounds):
            for at_once in sorted(speeds, reverse=bool(number % 2)):
                speeds[at_once].append(play(server.uri, journals, at_once))
    alone, together = (statistics.median(values) for values in speeds.values())
    return alone, together


def call_cost(directory: Path, rounds: int) -> tuple[float, float]:
    """Microseconds of `mlflow.log_metric` into a store that does nothing, and into a VM's."""
    import mlflow
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.tracking._tracking_service.utils import _tracking_store_registry

    from hydra_gce.tracking.environment import variables

    class Nothing(SqlAlchemyStore):
        def log_metric(self, run_id: str, metric: object) -> None:
            """Keeps nothing."""

    made = Nothing(  # type: ignore[no-untyped-call]
        f"sqlite:///{directory / 'nothing.db'}", str(directory / "artifacts")
    )
    _tracking_store_registry.register("nothing", lambda store_uri, artifact_uri=None: made)
    chosen = variables(directory / "vm", "bench", 0, 1)
    os.environ.update(chosen)
    seconds: dict[str, list[float]] = {"nothing://": [], chosen["MLFLOW_TRACKING_URI"]: []}
    for _ in range(rounds):
        for uri, taken in seconds.items():
            mlflow.set_tracking_uri(uri)
            mlflow.set_experiment("bench")
            with mlflow.start_run():
                mlflow.log_metric("warm", 0.0, step=0)
                began = time.perf_counter()
                for step in range(CALLS):
                    mlflow.log_metric("loss", step / 3, step=step)
                taken.append((time.perf_counter() - began) / CALLS)
    nothing, ours = (statistics.median(taken) * 1e6 for taken in seconds.values())
    return nothing, ours


def million(directory: Path) -> float:
    """Megabytes at most of a process that plays a journal of a million points."""
    script = f"from bench.tracking import play_points; play_points({MILLION}, {str(directory)!r})"
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return float(said.stdout.split()[-1])


def play_points(points: int, directory: str) -> None:
    """In a process of its own: prints its peak memory in megabytes."""

    def parts() -> Iterator[bytes]:
        batch: list[bytes] = []
        for line in lines(points):
            batch.append(line)
            if len(batch) == 25_000:  # about the 4 MiB of a part
                yield b"".join(batch)
                batch = []
        yield b"".join(batch)

    play(f"sqlite:///{directory}/million.db", [parts()])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--no-million", action="store_true", help="leave out the two minutes of a million points"
    )
    parser.add_argument("--dry", action="store_true", help="print the table, and leave the page as it is")
    arguments = parser.parse_args()
    load = page.load()
    rows: list[list[str]] = []
    everything = list(lines(POINTS))
    parts = [b"".join(everything[start : start + 5000]) for start in range(0, POINTS, 5000)]
    with tempfile.TemporaryDirectory(prefix="bench-tracking-") as name:
        directory = Path(name)
        with MLflowServer(directory) as server:
            for kind, uri in (("SQLite", f"sqlite:///{directory / 'store.db'}"), ("server", server.uri)):
                rounds = []
                for number in range(arguments.rounds):
                    if number % 2:
                        ours, best = play(uri, [parts]), ceiling(uri)
                    else:
                        best, ours = ceiling(uri), play(uri, [parts])
                    rounds.append((best, ours, one_by_one(uri)))
                best, ours, single = (statistics.median(values) for values in zip(*rounds, strict=True))
                of_best = statistics.median(relay / full for full, relay, _ in rounds)
                speeds = [f"{speed:,.0f}" for speed in (best, ours, single)]
                rows.append([kind, *speeds, f"{of_best:.2f}x", f"{ours / single:.0f}x"])
        alone, together = side_by_side(directory / "several", arguments.rounds)
        nothing, cost = call_cost(directory, arguments.rounds)
        most = None if arguments.no_million else million(directory)
    header = [
        "points a second",
        "full batches",
        "relay",
        "one by one",
        "relay / full batches",
        "relay / one by one",
    ]
    content = (
        page.circumstances(["mlflow", "sqlalchemy", "hydra-gce-launcher"], load)
        + f"\nMedian of {arguments.rounds} rounds, turn by turn; {POINTS:,} records of one metric each.\n\n"
        + page.table(header, rows)
        + f"\n{RUNS} runs of {POINTS // RUNS:,} points each into a server with {WORKERS} workers: "
        f"{alone:,.0f} points a second one after the other, {together:,.0f} side by side ({together / alone:.2f}x).\n"
        + f"\nOne `mlflow.log_metric` on a VM: {cost:.0f} µs; into a store that does nothing: {nothing:.0f} µs.\n"
        + (f"\nA journal of a million points: {most:,.0f} MB of memory at most.\n" if most else "")
    )
    print(content)
    if not arguments.dry:
        page.replace_section("tracking", content)


if __name__ == "__main__":
    main()
