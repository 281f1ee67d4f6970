"""What real terminals show of a sweep: 80x24 and 200x50, other sizes in the middle, no colours, no terminal at all."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.cells import cell_len

from scripts.terminal import Terminal
from tests.display.played import LOGGED

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "tests.display.played")
TIMED = re.compile(r"\d\d:\d\d:\d\d  \S")


@dataclass
class Played:
    """A sweep that goes on to the next stage when it is told to."""

    terminal: Terminal
    directory: Path

    def go_on(self, from_stage: int) -> None:
        (self.directory / str(from_stage)).touch()

    def until(self, pattern: str) -> str:
        """The first screen that is drawn to its end and has it, with not a line that is wider than the screen."""
        screen = self.terminal.wait_for(rf"{pattern}.*MLflow hydra-gce ui calm-otter\s*$")
        assert all(cell_len(line) <= self.terminal.columns for line in screen.splitlines())
        return screen

    def end(self, stages: int) -> str:
        for stage in range(stages):
            self.go_on(stage)
        assert self.terminal.end() == 0
        return self.terminal.transcript


Play = Callable[..., Played]


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    with ExitStack() as open_terminals:

        def start(
            columns: int,
            rows: int,
            jobs: int = 3,
            environ: Mapping[str, str] | None = None,
            reflows: bool = True,
        ) -> Played:
            terminal = Terminal(
                [*COMMAND, str(tmp_path), str(jobs)],
                columns,
                rows,
                environ=environ,
                cwd=ROOT,
                reflows=reflows,
            )
            return Played(open_terminals.enter_context(terminal), tmp_path)

        yield start


def test_80_columns_show_every_figure_of_every_job(play: Play) -> None:
    played = play(80, 24)
    played.until("2 .*PROVISIONING.*elapsed")
    played.go_on(0)
    screen = played.until("environment 38 s.*elapsed 2:00")
    for shown in (
        "hydra-gce  sweep calm-otter · 3 points · project ml-lab",
        "spot n1-standard-4 + T4",
        "estimate $0.16-0.31 (us-central1 cheapest) · code 41 files, 96 kB",
        "every point seed=7",
        "lr=1e-3",
        "RUNNING",
        "1,240/4,000 ██",
        "0.7810 ▁▄▆█",
        "16.0 images/s  best 0.7900  us-central1-a  T4  attempt 1  hg-calm-otter-0",
        "23 min",
        "$0.031",
        "about 41 min left",
        "$0.057 so far, about ",
        "best val_miou 0.7900 (job 0)",
        "MLflow hydra-gce ui calm-otter",
        "job 2 waits for us-central1-a, which is full; us-east1-c has room",
    ):
        assert shown in screen, f"{shown!r} is not in\n{screen}"
    played.go_on(1)
    screen = played.until("CUDA out of memory.*elapsed 4:00")
    told = "job 1 preempted in us-central1-a, back in us-central1-c, goes on from step 400"
    assert told in " ".join(screen.split())
    assert "us-central1-a→c  T4  attempt 2  hg-calm-otter-1-2" in screen
    assert "FAILED" in screen and "RuntimeError: CUDA out of memory  us-east1-c" in screen
    ended = played.end(3)
    assert ended.count("overrides") == 1, f"the live table is still there\n{ended}"


def test_the_end_has_the_best_first_what_each_cost_what_failed_and_how_to_go_on(play: Play) -> None:
    lines = play(80, 24).end(3).splitlines()
    at = next(number for number, line in enumerate(lines) if "overrides" in line)
    rows = [line.split()[:2] for line in lines[at + 1 : at + 4]]
    assert rows == [["1", "lr=2e-3"], ["0", "lr=1e-3"], ["2", "lr=3e-3"]]
    text = "\n".join(lines[at:])
    assert re.search(r"1 +lr=2e-3 +0\.82300 +2 +36:00 +\$0\.071 +a41fa41f…", text)
    for shown in (
        "by val_miou, highest first",
        "job 1  attempt 1 us-central1-a 21:00 $0.040\n       attempt 2 us-central1-c 15:00 $0.031",
        "job 2 failed: RuntimeError: CUDA out of memory\n  (logs: hydra-gce logs calm-otter --job 2)",
        "compare  hydra-gce ui calm-otter",
        "again    hydra-gce retry calm-otter",
        "$0.135 in all",
    ):
        assert shown in text, f"{shown!r} is not in\n{text}"


def test_200_columns_show_a_job_in_one_line(play: Play) -> None:
    played = play(200, 50)
    played.go_on(0)
    screen = played.until("environment 38 s.*elapsed 2:00")
    titles = "# overrides state attempt where VM GPU step pace val_miou best left cost"
    line = next(line for line in screen.splitlines() if "overrides" in line)
    assert " ".join(line.split()) == titles
    assert re.search(
        r"0  lr=1e-3 +RUNNING +1  us-central1-a  hg-calm-otter-0  T4 +1,240/4,000 ████░░░░░░  16\.0 images/s"
        r"  0\.7810 ▁▄▆██  0\.7900  23 min  \$0\.031",
        screen,
    )
    played.go_on(1)
    assert "us-central1-a→c" in played.until("CUDA out of memory.*elapsed 4:00")
    assert played.end(3).count("overrides") == 1


@pytest.mark.parametrize("reflows", [True, False])
def test_a_terminal_that_gets_another_size_in_the_middle(play: Play, reflows: bool) -> None:
    played = play(200, 50, reflows=reflows)
    played.go_on(0)
    played.until("us-east1-c.*elapsed 2:00")
    for columns, rows, shown in (
        (80, 24, r"0  lr=1e-3 [^\n]*\n *16\.0 images/s"),
        (50, 16, r"1,240/4,000 +0\.7810"),
        (120, 30, r"16\.0 images/s"),
        (80, 24, r"16\.0 images/s"),
        (200, 50, "hg-calm-otter-0  T4"),
    ):
        played.terminal.resize(columns, rows)
        played.terminal.wait_for_more("elapsed")  # what was being drawn was in the old size
        screen = played.until(f"{shown}.*elapsed 2:00")
        assert len(screen.splitlines()) <= rows
        assert screen.count("overrides") == 1, f"the table is there twice at {columns}x{rows}\n{screen}"
        assert screen.count("project ml-lab") == 1
    played.go_on(1)
    played.until("CUDA out of memory.*elapsed 4:00")
    assert played.end(3).count("$0.135 in all") == 1


@pytest.mark.parametrize(("columns", "rows", "least"), [(80, 24, 12), (200, 50, 30)])
def test_200_jobs_stay_readable(play: Play, columns: int, rows: int, least: int) -> None:
    played = play(columns, rows, jobs=200)
    played.go_on(0)
    screen = played.until("72 of 200 done")
    shown = [line for line in screen.splitlines() if re.match(r" *\d+ +lr=", line)]
    assert least <= len(shown) <= 40
    assert all("RUNNING" in line for line in shown)
    assert (
        f"and {200 - len(shown)} others: {64 - len(shown)} running, 7 failed, 64 pending, 65 completed"
        in screen
    )
    assert re.search(r"█+░+ 72 of 200 done · elapsed 2:00", screen)
    assert "best val_miou 0.6440 (job 135)" in screen
    ended = played.end(2)
    assert "jobs 9, 19, 29, 39, 49, 59 and 14 more failed: ValueError: seed" in ended


def test_lines_of_the_program_come_above_the_live_table(play: Play) -> None:
    played = play(80, 24)
    played.go_on(0)
    played.until("elapsed 2:00")
    (played.directory / "log").touch()
    screen = played.until(f"{LOGGED}.*overrides.*elapsed 2:00")
    assert screen.count("overrides") == 1
    assert LOGGED in played.end(3)


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"CI": "true"}], ids=str)
def test_without_colours_or_a_terminal_that_can_there_is_a_line_for_each_event(
    play: Play, environ: dict[str, str]
) -> None:
    played = play(120, 24, environ=environ)
    for stage in range(3):
        played.terminal.wait_for(("PROVISIONING", "environment 38 s", "goes on from step 400")[stage])
        played.go_on(stage)
    assert played.terminal.end() == 0
    written = played.terminal.written
    assert "\x1b" not in written or environ == {"CI": "true"}
    _is_lines(re.sub(r"\x1b\[[\d;]*m", "", written))


def test_a_pipe_gets_a_line_for_each_event(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, str(tmp_path), "3"], cwd=ROOT, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        said = ""
        for stage, last in enumerate(("job 2  PROVISIONING", "environment 38 s", "job 2  FAILED")):
            while last not in said.rpartition("\f")[2]:
                line = process.stdout.readline()
                assert line, f"it ended before {last!r}\n{said}"
                said += line
            said += "\f"
            (tmp_path / str(stage)).touch()
        said += process.stdout.read()
    assert process.returncode == 0
    assert "\x1b" not in said
    _is_lines(said.replace("\f", ""))


def _is_lines(said: str) -> None:
    """Each event once with its time, in lines that fit; then the end."""
    lines = said.replace("\r\n", "\n").splitlines()
    end = next(at for at, line in enumerate(lines) if "overrides" in line)
    events = lines[:end]
    assert all(TIMED.match(line) for line in events), events
    assert all(len(line) <= 100 for line in events), events
    assert len(events) == len(set(events))
    told = [line.partition("  ")[2] for line in events]
    for shown in (
        "hydra-gce  sweep calm-otter · 3 points · project ml-lab · spot n1-standard-4 + T4",
        "job 0  PROVISIONING  lr=1e-3 seed=7",
        "job 0  RUNNING  us-central1-a  (attempt 1)",
        "job 2  BOOTING  us-east1-c  (attempt 1)  environment 38 s",
        "job 1 preempted in us-central1-a, back in us-central1-c, goes on from step 400",
        "job 1  RUNNING  us-central1-a→c  (attempt 2)",
        "job 2  FAILED  us-east1-c  (attempt 1)  RuntimeError: CUDA out of memory  $0.006",
    ):
        assert shown in told, f"{shown!r} is not in\n" + "\n".join(told)
    assert any("again    hydra-gce retry calm-otter" in line for line in lines[end:])
