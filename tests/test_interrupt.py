"""Ctrl-C and SIGTERM: what becomes of the VMs is asked where somebody can answer, and settled elsewhere."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pexpect
import pytest

from hydra_gce.display import Display
from hydra_gce.interrupt import Interrupts

PROGRAM = """
import sys, time
from hydra_gce.display import Display
from hydra_gce.interrupt import Interrupts

interrupts = Interrupts("delete", Display.for_terminal(sys.stdout))
try:
    with interrupts:
        print("ready", flush=True)
        while True:
            time.sleep(0.02)
except KeyboardInterrupt:
    print("keep" if interrupts.keep else "delete", flush=True)
"""


@pytest.mark.parametrize("settled", ["delete", "keep"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_where_nobody_can_be_asked_it_goes_as_settled(settled: str, number: signal.Signals) -> None:
    before = signal.getsignal(signal.SIGTERM)
    interrupts = Interrupts(settled, Display.for_terminal(sys.stdout))
    with pytest.raises(KeyboardInterrupt), interrupts:
        os.kill(os.getpid(), number)
        threading.Event().wait(30)
    assert interrupts.keep == (settled == "keep")
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_error_is_no_interrupt(tmp_path: Path) -> None:
    interrupts = Interrupts("keep", Display.for_terminal(sys.stdout))
    with pytest.raises(ValueError, match="x"), interrupts:
        raise ValueError("x")
    assert not interrupts.keep


def test_a_launch_in_a_thread_leaves_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    during = []

    def launch() -> None:
        with Interrupts("delete", Display.for_terminal(sys.stdout)):
            during.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=launch)
    thread.start()
    thread.join()
    assert during == [before]


@pytest.mark.parametrize(
    "answer, becomes",
    [
        ("k\r", "keep"),
        ("Keep\r", "keep"),
        ("\r", "delete"),
        ("d\r", "delete"),
        ("\x04", "delete"),
        ("\x03", "delete"),
    ],
)
def test_at_a_terminal_the_person_says_and_silence_deletes(answer: str, becomes: str) -> None:
    child = pexpect.spawn(sys.executable, ["-c", PROGRAM], encoding="utf-8", timeout=60)
    child.expect("ready")
    child.sendintr()
    child.expect(r"\[k\]eep them running\? ")
    child.send(answer)
    child.expect(f"{becomes}\r\n")
    child.expect(pexpect.EOF)
