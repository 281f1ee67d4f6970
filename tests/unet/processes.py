"""A training in a process of its own, by one of the modules beside this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def run(module: str, wanted: Mapping[str, Any], store: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m tests.unet.<module> <wanted as JSON>` to its end, with this tracking store."""
    return subprocess.run(
        [sys.executable, "-m", f"tests.unet.{module}", json.dumps(wanted)],
        cwd=ROOT,
        env={**os.environ, "MLFLOW_TRACKING_URI": store, "MLFLOW_EXPERIMENT_NAME": "tests"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
