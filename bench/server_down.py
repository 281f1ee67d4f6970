"""What a training on a VM feels of an MLflow server that is down: the time of its steps, each of which logs a metric.

    python -m bench.server_down [--seconds 60] [--dry]

Two sweeps of one point run at the same time on the embedded Compute Engine, into one server: one logs to it itself,
one durably. After so many seconds the server's process is killed, and started again after as many. Each program notes
when each step began and how long it took; at the end its steps are counted in the server.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import page
from bench.mlflow_server import MLflowServer, address_seen_by_vms
from bench.noop_sweep import stop_server

PROGRAM = """\
import json
import time
from pathlib import Path

import hydra
import mlflow
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path=None)
def main(config: DictConfig) -> None:
    step = 0
    notes = Path(HydraConfig.get().runtime.output_dir, "steps.jsonl").open("w", buffering=1)
    with notes, mlflow.start_run():
        until = time.time() + config.seconds
        while time.time() < until:
            began, clock = time.time(), time.perf_counter()
            loss = sum(number**-2.0 for number in range(1, 20_000))  # some milliseconds of work
            mlflow.log_metric("loss", loss, step=step)
            took = time.perf_counter() - clock
            step += 1
            notes.write(f"{json.dumps((began, took))}\\n")


if __name__ == "__main__":
    main()
"""
MODES = {
    "direct": ("hydra.launcher.tracking.mode=direct",),
    "direct, durable": ("hydra.launcher.tracking.mode=direct", "hydra.launcher.tracking.durable=true"),
}
GCE = (
    "hydra/launcher=gce",
    "hydra.launcher.backend=local",
    "hydra.launcher.vm.machine_type=e2-small",
    "hydra.launcher.env.requirements=none",
)
PACKAGES = ("mlflow", "hydra-core", "hydra-gce-launcher")
LIMIT_S = 900.0


@dataclass
class Sweep:
    """One point's, in one mode; ``steps`` are when each began and how many seconds it took, ``error`` is what the
    program died of.
    """

    mode: str
    directory: Path
    process: subprocess.Popen[bytes]
    steps: list[tuple[float, float]] = field(default_factory=list)
    error: str = ""

    @property
    def experiment(self) -> str:
        return experiment_of(self.mode)

    def end(self) -> None:
        """Waits for it, and reads what its program noted."""
        if self.process.wait(LIMIT_S):
            said = (self.directory / "log").read_text().splitlines()
            self.error = next((line for line in said if " failed: " in line), said[-1]).partition(": ")[2]
        notes = next(self.directory.rglob("steps.jsonl")).read_text().splitlines()
        self.steps = [(began, took) for began, took in map(json.loads, notes)]


def experiment_of(mode: str) -> str:
    return mode.replace(", ", "-")


def launch(mode: str, directory: Path, seconds: float, environ: Mapping[str, str]) -> Sweep:
    directory.mkdir(parents=True)
    (directory / "app.py").write_text(PROGRAM, encoding="utf-8")
    command = [sys.executable, "app.py", "--multirun", f"+seconds={seconds}", *GCE, *MODES[mode]]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"hydra.sweep.dir={directory}/sweep"],
            cwd=directory,
            env={**environ, "MLFLOW_EXPERIMENT_NAME": experiment_of(mode)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    return Sweep(mode, directory, process)


def logged(uri: str, experiment: str) -> int:
    """How many steps the server has of a sweep's point."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id]) if found else []
    return sum(
        len({point.step for point in client.get_metric_history(run.info.run_id, "loss")})
        for run in runs
        if "loss" in run.data.metrics
    )


def wait_for_first_steps(uri: str, sweeps: Sequence[Sweep]) -> None:
    """:raises SystemExit: a sweep ended before, or none came."""
    until = time.monotonic() + LIMIT_S
    while not all(logged(uri, sweep.experiment) for sweep in sweeps):
        for sweep in sweeps:
            if sweep.process.poll() is not None:
                raise SystemExit(f"{sweep.mode}: {(sweep.directory / 'log').read_text()}")
        if time.monotonic() > until:
            raise SystemExit("no step came to the server")
        time.sleep(1)


def distribution(seconds: Sequence[float]) -> list[str]:
    """How many, their median, their 99th percentile and the longest, in ms."""
    ordered = sorted(seconds)
    if not ordered:
        return ["0", "-", "-", "-"]
    places = (len(ordered) // 2, min(len(ordered) - 1, len(ordered) * 99 // 100), len(ordered) - 1)
    return [f"{len(ordered):,}", *(f"{ordered[place] * 1000:,.1f}" for place in places)]


def measure(seconds: float) -> tuple[list[list[str]], list[str]]:
    """Rows of the table, and what became of the records, a line for each mode."""
    host = address_seen_by_vms()
    if host is None:
        raise SystemExit("this machine has no address but its loopback, which no VM sees")
    with (
        tempfile.TemporaryDirectory(prefix="server-down-") as scratch,
        MLflowServer(Path(scratch) / "server", host) as server,
    ):
        environ = {**os.environ, **server.environment, "HYDRA_GCE_HOME": f"{scratch}/home"}
        sweeps: list[Sweep] = []
        try:
            # Longer than both phases, so that the programs still log when the server is back.
            for mode in MODES:
                sweeps.append(launch(mode, Path(scratch) / experiment_of(mode), 3 * seconds + 60, environ))
            wait_for_first_steps(server.uri, sweeps)
            up = time.time()
            time.sleep(seconds)
            down = time.time()
            server.kill()
            time.sleep(seconds)
            server.start()
            back = time.time()
            for sweep in sweeps:
                sweep.end()
            rows, fates = [], []
            for sweep in sweeps:
                for phase, first, last in (("up", up, down), ("down", down, back)):
                    took = [step for began, step in sweep.steps if first <= began < last]
                    rows.append([f"{sweep.mode}, server {phase}", *distribution(took)])
                there = logged(server.uri, sweep.experiment)
                died = f"; the program died of it: {sweep.error[:160]}" if sweep.error else ""
                fates.append(
                    f"{sweep.mode}: {len(sweep.steps):,} steps logged, {there:,} in the server at the end{died}"
                )
        finally:
            for sweep in sweeps:
                if sweep.process.poll() is None:
                    sweep.process.terminate()
                    sweep.process.wait(60)
            stop_server(environ)
    return rows, [f"The server was down for {back - down:.0f} s.", *fates]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the server is up, then down")
    parser.add_argument("--dry", action="store_true", help="print the table, leave the page alone")
    options = parser.parse_args()
    load = page.load()
    rows, fates = measure(options.seconds)
    content = (
        page.circumstances(PACKAGES, load)
        + "\nSteps by when they began; times in ms.\n\n"
        + page.table(["", "steps", "median", "p99", "longest"], rows)
        + "\n"
        + "".join(f"- {fate}\n" for fate in fates)
    )
    print(content)
    if not options.dry:
        page.replace_section("server-down", content)


if __name__ == "__main__":
    main()
