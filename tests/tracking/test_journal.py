"""The journal's file: numbers, checksums, torn ends, several writers, parts, and the newest metric."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from hydra_gce.tracking.journal import (
    Journal,
    JournalDamaged,
    JournalParts,
    Record,
    decode,
    encode,
    verify,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def log(journal: Journal, name: str, step: int, value: float | str = 0.5) -> None:
    metrics = [[name, value, 0, step]]
    journal.append("batch", {"run": "r", "metrics": metrics, "params": [], "tags": []}, time=1.0)


def test_a_record_is_read_back_as_it_was_written() -> None:
    record = Record(7, 1.25, "batch", {"run": "r", "params": [["ä", '"}\n']]})
    line = encode(record)
    assert line.endswith(b"}\n") and line.count(b"\n") == 1
    assert decode(line[:-1], "here") == record


@pytest.mark.parametrize("position", [2, 20, 40, -5])
def test_a_changed_line_is_an_error_that_names_it(path: Path, position: int) -> None:
    journal = Journal(path)
    for step in range(3):
        log(journal, "loss", step)
    lines = path.read_bytes().split(b"\n")
    changed = bytearray(lines[1])
    changed[position] ^= 1
    path.write_bytes(b"\n".join([lines[0], bytes(changed), *lines[2:]]))
    with pytest.raises(JournalDamaged, match=r"journal\.jsonl, line 2 .*damaged"):
        verify(path)


def test_a_missing_record_is_an_error_that_names_it(path: Path) -> None:
    journal = Journal(path)
    for step in range(3):
        log(journal, "loss", step)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    with pytest.raises(JournalDamaged, match=r"record 2 .*missing"):
        verify(path)


def test_a_torn_end_is_left_for_later_and_cut_off_by_the_next_writer(path: Path) -> None:
    log(Journal(path), "loss", 0)
    with path.open("ab") as file:
        file.write(b'{"seq":2,"time":1.0,"op":"ba')
    assert verify(path) == 1
    parts = JournalParts(path)
    assert (parts.new_part() or b"").count(b"\n") == 1
    log(Journal(path), "loss", 1)
    assert verify(path) == 2
    assert decode((parts.new_part() or b"").rstrip(), "part").seq == 2


def test_a_journal_that_somebody_cut_off_is_not_written_on(path: Path) -> None:
    journal = Journal(path)
    for step in range(3):
        log(journal, "loss", step)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(JournalDamaged, match=r"journal\.jsonl was cut off"):
        log(journal, "loss", 3)


def _write_many(path: Path, count: int) -> None:
    journal = Journal(path)
    for step in range(count):
        log(journal, "loss", step)


def test_several_processes_share_a_journal(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(path, 200)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(200)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert verify(path) == 600


FORKS = """
import os, sys
from pathlib import Path
from hydra_gce.tracking.journal import Journal
from tests.tracking.test_journal import log

journal = Journal(Path(sys.argv[1]))
child = os.fork()
for step in range(300):
    log(journal, "loss", step)
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
def test_a_forked_process_does_not_write_between_its_parents_lines(path: Path) -> None:
    log(Journal(path), "loss", 0)
    # In a process of its own: one that has run other tests has threads, whose locks a fork may find held for ever.
    subprocess.run([sys.executable, "-c", FORKS, str(path)], check=True, timeout=200)
    assert verify(path) == 601


INTERRUPTED = """
import signal, sys
from pathlib import Path
from hydra_gce.tracking.journal import Journal
from tests.tracking.test_journal import log

class Enough(Exception):
    pass

journal = Journal(Path(sys.argv[1]))
logged = {"program": 0, "handler": 0}

def handle(_signal, frame):
    log(journal, "handler", logged["handler"])
    logged["handler"] += 1
    signal.setitimer(signal.ITIMER_REAL, 0.0003)
    if logged["handler"] % 10 == 0 and frame.f_code.co_filename.endswith("journal.py"):
        raise Enough

signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.0003)
while logged["handler"] < 1000:
    try:
        log(journal, "program", logged["program"])
        logged["program"] += 1
    except Enough:
        pass
signal.signal(signal.SIGALRM, signal.SIG_IGN)
print(logged["program"], logged["handler"])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no timer there")
def test_a_signal_handler_may_log_in_the_middle_of_a_record(path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(path)],
        check=True,
        timeout=200,
        stdout=subprocess.PIPE,
        text=True,
    )
    program, handler = map(int, ended.stdout.split())
    assert verify(path) >= program + handler, "each is there once; those that an exception cut off may be"
    by_handler = [line for line in path.read_bytes().splitlines() if b'[["handler",' in line]
    assert len(by_handler) == handler


def test_parts_are_whole_lines_each_once(path: Path) -> None:
    parts = JournalParts(path)
    assert parts.new_part() is None
    journal = Journal(path)
    log(journal, "loss", 0)
    log(journal, "loss", 1)
    first = parts.new_part()
    assert parts.new_part() is None
    log(journal, "loss", 2)
    second = parts.new_part()
    assert first is not None and second is not None
    assert first + second == path.read_bytes()


def test_a_long_line_and_a_long_journal_are_cut_between_lines(path: Path) -> None:
    journal = Journal(path)
    for size in (10, 9_000_000, 10, 3_000_000, 3_000_000):
        journal.append(
            "batch", {"run": "r", "metrics": [], "params": [["p", "x" * size]], "tags": []}, time=1.0
        )
    parts = JournalParts(path)
    found = []
    while (part := parts.new_part()) is not None:
        assert part.endswith(b"\n")
        found.append(part)
    assert len(found) > 2
    assert b"".join(found) == path.read_bytes()
