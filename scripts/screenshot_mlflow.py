"""Pictures of MLflow's pages of a sweep, taken with a real browser: what a person sees after `hydra-gce ui`.

    python -m scripts.screenshot_mlflow --backend-store-uri sqlite:///mlflow.db

takes of the newest sweep there the curves of its runs (curves.png), and what differs between them beside a picture that
each has logged (compare.png). Those in docs/images are of `make sweep`.

Needs Chromium and its driver (Debian: ``apt-get install chromium chromium-driver``), and selenium.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from bench.mlflow_server import MLflowServer
from hydra_gce.tracking import links
from hydra_gce.tracking.relay.address import from_anywhere
from hydra_gce.tracking.relay.destination import SWEEP_TAG
from scripts.chromium import chromium

WIDTH = 1400
COMPARED_HEIGHT, CURVES_HEIGHT = 1500, 680
PAGE_READY_S = 180

CHART = ".js-plotly-plot .main-svg"
ASSISTANT_CLOSE = "[data-component-id='mlflow.assistant.chat_panel.close']"
ONLY_WHAT_DIFFERS = "[aria-label='Parameters - Show diff only']"
CHART_SEARCH = "//input[@placeholder='Search metric charts']"


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _arguments(arguments)
    store = asked.backend_store_uri
    client = MlflowClient(tracking_uri=store)
    sweep = newest_sweep(client)
    ids, experiments = links.points_of(store, sweep)
    if len(ids) < 2:
        print(f"sweep {sweep} has {len(ids)} run, a comparison needs two", file=sys.stderr)
        return 1
    runs = [client.get_run(run) for run in ids]
    asked.into.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="screenshot-") as scratch,
        MLflowServer(Path(scratch), store=from_anywhere(store)) as server,
    ):
        with chromium((WIDTH, COMPARED_HEIGHT)) as browser:
            browser.get(links.runs_page(server.uri, sweep, ids, experiments))
            wait_for_comparison(browser, runs)
            close_assistant(browser)
            show_pictures(browser, asked.picture, len(runs))
            _save(browser, asked.into / "compare.png")
        with chromium((WIDTH, CURVES_HEIGHT)) as browser:
            browser.get(links.curves_page(server.uri, sweep, experiments))
            _wait(browser).until(lambda _: browser.find_elements(By.CSS_SELECTOR, CHART))
            close_assistant(browser)
            show_curves(browser, asked.curves)
            _save(browser, asked.into / "curves.png")
    return 0


def newest_sweep(client: MlflowClient) -> str:
    """:raises SystemExit: there is none."""
    everywhere = [found.experiment_id for found in client.search_experiments()]
    latest = client.search_runs(
        everywhere, f"tags.`{SWEEP_TAG}` LIKE '%'", order_by=["start_time DESC"], max_results=1
    )
    if not latest:
        raise SystemExit(f"no run has the tag {SWEEP_TAG}")
    return str(latest[0].data.tags[SWEEP_TAG])


def wait_for_comparison(browser: webdriver.Chrome, runs: Sequence[Run]) -> None:
    """Until every run and what differs between them is on the page, and a chart is drawn; other settings are hidden."""
    names = {run.info.run_name or run.info.run_id for run in runs}
    settings = {setting for run in runs for setting in run.data.params.items()}
    differing = {name for name, value in settings if any(run.data.params.get(name) != value for run in runs)}
    _wait_for_text(browser, names)
    _wait(browser).until(lambda _: browser.find_elements(By.CSS_SELECTOR, CHART))
    for switch in browser.find_elements(By.CSS_SELECTOR, ONLY_WHAT_DIFFERS):
        browser.execute_script("arguments[0].click()", switch)
    _wait_for_text(browser, differing)


def _wait_for_text(browser: webdriver.Chrome, wanted: set[str]) -> None:
    def missing() -> set[str]:
        text = browser.find_element(By.TAG_NAME, "body").get_attribute("textContent") or ""
        return {name for name in wanted if name not in text}

    try:
        _wait(browser).until(lambda _: not missing())
    except TimeoutException as error:
        raise SystemExit(
            f"MLflow's page did not get ready in {PAGE_READY_S} s; missing on it: {sorted(missing())[:10]}"
        ) from error


def close_assistant(browser: webdriver.Chrome) -> None:
    """MLflow's own, which takes a quarter of the page."""
    for closing in browser.find_elements(By.CSS_SELECTOR, ASSISTANT_CLOSE):
        closing.click()
        _wait(browser).until(lambda _: not browser.find_elements(By.CSS_SELECTOR, ASSISTANT_CLOSE))


def show_pictures(browser: webdriver.Chrome, picture: str, runs: int) -> None:
    """Opens the file of every run, and folds what stands above it, but for their names and parameters."""
    for section in ("Visualizations", "Metrics"):
        browser.find_element(By.XPATH, f"//*[text()='{section}']").click()
    browser.find_element(By.XPATH, f"//*[text()='{picture}']").click()
    loaded = "return [...document.images].filter((image) => image.naturalWidth > 200).length"
    _wait(browser).until(lambda _: browser.execute_script(loaded) >= runs)


def show_curves(browser: webdriver.Chrome, names: str) -> None:
    browser.find_element(By.XPATH, CHART_SEARCH).send_keys(names)


def _save(browser: webdriver.Chrome, file: Path) -> None:
    """Charts and panels move into place; two pictures in a row that are the same say that they are there."""
    browser.execute_script("document.activeElement.blur(); window.dispatchEvent(new Event('resize'))")
    before = [b""]

    def same(_: object) -> bool:
        time.sleep(2)
        before.append(browser.get_screenshot_as_png())
        return before[-1] == before[-2]

    _wait(browser).until(same)
    Image.open(BytesIO(before[-1])).convert("RGB").quantize(256).save(file, optimize=True)  # half as large
    print(file)


def _wait(browser: webdriver.Chrome) -> WebDriverWait[webdriver.Chrome]:
    return WebDriverWait(browser, PAGE_READY_S)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--backend-store-uri", default=os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    )
    parser.add_argument("--picture", default="predictions.png", help="an artifact of each run")
    parser.add_argument(
        "--curves", default="^(loss|val_miou|val_dice)$", metavar="REGEX", help="which metrics"
    )
    parser.add_argument("--into", type=Path, default=Path("docs/images"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
