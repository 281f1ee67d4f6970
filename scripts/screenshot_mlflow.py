"""A picture of MLflow's compare page, taken with a real browser: what a person sees after a sweep.

    python scripts/screenshot_mlflow.py --backend-store-uri sqlite:///mlflow.db
    python scripts/screenshot_mlflow.py --experiment unet --newest 4 --output docs/images/compare.png

Needs Chromium and its driver (Debian: ``apt-get install chromium chromium-driver``), and selenium.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities import Run
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

SWEEP_TAG = "hydra_gce.sweep"
PARENT_TAG = "mlflow.parentRunId"
SERVER_START_S = 120
PAGE_READY_S = 90

CHART = ".js-plotly-plot .main-svg"
ASSISTANT_CLOSE = "[data-component-id='mlflow.assistant.chat_panel.close']"
METRIC_CHOICE = "//*[text()='Metrics:']/following::input[@role='combobox'][1]"

BROWSER_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # Chromium's sandbox refuses to work for root, which is who one is in a container
    "--disable-gpu",
    "--enable-unsafe-swiftshader",  # the parallel-coordinates chart is WebGL
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # the picture needs nothing from elsewhere
)


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _arguments(arguments)
    runs = runs_to_compare(MlflowClient(tracking_uri=asked.backend_store_uri), asked.experiment, asked.newest)
    if len(runs) < 2:
        print(f"{asked.backend_store_uri}: {len(runs)} run found, a comparison needs two", file=sys.stderr)
        return 1
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    with mlflow_server(asked.backend_store_uri) as address, chromium(asked.size) as browser:
        browser.get(compare_page(address, runs))
        wait_for_comparison(browser, runs)
        bring_to_the_point(browser, asked.metric)
        browser.save_screenshot(str(asked.output))
    print(f"{asked.output}: {', '.join(run.info.run_name or run.info.run_id for run in runs)}")
    return 0


def runs_to_compare(client: MlflowClient, experiment: str | None, newest: int) -> list[Run]:
    """The newest runs of ``experiment``, or else all points of the newest sweep, oldest first."""
    names = {found.name: found.experiment_id for found in client.search_experiments()}
    if experiment is not None:
        if experiment not in names:
            raise SystemExit(f"no experiment is named {experiment!r}; there are: {', '.join(sorted(names))}")
        newest_first = client.search_runs(
            [names[experiment]], order_by=["start_time DESC"], max_results=newest
        )
        return list(reversed(newest_first))
    everywhere = list(names.values())
    latest = client.search_runs(
        everywhere, f"tags.`{SWEEP_TAG}` LIKE '%'", order_by=["start_time DESC"], max_results=1
    )
    if not latest:
        raise SystemExit(f"no run has the tag {SWEEP_TAG}: name an experiment with --experiment")
    sweep = latest[0].data.tags[SWEEP_TAG]
    found = client.search_runs(everywhere, f"tags.`{SWEEP_TAG}` = '{sweep}'", order_by=["start_time ASC"])
    return [run for run in found if PARENT_TAG in run.data.tags]


def compare_page(address: str, runs: Sequence[Run]) -> str:
    ids = json.dumps([run.info.run_id for run in runs])
    experiments = json.dumps(sorted({run.info.experiment_id for run in runs}))
    return f"{address}/#/compare-runs?runs={quote(ids)}&experiments={quote(experiments)}"


@contextmanager
def mlflow_server(store: str) -> Iterator[str]:
    """MLflow's server over ``store`` on a free port of this machine; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **quiet}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait_for_server(server, address)
            yield address
        except (TimeoutError, ChildProcessError):
            log.seek(0)
            print(log.read()[-4000:], file=sys.stderr)
            raise
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()


def _wait_for_server(server: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + SERVER_START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ChildProcessError(f"mlflow server ended with {server.returncode} before it answered")
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.3)
    raise TimeoutError(f"mlflow server did not answer at {address} within {SERVER_START_S} s")


