"""A flag that a signal's handler sets in the very thread that waits for it."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from hydra_gce.wake import Wake, readable


@pytest.fixture
def woken_by_alarm() -> Iterator[Wake]:
    wake = Wake()
    before = signal.signal(signal.SIGALRM, lambda number, frame: wake.set())
    yield wake
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_it_waits_until_it_is_set_or_the_time_is_over(woken_by_alarm: Wake) -> None:
    assert not woken_by_alarm.wait(0.01)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    began = time.monotonic()
    assert woken_by_alarm.wait(60)
    assert time.monotonic() - began < 30
    assert woken_by_alarm.wait(60), "it stays set"
    woken_by_alarm.clear()
    assert not woken_by_alarm.wait(0.01)


def test_signals_at_any_moment_of_the_waiting_never_block_it(woken_by_alarm: Wake) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    heard = 0
    deadline = time.monotonic() + 60
    while heard < 2000 and time.monotonic() < deadline:
        heard += woken_by_alarm.wait(0.0002)
        woken_by_alarm.clear()
    assert heard == 2000


def test_a_full_pipe_and_another_thread_are_no_trouble() -> None:
    wake = Wake()
    for _ in range(100_000):
        wake.set()
    assert wake.wait(60)
    wake.clear()
    threading.Timer(0.05, wake.set).start()
    assert wake.wait(60)


def test_what_can_be_read_wakes_it_too_and_is_not_its_being_set() -> None:
    reading, writing = os.pipe()
    wake = Wake()
    os.write(writing, b"x")
    began = time.monotonic()
    assert not wake.wait(60, reading)
    assert time.monotonic() - began < 30
    os.close(reading)
    os.close(writing)


def test_a_process_with_many_open_files_waits_like_any_other() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, before[1]), before[1]))
    reading, writing = os.pipe()
    high = fcntl.fcntl(reading, fcntl.F_DUPFD, 2000)
    try:
        wake = Wake()
        assert not wake.wait(0.01, high)
        os.write(writing, b"x")
        assert readable(60, high)
        assert not wake.wait(60, high)
    finally:
        for descriptor in (reading, writing, high):
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_closed_file_is_an_error_and_no_end_of_the_waiting() -> None:
    wake = Wake()
    reading, writing = os.pipe()
    os.close(writing)
    os.close(reading)
    with pytest.raises(OSError, match="Bad file descriptor"):
        wake.wait(60, reading)
