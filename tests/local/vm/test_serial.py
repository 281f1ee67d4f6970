"""The serial console counts all bytes ever written and keeps the last MiB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hydra_gce.local.vm import Isolation
from hydra_gce.local.vm.serial import KEPT, SerialConsole, read

Writing = Callable[[Path], SerialConsole]


@pytest.fixture
def writing() -> Iterator[Writing]:
    opened: list[SerialConsole] = []

    def open_console(directory: Path) -> SerialConsole:
        opened.append(SerialConsole(str(directory)))
        return opened[-1]

    yield open_console
    for console in opened:
        console.close()


def test_reading_goes_on_where_the_last_reading_ended(writing: Writing, tmp_path: Path) -> None:
    console = writing(tmp_path)
    console.write(b"one ")
    first, content = read(str(tmp_path), 0)
    assert (first, content) == (0, b"one ")
    console.write(b"two")
    assert read(str(tmp_path), first + len(content)) == (4, b"two")
    assert read(str(tmp_path), 7) == (7, b"")


def test_an_offset_past_the_end_reads_nothing(writing: Writing, tmp_path: Path) -> None:
    writing(tmp_path).write(b"abc")
    assert read(str(tmp_path), 100) == (3, b"")
    assert read(str(tmp_path / "never-booted"), 5) == (0, b"")


def test_old_output_is_forgotten_and_offsets_stay(writing: Writing, tmp_path: Path) -> None:
    console = writing(tmp_path)
    written = b"".join(b"%07d\n" % number for number in range(3 * KEPT // 8))
    for begin in range(0, len(written), 60_000):
        console.write(written[begin : begin + 60_000])
    first, content = read(str(tmp_path), 0)
    assert len(content) == KEPT
    assert first == len(written) - KEPT
    assert content == written[first:]
    assert sum(entry.stat().st_size for entry in tmp_path.iterdir()) < 2 * KEPT


def test_a_new_boot_writes_on(writing: Writing, tmp_path: Path) -> None:
    writing(tmp_path).write(b"first boot\n")
    writing(tmp_path).write(b"second boot\n")
    assert read(str(tmp_path), 0) == (0, b"first boot\nsecond boot\n")


def test_a_guests_output_is_read_by_offsets(guests: Any, isolation: Isolation) -> None:
    machine = guests.boot("echo eins; echo zwei; exit 3")
    guests.says(machine, 'Script "startup-script" failed with error: exit status 3')
    whole = machine.serial()
    assert (whole.start, whole.next) == (0, len(whole.contents))
    assert machine.serial_output(whole.next) == b""
    at = whole.contents.index(b"startup-script: zwei")
    assert machine.serial_output(at) == whole.contents[at:]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("#!/usr/bin/env python3\nprint('by its shebang')", "startup-script: by its shebang"),
        ("\n\n  #!/bin/sh\necho trimmed", "startup-script: trimmed"),
        ("printf 'no newline at the end'", "startup-script: no newline at the end"),
        ("printf '\\377\\n'", "startup-script: \ufffd"),
        ("kill -9 $$", 'Script "startup-script" failed with error: signal: SIGKILL'),
        ("true", "startup-script exit status 0"),
        ("", "No startup scripts to run."),
    ],
)
def test_startup_scripts_are_run_and_reported_as_googles_agent_does(
    guests: Any, script: str, words: str
) -> None:
    guests.says(guests.boot(script), words)
