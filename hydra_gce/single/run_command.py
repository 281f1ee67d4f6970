"""Runs the command of a Hydra program so that its one job goes to a VM."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from hydra_gce.errors import ConfigError
from hydra_gce.single.program_source import mentions_hydra
from hydra_gce.single.run_notes import HYDRA, JOB, NOTES, noted

_WITH_VALUE = {
    "-c", "--cfg", "-p", "--package", "-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir",
    "--experimental-rerun", "-i", "--info",
}  # fmt: skip
"""Hydra's flags that a value follows."""
_ONLY_SHOWN = {
    "-c", "--cfg", "-h", "--help", "--hydra-help", "--version", "-i", "--info", "-sc", "--shell-completion",
}  # fmt: skip
"""Those that run no job."""
_PYTHON = re.compile(r"(python|pypy)[\d.]*(\.exe)?")


def run_command(words: Sequence[str], launcher: Sequence[str]) -> int:
    """Gives the exit code.

    :param words: the command, as a person would type it for a run here.
    :param launcher: overrides of ``hydra.launcher``.
    :raises ConfigError: it is not a command that can run so.
    """
    _check(words)
    if _flags(words) & _ONLY_SHOWN:
        return _ended(words, os.environ)
    with tempfile.TemporaryDirectory(prefix="hydra-gce-run-") as scratch:
        notes = Path(scratch) / "notes"
        code = _ended(with_overrides(words, launcher), {**os.environ, NOTES: str(notes)})
        came_to = noted(notes)
    if HYDRA not in came_to and code != 0:
        print(
            f"hydra-gce: run: {shlex.join(words)} ended with exit code {code} before Hydra came to look for launchers;"
            " nothing ran on a VM. If it is a Hydra program: has the Python that it runs in hydra-gce-launcher?",
            file=sys.stderr,
        )
        return code
    if HYDRA not in came_to:
        raise ConfigError(
            f"run: {shlex.join(words)} ran on this machine, not on a VM: it is no Hydra program, or the Python that it"
            " runs in has no hydra-gce-launcher. hydra_gce.submit(function, config) runs any function"
        )
    if JOB not in came_to and code == 0:
        raise ConfigError(
            f"run: {shlex.join(words)} ended, and nothing ran on a VM: it uses Hydra, but not @hydra.main."
            " hydra_gce.submit(function, config) runs a function from Python"
        )
    return code


def with_overrides(words: Sequence[str], launcher: Sequence[str]) -> list[str]:
    """The command for a VM: beside the overrides that it has, for Hydra's command line takes them in one piece only."""
    at = next(
        (
            place
            for place in range(len(words) - 1, 0, -1)
            if not words[place].startswith("-") and words[place - 1] not in _WITH_VALUE
        ),
        0,
    )
    chosen = [] if any(word.startswith("hydra/launcher=") for word in words) else ["hydra/launcher=gce"]
    ours = ["hydra.mode=MULTIRUN", *chosen, "hydra/sweeper=gce_single", *launcher]
    return [*words[: at + 1], *ours, *words[at + 1 :]]


def _check(words: Sequence[str]) -> None:
    if not words:
        raise ConfigError("run: which program? hydra-gce run [options] -- python train.py lr=1e-3")
    if _flags(words) & {"-m", "--multirun"}:
        raise ConfigError(
            "run: -m makes a sweep of it, and hydra-gce run is for single jobs. Without hydra-gce run:"
            f" {shlex.join([*words, 'hydra/launcher=gce'])}"
        )
    if mentions_hydra(words, Path.cwd()) is False:
        raise ConfigError(
            f"run: {shlex.join(words)} is no Hydra program: neither it nor what it imports of the project uses hydra."
            " For a plain function: hydra_gce.submit(function, config), from Python"
        )


def _flags(words: Sequence[str]) -> set[str]:
    """The program's own; not those of the Python that runs it, ``-m`` among them."""
    start = 1
    for at, word in enumerate(words):
        if _PYTHON.fullmatch(Path(word).name):
            start = next((n for n in range(at + 1, len(words)) if _is_program(words, at, n)), len(words)) + 1
            break
    return {word.partition("=")[0] for word in words[start:] if word.startswith("-")}


def _is_program(words: Sequence[str], python: int, at: int) -> bool:
    """Whether it is the script or the module that Python runs."""
    before = words[at - 1]
    takes_value = at - 1 > python and before in ("-W", "-X")
    return before == "-m" or not (words[at].startswith("-") or takes_value)


def _ended(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Runs it to its end. Ctrl-C reaches it by itself, and it knows what to do; SIGTERM is handed on."""
    try:
        process = subprocess.Popen(command, env=environ)
    except OSError as error:
        raise ConfigError(f"run: {command[0]} cannot be started: {error.strerror}") from error

    def hand_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda number, frame: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, hand_on),
    }
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code