@contextmanager
def chromium(size: tuple[int, int]) -> Iterator[webdriver.Chrome]:
    binary, driver = _found("chromium", "chromium-browser", "google-chrome"), _found("chromedriver")
    with tempfile.TemporaryDirectory(prefix="chromium-") as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for flag in (*BROWSER_FLAGS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"):
            options.add_argument(flag)
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        try:
            # A window is as large as its frame; the picture is to be exactly as large as asked.
            metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            yield browser
        finally:
            browser.quit()


def _found(*names: str) -> str:
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    raise SystemExit(f"{names[0]} is not installed (Debian: apt-get install chromium chromium-driver)")


def wait_for_comparison(browser: webdriver.Chrome, runs: Sequence[Run]) -> None:
    """Until every run, what differs between them and their metrics are on the page and a chart is drawn."""
    wanted = {run.info.run_name or run.info.run_id for run in runs}
    wanted |= {name for run in runs for name in run.data.metrics}
    settings = {setting for run in runs for setting in run.data.params.items()}
    wanted |= {name for name, value in settings if any(run.data.params.get(name) != value for run in runs)}

    def missing() -> set[str]:
        text = browser.find_element(By.TAG_NAME, "body").get_attribute("textContent") or ""
        return {name for name in wanted if name not in text}

    def is_drawn(_: object) -> bool:
        return not missing() and bool(browser.find_elements(By.CSS_SELECTOR, CHART))

    try:
        WebDriverWait(browser, PAGE_READY_S).until(is_drawn)
    except TimeoutException as error:
        raise SystemExit(
            f"MLflow's page did not get ready in {PAGE_READY_S} s; missing on it: {sorted(missing())[:10]}"
        ) from error


def bring_to_the_point(browser: webdriver.Chrome, metric: str | None) -> None:
    """Closes MLflow's assistant, shows the parameters that differ only, draws ``metric``."""
    for closing in browser.find_elements(By.CSS_SELECTOR, ASSISTANT_CLOSE):
        closing.click()
        WebDriverWait(browser, PAGE_READY_S).until(
            lambda _: not browser.find_elements(By.CSS_SELECTOR, ASSISTANT_CLOSE)
        )
    for switch in browser.find_elements(By.CSS_SELECTOR, "[aria-label='Parameters - Show diff only']"):
        browser.execute_script("arguments[0].click()", switch)
    if metric is not None:
        choice = browser.find_element(By.XPATH, METRIC_CHOICE)
        choice.send_keys(Keys.BACKSPACE, metric, Keys.ENTER, Keys.ESCAPE)
        drawn = f"//*[contains(@class, 'js-plotly-plot')]//*[text()='{metric}']"
        WebDriverWait(browser, PAGE_READY_S).until(lambda _: browser.find_elements(By.XPATH, drawn))
    browser.execute_script("document.activeElement.blur(); window.dispatchEvent(new Event('resize'))")
    _wait_until_still(browser)


def _wait_until_still(browser: webdriver.Chrome) -> None:
    """Charts and panels move into place; two pictures in a row that are the same say that they are there."""
    before = [b""]

    def same(_: object) -> bool:
        time.sleep(0.5)
        before.append(browser.get_screenshot_as_png())
        return before[-1] == before[-2]

    WebDriverWait(browser, PAGE_READY_S).until(same)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--backend-store-uri", default=os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    )
    parser.add_argument("--experiment", help="its newest runs, instead of the newest sweep's")
    parser.add_argument("--newest", type=int, default=2, help="how many runs of --experiment (2)")
    parser.add_argument("--metric", help="what the chart shows (MLflow's choice)")
    parser.add_argument("--output", type=Path, default=Path("docs/images/compare.png"))
    parser.add_argument("--size", type=_size, default=(1400, 1440), help="pixels, 1400x1440")
    return parser.parse_args(arguments)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


if __name__ == "__main__":
    sys.exit(main())
