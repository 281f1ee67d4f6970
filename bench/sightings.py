"""When a metric point is there for others: in the store, over its server's REST API, and on a page in a browser.

A point's value is the moment of the program's call, in seconds since the Epoch: so whoever sees a point sees how old it
is. What was seen is kept as the moment of each call with the moment when its point was seen first.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlencode

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

METRIC = "called_at"
Sightings = Mapping[float, float]

_ASK_EVERY_S = 0.25
_ANSWER_S = 60.0
_DRAWN_S = 120.0
_DRAWN = """
[...document.querySelectorAll(".js-plotly-plot")].flatMap((plot) =>
  (plot.calcdata || []).flatMap((curve) => curve.map((point) => point.y).filter(Number.isFinite)))
"""
_NOTE_WHAT_IS_DRAWN = f"""
window.sightings = {{}};
setInterval(() => {{
  for (const call of {_DRAWN.strip()}) window.sightings[call] ??= Date.now() / 1000;
}}, 100);
"""


class StoreWatch:
    """Asks a server for the runs' histories four times a second, in a thread of its own."""

    def __init__(self, server: str, runs: Sequence[str]) -> None:
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._seen: dict[str, dict[float, float]] = {run: {} for run in runs}

    def __enter__(self) -> StoreWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def sightings(self) -> Sightings:
        return {call: seen for points in self._seen.values() for call, seen in list(points.items())}

    def calls(self, runs: Sequence[str], since: float, until: float) -> list[float] | None:
        """All calls of that time; None while one may be on its way still."""
        known = [list(self._seen[run]) for run in runs]
        if any(not calls or max(calls) < until for calls in known):
            return None
        return [call for calls in known for call in calls if since <= call < until]

    def _work(self) -> None:
        while not self._stop.wait(_ASK_EVERY_S):
            for run, seen in self._seen.items():
                with suppress(OSError):  # a server that is busy says so, and is asked again
                    for call in history(self._server, run):
                        seen.setdefault(call, time.time())


def history(server: str, run: str) -> list[float]:
    """The values of a run's points."""
    asked = urlencode({"run_id": run, "metric_key": METRIC, "max_results": 25_000})
    url = f"{server}/api/2.0/mlflow/metrics/get-history?{asked}"
    with urllib.request.urlopen(url, timeout=_ANSWER_S) as answer:
        return [float(metric["value"]) for metric in json.load(answer).get("metrics", [])]


class Page:
    """A page with charts in a window of its own, which is left alone: what is new, it fetches itself."""

    def __init__(self, browser: webdriver.Chrome, address: str) -> None:
        self._browser = browser
        browser.switch_to.new_window("window")
        self._window = browser.current_window_handle
        browser.get(address)
        _drawn(browser)
        browser.execute_script(_NOTE_WHAT_IS_DRAWN)

    def sightings(self) -> Sightings:
        """When its charts drew which point; they are looked at ten times a second."""
        self._browser.switch_to.window(self._window)
        found: dict[str, float] = self._browser.execute_script("return window.sightings")
        return {float(call): seen for call, seen in found.items()}

    def close(self) -> None:
        self._browser.switch_to.window(self._window)
        self._browser.close()
        self._browser.switch_to.window(self._browser.window_handles[0])


def reloading(
    browser: webdriver.Chrome, address: str, pause_s: float, ages: Callable[[Sightings], list[float] | None]
) -> list[float]:
    """A page that is loaded anew ``pause_s`` after its charts were drawn, until ``ages`` of what was seen are known."""
    browser.get(address)
    sightings: dict[float, float] = {}
    while True:
        drawn = _drawn(browser)
        now = time.time()
        for call in drawn:
            sightings.setdefault(call, now)
        if (found := ages(sightings)) is not None:
            return found
        time.sleep(pause_s)
        browser.refresh()


def _drawn(browser: webdriver.Chrome) -> list[float]:
    """What the page's charts draw, as soon as there is any."""
    wait = WebDriverWait(browser, _DRAWN_S, poll_frequency=0.1)
    drawn: list[float] = wait.until(lambda _: browser.execute_script(f"return {_DRAWN.strip()}"))
    return drawn
