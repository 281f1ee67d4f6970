"""Pages that are made from the code are what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_settings_page_is_the_settings() -> None:
    made = subprocess.run(
        [sys.executable, "scripts/make_settings_page.py", "--check"], cwd=ROOT, check=False, timeout=60
    )
    assert made.returncode == 0, "run: python scripts/make_settings_page.py"
