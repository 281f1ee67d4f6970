"""The page on single runs, followed as it is written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.walked_page import script_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_page_can_be_followed(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash"],
        input=script_of("single-runs.md"),
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [
        "$ hydra-gce run --spot -- python train.py +lr=1e-3",
        "step 0",
        "step 1",
        *(line for line in done.stdout.splitlines() if line.endswith("[__main__][INFO] - loss 0.3")),
        "$ python one.py",
        "0.2",
        "$ python many.py",
        "[0.2, 0.02]",
        "$ python later.py",
        "COMPLETED 0.2",
        "COMPLETED 0.02",
    ]
    assert "loss 0.3" in done.stdout
