"""A real browser that is driven by a script.

Needs Chromium and its driver (Debian: ``apt-get install chromium chromium-driver``), and selenium.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from selenium import webdriver

_FLAGS = (
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
    # A mouse that can hover, as at a desk: what charts show only below it is not there all the time.
    "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # the picture needs nothing from elsewhere
)


@contextmanager
def chromium(size: tuple[int, int]) -> Iterator[webdriver.Chrome]:
    """Without a window on any screen; ``size`` of the page, in pixels."""
    binary, driver = _found("chromium", "chromium-browser", "google-chrome"), _found("chromedriver")
    with tempfile.TemporaryDirectory(prefix="chromium-") as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"):
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
