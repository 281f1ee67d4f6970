"""A sweep in a notebook: an output that is replaced in place, and readable in the file that is saved."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parents[2]
PLAY = f"""\
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from tests.display.played import play, three_jobs
looks = iter(range(100))
play(Path({{directory!r}}), three_jobs(), lambda stage: next(looks) % 3 == 2)
"""


def run(source: str) -> list[Any]:
    """The outputs of a cell, as a notebook keeps them."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs: list[Any] = notebook.cells[0].outputs
    return outputs


def test_one_output_of_the_cell_is_replaced_until_it_is_the_end(tmp_path: Path) -> None:
    outputs = run(PLAY.format(directory=str(tmp_path)))
    shown = [one for one in outputs if one.output_type == "display_data"]
    assert len(shown) == 1, outputs
    assert not any("RUNNING" in one.get("text", "") for one in outputs)
    plain, html = shown[0].data["text/plain"], shown[0].data["text/html"]
    for text in (plain, re.sub("<[^>]*>", "", html)):
        assert "\x1b" not in text
        assert re.search(r"1 +lr=2e-3 +0\.82300", text)
        assert "sweep calm-otter" in text and "hydra-gce retry calm-otter" in text
        assert "RUNNING" not in text
    assert html.startswith("<pre") and "color" in html


def test_a_program_that_a_cell_starts_gets_lines(tmp_path: Path) -> None:
    for stage in range(3):
        (tmp_path / str(stage)).touch()
    outputs = run(f"!cd {ROOT} && {{__import__('sys').executable}} -m tests.display.played {tmp_path} 3")
    text = "".join(one.get("text", "") for one in outputs)
    assert re.search(r"\d\d:\d\d:\d\d  hydra-gce  sweep calm-otter", text), outputs
    assert "\x1b" not in text
    assert "hydra-gce retry calm-otter" in text


@pytest.fixture(autouse=True)
def _a_kernel_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jupyter's files go into the test's directory, and ``python3`` is this Python."""
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
