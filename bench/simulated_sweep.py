"""What the laptop's side of a large sweep takes: memory, processor time, requests, by the number of jobs.

    python -m bench.simulated_sweep [--jobs 10 100 1000] [--vms 200] [--tracking none auto] [--dry]

The launcher is the real one and works against the embedded Compute Engine and its Cloud Storage. Only the VMs are not
there: one process does for all of them what their agents would do to the bucket and the API.

Ends with 1 when the largest sweep is over a budget. Processor time is what counts: the wall time of a busy machine
tells of its other work, and of the simulated VMs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import page
from bench.simulation import cloud, program
from bench.simulation.laptop import Laptop, Usage
from hydra_gce.local.home import Home

MEMORY_BUDGET_MB = 400
PROCESSOR_BUDGET_MS = 50
JOB_S = 8.0
PACKAGES = ("hydra-core", "mlflow", "google-cloud-storage", "google-cloud-compute", "hydra-gce-launcher")


@dataclass(frozen=True)
class Sweep:
    """One sweep that was measured. ``requests`` counts those of the launcher by kind; ``wall_s`` is of all of it."""

    jobs: int
    vms: int
    tracking: str
    usage: Usage
    requests: Counter[str]
    wall_s: float

    @property
    def memory_mb(self) -> float:
        return self.usage.memory_bytes / 1e6

    @property
    def job_ms(self) -> float:
        """Processor time for a job, from the first VM that was asked for to the end."""
        return self.usage.watch_s / self.jobs * 1e3

    @property
    def ticks(self) -> int:
        return self.requests["list status"]

    @property
    def pages_of_statuses(self) -> float:
        return (self.ticks + self.requests["list status (next page)"]) / self.ticks

    @property
    def pages_of_vms(self) -> float:
        listed = sum(
            count
            for kind, count in self.requests.items()
            if kind.startswith(("instances.list", "instances.agg"))
        )
        return listed / self.ticks

    @property
    def ledgers(self) -> float:
        return self.requests["POST ledger"] / self.ticks

    @property
    def per_vm(self) -> float:
        """Requests to Compute Engine that a VM's making and deleting took."""
        kinds = ("instances.insert", "instances.delete", "instances.get", "operations.")
        return sum(count for kind, count in self.requests.items() if kind.startswith(kinds)) / self.vms

    @property
    def per_job(self) -> float:
        """Requests to Cloud Storage that a job's end took: claim, result, outputs, journal."""
        kinds = (" claim", " result", " output", " journal", " artifacts")
        return sum(count for kind, count in self.requests.items() if kind.endswith(kinds)) / self.jobs


def run_sweep(
    jobs: int, vms: int, tracking: str, scratch: Path, profiler: Sequence[str] = (), job_s: float = JOB_S
) -> Sweep:
    """One sweep from the shell's side, in a cloud of its own. ``job_s``: about how long a simulated job takes."""
    vms = min(jobs, vms)
    home = scratch / "home"
    folder = scratch / "app"
    folder.mkdir(parents=True)
    shutil.copy(program.__file__, folder / "program.py")
    environ = {
        **os.environ,
        "PYTHONPATH": str(page.ROOT),
        "HYDRA_GCE_HOME": str(home),
        "BENCH_REQUESTS": str(scratch / "requests.json"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{scratch}/mlflow.db",
        "TERM": "xterm-256color",
    }
    environ.pop("CI", None)
    command = [
        *profiler, sys.executable, "program.py", "--multirun", f"+x=range(0,{jobs})",
        f"hydra.sweep.dir={scratch}/multirun", "hydra/launcher=gce", "hydra.launcher.backend=local",
        "hydra.launcher.vm.machine_type=e2-small", f"hydra.launcher.max_vms={vms}",
        f"hydra.launcher.tracking.mode={tracking}",
    ]  # fmt: skip
    agents = subprocess.Popen(
        [sys.executable, "-m", "bench.simulation.agents", str(vms), str(job_s)],
        cwd=page.ROOT,
        stdin=subprocess.PIPE,
        text=True,
    )
    try:
        with cloud.serving(Home(home / "local"), agents) as server:
            began = time.perf_counter()
            laptop = Laptop(command, folder, environ)
            server.on_first_insert = laptop.asks
            try:
                usage = laptop.wait()
            finally:
                laptop.end()
            wall_s = time.perf_counter() - began
            requests = Counter(server.requests) + Counter(json.loads((scratch / "requests.json").read_text()))
    finally:
        assert agents.stdin is not None
        agents.stdin.close()
        agents.terminate()
        agents.wait()
    return Sweep(jobs, vms, tracking, usage, requests, wall_s)


def section(sweeps: Sequence[Sweep], circumstances: str) -> str:
    """The Markdown that goes into the page."""
    header = [
        "jobs", "VMs", "MLflow", "memory, MB", "CPU per job, ms", "CPU in all, s", "before, s",
        "ticks", "pages of statuses", "pages of VMs", "ledgers", "per VM", "per job",
    ]  # fmt: skip
    rows = [
        [
            f"{sweep.jobs:,}",
            str(sweep.vms),
            "no" if sweep.tracking == "none" else "yes",
            f"{sweep.memory_mb:.0f}",
            f"{sweep.job_ms:.0f}",
            f"{sweep.usage.watch_s:.1f}",
            f"{sweep.usage.start_s:.1f}",
            str(sweep.ticks),
            f"{sweep.pages_of_statuses:.2f}",
            f"{sweep.pages_of_vms:.2f}",
            f"{sweep.ledgers:.2f}",
            f"{sweep.per_vm:.1f}",
            f"{sweep.per_job:.1f}",
        ]
        for sweep in sweeps
    ]
    return f"{circumstances}\n{page.table(header, rows)}"


def over_budget(sweeps: Sequence[Sweep]) -> list[str]:
    """What the largest sweeps took too much of, in sentences."""
    most = max(sweep.jobs for sweep in sweeps)
    said = []
    for sweep in sweeps:
        if sweep.jobs != most or sweep.tracking != "none":
            continue
        if sweep.memory_mb > MEMORY_BUDGET_MB:
            said.append(f"{sweep.memory_mb:.0f} MB of memory are more than {MEMORY_BUDGET_MB} MB.")
        if sweep.job_ms > PROCESSOR_BUDGET_MS:
            said.append(
                f"{sweep.job_ms:.0f} ms of processor time per job are more than {PROCESSOR_BUDGET_MS} ms."
            )
    return said


def said_of(requests: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(requests.items()))


def main() -> int:
    """Measures, prints the table, writes it into the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--vms", type=int, default=200)
    parser.add_argument("--tracking", nargs="+", default=["none", "auto"], choices=["none", "auto"])
    parser.add_argument("--dry", action="store_true", help="print the table, leave the page alone")
    parser.add_argument("--profiler", default="", help="a command to start the launcher with")
    options = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left running
    load = page.load()
    sweeps = []
    for tracking in options.tracking:
        for jobs in options.jobs:
            with tempfile.TemporaryDirectory(prefix="simulated-sweep-") as scratch:
                sweep = run_sweep(jobs, options.vms, tracking, Path(scratch), options.profiler.split())
            sweeps.append(sweep)
            print(
                f"{jobs} jobs, MLflow {tracking}: {sweep.wall_s:.0f} s; {said_of(sweep.requests)}", flush=True
            )
    content = section(sweeps, page.circumstances(PACKAGES, load))
    print(content)
    if not options.dry:
        page.replace_section("simulated-sweep", content)
    over = over_budget(sweeps)
    print("\n".join(over), file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
