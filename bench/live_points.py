"""How long after a program's call on a VM its metric point is in the store, and on MLflow's page in a real browser.

    python -m bench.live_points [--seconds 240] [--dry]

A sweep of two jobs runs on the embedded Compute Engine; each logs a point every one to five seconds, whose value is the
moment of the call. The launcher plays them into SQLite. Chromium has MLflow's pages open, from `hydra-gce ui` and from
MLflow's own server, and notes when it draws which point. The VMs are on this machine, so all moments are of one clock.

Needs Chromium and its driver (Debian: ``apt-get install chromium chromium-driver``), and selenium.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from mlflow import MlflowClient

from bench import page
from bench.mlflow_server import MLflowServer, free_port
from bench.sightings import METRIC, Page, Sightings, StoreWatch, history, reloading
from scripts.chromium import chromium
from scripts.embedded_lab import Lab

PROGRAM = f"""\
import random
import time

import hydra
import mlflow
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path=None)
def main(config: DictConfig) -> None:
    pauses = random.Random(config.seed)
    with mlflow.start_run():
        step = 0
        while True:
            time.sleep(pauses.uniform(1, 5))
            mlflow.log_metric("{METRIC}", time.time(), step=step)
            step += 1


if __name__ == "__main__":
    main()
"""
JOBS = 2
PACKAGES = ("mlflow", "hydra-core", "hydra-gce-launcher")
SIZE = (1400, 1000)
PATIENCE_S = 300.0
RELOAD_PAUSE_S = 1.0
RELOADING_SHARE = 0.4
IN_STORE = "in the store, over the REST API"
RELOADED = "`mlflow server`: a run's metrics, loaded again and again"

T = TypeVar("T")


@contextmanager
def sweep(directory: Path, store: str) -> Iterator[Lab]:
    """A launch that goes on and fills ``store``; the laptop that it is on."""
    lab = Lab(directory / "lab", directory / "home")
    lab.home.mkdir()
    lab.directory.mkdir()
    (lab.directory / "program.py").write_text(PROGRAM, encoding="utf-8")
    command = [
        sys.executable, "program.py", "-m", "hydra/launcher=gce", f"+seed=range({JOBS})",
        "hydra.launcher.backend=local", "hydra.launcher.vm.machine_type=e2-small",
        "hydra.launcher.env.requirements=none",
    ]  # fmt: skip
    environ = {**lab.environ, "MLFLOW_TRACKING_URI": store}
    said = directory / "said"
    with said.open("w") as out:
        launch = subprocess.Popen(command, cwd=lab.directory, env=environ, stdout=out, stderr=out)
        try:
            yield lab
            if launch.poll() is not None:
                raise SystemExit(f"the sweep ended too soon:\n{said.read_text()[-3000:]}")
        finally:
            launch.terminate()  # its VMs go with it
            launch.wait()
            lab.piped("hydra-gce local stop")


@contextmanager
def ui(lab: Lab) -> Iterator[tuple[str, str]]:
    """The server that `hydra-gce ui` starts, and the page that it opens."""
    command = [sys.executable, "-m", "hydra_gce.cli", "ui", "--no-browser", "--port", str(free_port())]
    with subprocess.Popen(
        command,
        cwd=lab.directory,
        env=lab.environ,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            server, _, path = process.stdout.readline().strip().partition("/#/")
            yield server, path
        finally:
            os.killpg(process.pid, signal.SIGTERM)  # its server, too


def runs_of(server: str) -> list[str]:
    """The ids of the jobs' runs, each with a point by now."""
    client = MlflowClient(server)

    def logging() -> list[str] | None:
        found = [run.info.run_id for run in client.search_runs(["0"], "tags.`hydra_gce.role` = 'point'")]
        return found if len(found) == JOBS and all(history(server, run) for run in found) else None

    return wait_for(logging, "not every job has logged a point")


def measure(seconds: float) -> dict[str, list[float]]:
    """How old the points were in seconds when they were seen first, by where that was."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="live-points-")))
        store = f"sqlite:///{scratch}/mlflow.db"
        plain = stack.enter_context(MLflowServer(scratch / "server", store=store)).uri
        lab = stack.enter_context(sweep(scratch, store))
        runs = runs_of(plain)
        live, curves = stack.enter_context(ui(lab))
        browser = stack.enter_context(chromium(SIZE))
        in_store = stack.enter_context(StoreWatch(plain, runs))
        one = runs[:1]
        run_page = f"experiments/0/runs/{runs[0]}/model-metrics"
        pages = {
            "`hydra-gce ui`: the sweep's curves": (runs, Page(browser, f"{live}/#/{curves}")),
            "`hydra-gce ui`: a run's metrics": (one, Page(browser, f"{live}/#/{run_page}")),
            "`mlflow server`: the sweep's curves": (runs, Page(browser, f"{plain}/#/{curves}")),
            "`mlflow server`: a run's metrics": (one, Page(browser, f"{plain}/#/{run_page}")),
        }
        since = time.time()
        end = since + seconds
        time.sleep(seconds)
        calls = wait_for(partial(in_store.calls, runs, since, end), "the next points are not in the store")
        ages = {IN_STORE: ages_of(calls, in_store.sightings) or []}
        for name, (shown_runs, shown) in pages.items():
            calls = in_store.calls(shown_runs, since, end) or []
            ages[name] = wait_for(partial(ages_on, shown, calls), f"points are not on {name}")
            shown.close()

        since = time.time()
        end = since + seconds * RELOADING_SHARE

        def reloaded(sightings: Sightings) -> list[float] | None:
            calls = in_store.calls(one, since, end)
            return None if calls is None else ages_of(calls, sightings)

        ages[RELOADED] = reloading(browser, f"{plain}/#/{run_page}", RELOAD_PAUSE_S, reloaded)
    return ages


def ages_on(shown: Page, calls: Sequence[float]) -> list[float] | None:
    return ages_of(calls, shown.sightings())


def ages_of(calls: Sequence[float], sightings: Sightings) -> list[float] | None:
    """From each call until its point was seen; None while one was not."""
    return [sightings[call] - call for call in calls] if set(calls) <= sightings.keys() else None


def wait_for(look: Callable[[], T | None], otherwise: str) -> T:
    """:raises SystemExit: it does not come."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if (found := look()) is not None:
            return found
        time.sleep(0.5)
    raise SystemExit(f"{otherwise} after {PATIENCE_S:.0f} s")


def spread(seconds: Sequence[float]) -> list[float]:
    """Least, median, nine tenths, most."""
    tenths = statistics.quantiles(seconds, n=10, method="inclusive")
    return [min(seconds), tenths[4], tenths[8], max(seconds)]


def section(ages: Mapping[str, Sequence[float]], circumstances: str) -> str:
    """The Markdown that goes into the page."""
    rows = [
        [name, str(len(seconds)), *map("{:.1f}".format, spread(seconds))] for name, seconds in ages.items()
    ]
    header = ["seconds from the call until the point is", "points", "least", "median", "90 %", "most"]
    return f"{circumstances}\n{page.table(header, rows)}"


def main() -> int:
    """Measures, prints the table, writes it into the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=240, help="how long pages stay open (240)")
    parser.add_argument("--dry", action="store_true", help="print the table, leave the page alone")
    options = parser.parse_args()

    load = page.load()
    content = section(measure(options.seconds), page.circumstances(PACKAGES, load))
    print(content)
    if not options.dry:
        page.replace_section("live-points", content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
