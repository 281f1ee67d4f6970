"""All that is shown of a sweep is in its log file as well: Hydra's own, or ours where Hydra writes none."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.utils import configure_log
from omegaconf import OmegaConf

from hydra_gce.display import Display
from hydra_gce.display.log import FILE_NAME
from hydra_gce.jobs import JobState
from tests.display.test_display import Terminal, done, job, view

ENVIRON = {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
CONSOLE = {
    "version": 1,
    "formatters": {"simple": {"format": "[%(levelname)s] %(message)s"}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "simple", "stream": "ext://sys.stdout"}
    },
    "root": {"level": "INFO", "handlers": ["console"]},
    "disable_existing_loggers": False,
}


@pytest.fixture(autouse=True)
def _logging_is_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)  # which forgets what loggers remember of it


def configure(
    monkeypatch: pytest.MonkeyPatch, *, file: Path | None = None, verbose: bool = False
) -> Terminal:
    """Hydra's logging, as it is when a launcher begins; the terminal."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    config = OmegaConf.create(CONSOLE)
    if file is not None:
        config.handlers.file = {"class": "logging.FileHandler", "formatter": "simple", "filename": str(file)}
        config.root.handlers.append("file")
    logging.getLogger().handlers[:] = []
    configure_log(config, verbose)
    return terminal


def shown(terminal: Terminal, log_dir: Path | None) -> str:
    display = Display.for_terminal(terminal, ENVIRON, log_dir)
    for second in range(3):
        news = [(1.0, "us-central1-a has no room")]
        failed = job(1, JobState.FAILED, note="out of memory")
        display.update(view([job(0, step=10 + second, total_steps=40), failed], second, news=news))
    display.close(view([done(0, 0.5), job(1, JobState.FAILED, note="out of memory")], 3))
    return terminal.getvalue()


def test_events_and_the_end_go_to_a_file_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_screen = shown(configure(monkeypatch), tmp_path)
    text = (tmp_path / FILE_NAME).read_text(encoding="utf-8")
    assert text.count("us-central1-a has no room") == 1
    assert text.count("[hydra_gce.sweep][ERROR] - job 1  FAILED") == 1
    assert "[hydra_gce.sweep][INFO] - again    hydra-gce retry calm-otter" in text
    assert "step 11" not in text  # nobody asked for more than the events
    assert "\x1b" not in text
    assert "[ERROR]" not in on_screen and "[INFO]" not in on_screen  # it is there in the table already


def test_what_hydra_writes_to_a_file_has_them_and_there_is_none_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown(configure(monkeypatch, file=tmp_path / "theirs.log"), tmp_path)
    assert "[ERROR] job 1  FAILED" in (tmp_path / "theirs.log").read_text(encoding="utf-8")
    assert not (tmp_path / FILE_NAME).exists()


def test_hydra_verbose_adds_every_step_to_the_log_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_screen = shown(configure(monkeypatch, verbose=True), tmp_path)
    text = (tmp_path / FILE_NAME).read_text(encoding="utf-8")
    assert "[DEBUG] - job 0  step 11/40" in text
    assert "[DEBUG]" not in on_screen


def test_what_else_is_logged_is_in_our_file_and_on_the_console(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = configure(monkeypatch)
    display = Display.for_terminal(terminal, ENVIRON, tmp_path)
    display.update(view([job(0)]))
    logging.getLogger("their.sweeper").info("a trial ended")
    display.close(view([done(0, 0.5)]))
    logging.getLogger("their.sweeper").info("after the sweep")
    assert terminal.getvalue().count("a trial ended") == 1
    text = (tmp_path / FILE_NAME).read_text(encoding="utf-8")
    assert "a trial ended" in text and "after the sweep" not in text


def test_without_hydra_there_is_a_file_all_the_same(tmp_path: Path) -> None:
    root = logging.getLogger()
    root.handlers[:] = []
    root.setLevel(logging.WARNING)
    shown(Terminal(), tmp_path)
    assert "us-central1-a has no room" in (tmp_path / FILE_NAME).read_text(encoding="utf-8")
    assert root.handlers == []


def test_without_a_directory_and_without_hydra_nothing_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    root.handlers[:] = []
    shown(Terminal(), None)
    assert capsys.readouterr().err == ""


def test_a_file_that_cannot_be_written_ends_no_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger().handlers[:] = []
    assert "RUNNING" in shown(Terminal(), tmp_path / "missing")
    assert capsys.readouterr().err == ""


def test_two_batches_of_a_sweep_are_in_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = configure(monkeypatch)
    for _ in range(2):
        shown(terminal, tmp_path)
    text = (tmp_path / FILE_NAME).read_text(encoding="utf-8")
    assert text.count("us-central1-a has no room") == 2


def test_a_pipe_has_each_line_once_with_hydras_logging_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch)
    stream = io.StringIO()
    display = Display.for_terminal(stream, {}, tmp_path)
    display.close(view([done(0, 0.5)], news=[(1.0, "us-central1-a has no room")]))
    assert stream.getvalue().count("us-central1-a has no room") == 1
