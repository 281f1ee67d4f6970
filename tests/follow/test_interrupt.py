"""Ctrl-C and SIGTERM: what becomes of a sweep is asked where somebody can answer, and settled elsewhere."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pexpect
import pytest

from hydra_gce.display import Display
from hydra_gce.follow.interrupt import Interrupts, Wish

PROGRAM = """
import sys
from hydra_gce.display import Display
from hydra_gce.follow.interrupt import Interrupts

with Interrupts("cancel", Display.for_terminal(sys.stdout)) as interrupts:
    print("ready", flush=True)
    looks, asked = 0, False
    while (wish := interrupts.wait(0.02)) is None:
        looks += 1
        if asked and not interrupts.asking:
            print("goes on", flush=True)
        asked = interrupts.asking
        if interrupts.asking and looks % 25 == 0:
            print("looks on", flush=True)
    print(f"wish {wish.value}", flush=True)
"""


def awaited(interrupts: Interrupts) -> Wish | None:
    deadline = time.monotonic() + 30
    while (wish := interrupts.wait(0.02)) is None:
        assert time.monotonic() < deadline, "nothing was heard"
    return wish


@pytest.mark.parametrize("settled", ["cancel", "detach"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_where_nobody_can_be_asked_it_goes_as_settled(settled: str, number: signal.Signals) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with Interrupts(settled, Display.for_terminal(sys.stdout)) as interrupts:
        assert interrupts.wait(0.0) is None
        os.kill(os.getpid(), number)
        assert awaited(interrupts) is Wish(settled)
        # What is wished for is under way: from here on Ctrl-C is Python's own.
        assert signal.getsignal(signal.SIGINT) is before[1]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_nothing_is_torn_off_in_the_middle() -> None:
    with Interrupts("detach", Display.for_terminal(sys.stdout)) as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        done = sum(range(1000))
        assert awaited(interrupts) is Wish.DETACH
    assert done


def test_an_error_is_no_interrupt() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="x"), Interrupts("detach", Display.for_terminal(sys.stdout)):
        raise ValueError("x")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_launch_in_a_thread_leaves_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    during = []

    def launch() -> None:
        with Interrupts("cancel", Display.for_terminal(sys.stdout)) as interrupts:
            during.append((signal.getsignal(signal.SIGTERM), interrupts.wait(0.0)))

    thread = threading.Thread(target=launch)
    thread.start()
    thread.join()
    assert during == [(before, None)]


@pytest.mark.parametrize(
    "answers, becomes",
    [
        (["d\r"], "detach"),
        (["Detach\r"], "detach"),
        (["c\r"], "cancel"),
        (["\x03"], "detach"),
        (["\x04"], "cancel"),
        (["\r", "c\r"], "cancel"),
        (["what\r", "d\r"], "detach"),
    ],
)
def test_at_a_terminal_the_person_says(answers: list[str], becomes: str) -> None:
    child = pexpect.spawn(sys.executable, ["-c", PROGRAM], encoding="utf-8", use_poll=True, timeout=60)
    child.expect("ready")
    child.sendintr()
    for answer in answers:
        child.expect(r"\[d\]etach .*\[c\]ancel all jobs, \[k\]eep watching\? ")
        child.send(answer)
    child.expect(f"wish {becomes}\r\n")
    child.expect(pexpect.EOF)


def test_a_terminal_that_is_closed_leaves_the_sweep_to_itself() -> None:
    with Interrupts("cancel", Display.for_terminal(sys.stdout)) as interrupts:
        os.kill(os.getpid(), signal.SIGHUP)
        assert awaited(interrupts) is Wish.DETACH
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts("cancel", Display.for_terminal(sys.stdout)) as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)  # nohup
            assert interrupts.wait(0.01) is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_who_waits_for_a_cancelled_sweep_waits_and_does_not_spin() -> None:
    with Interrupts("cancel", Display.for_terminal(sys.stdout)) as interrupts:
        os.kill(os.getpid(), signal.SIGTERM)
        assert awaited(interrupts) is Wish.CANCEL
        began = time.monotonic()
        assert interrupts.wait(0.2) is Wish.CANCEL
        assert time.monotonic() - began >= 0.2


def test_it_is_watched_on_while_the_question_stands_and_after_it() -> None:
    child = pexpect.spawn(sys.executable, ["-c", PROGRAM], encoding="utf-8", use_poll=True, timeout=60)
    child.expect("ready")
    child.sendintr()
    child.expect("eep watching")
    child.expect("looks on")
    child.send("k\r")
    child.expect("goes on")
    child.sendintr()
    child.expect("eep watching")
    child.send("d\r")
    child.expect("wish detach")
    child.expect(pexpect.EOF)


def test_ctrl_c_counts_as_an_answer_from_the_moment_that_the_question_is_put() -> None:
    class Hasty:
        """A terminal whose person presses Ctrl-C again before the question is written out."""

        @contextmanager
        def paused(self) -> Iterator[None]:
            os.kill(os.getpid(), signal.SIGINT)
            yield

    reading, writing = os.openpty()
    with os.fdopen(writing, "r") as keys, pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "stdin", keys)
        patched.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        with Interrupts("cancel", cast(Display, Hasty())) as interrupts:
            os.kill(os.getpid(), signal.SIGINT)
            assert awaited(interrupts) is Wish.DETACH
    os.close(reading)
