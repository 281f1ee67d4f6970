"""A person at a terminal, with a launch in it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pexpect

from tests.e2e.project import PATIENCE_S


@contextmanager
def terminal_of(command: Sequence[str], directory: Path) -> Iterator[pexpect.spawn[str]]:
    """One that can draw, whatever the tests themselves are run in. Where what is waited for never comes, the failure
    says what every thread of the launch was doing.
    """
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR")}
    terminal: pexpect.spawn[str] = pexpect.spawn(
        command[0],
        list(command[1:]),
        cwd=str(directory),
        env={**kept, "TERM": "xterm-256color", "PYTHONFAULTHANDLER": "1"},
        encoding="utf-8",
        timeout=PATIENCE_S,
        use_poll=True,
    )
    try:
        yield terminal
    except pexpect.TIMEOUT as timeout:
        shown = terminal.before
        terminal.kill(signal.SIGABRT)
        terminal.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=10)
        raise AssertionError(f"{timeout.value}\nIt showed:\n{shown}\nThen:\n{terminal.before}") from timeout
    finally:
        terminal.close(force=True)
