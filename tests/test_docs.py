"""Pages that are made from the code are what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from scripts import record_provisioning
from scripts.embedded_lab import Lab

ROOT = Path(__file__).parents[1]


def test_the_settings_page_is_the_settings() -> None:
    made = subprocess.run(
        [sys.executable, "scripts/make_settings_page.py", "--check"], cwd=ROOT, check=False, timeout=60
    )
    assert made.returncode == 0, "run: python scripts/make_settings_page.py"


def test_the_provisioning_page_says_of_refusals_what_the_launcher_says() -> None:
    page = record_provisioning.PAGE.read_text(encoding="utf-8")
    table = record_provisioning.refusals(Lab(ROOT, ROOT))
    made = record_provisioning.written(page, "refusals", table)
    assert made == page, "run: python -m scripts.record_provisioning refusals"
