"""A user's project as a test needs it: a Hydra program in a directory of its own, and launches of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# What a program that needs nothing but Hydra gets by with, on a machine with little room.
SMALL = (
    "hydra.launcher.env.requirements=none",
    "hydra.launcher.vm.machine_type=e2-small",
    "hydra.launcher.tracking.mode=none",
)
PROGRAM = """
    import os, time
    from pathlib import Path

    import hydra
    from hydra.core.hydra_config import HydraConfig


    @hydra.main(version_base="1.3", config_path=None)
    def main(cfg):
        out = Path(HydraConfig.get().runtime.output_dir)
    {body}


    if __name__ == "__main__":
        main()
"""
PATIENCE_S = 150.0


@dataclass(frozen=True)
class Ended:
    """A launch that is over."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err

    @property
    def sweep(self) -> str:
        return sweep_in(self.out)


class Running:
    """A launch that goes on. Its output is read by and by."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process = process
        self._out = out
        self._err = err

    @property
    def out(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        return self._err.read_text(errors="replace")

    def until(self, pattern: str) -> str:
        """Waits for what the launch prints, and returns the first group of it, or all."""

        def found() -> re.Match[str] | None:
            match = re.search(pattern, self.out, re.MULTILINE)
            if match is None and self.process.poll() is not None:
                raise AssertionError(f"it ended before it said {pattern!r}:\n{self.out}{self.err}")
            return match

        match = eventually(found, f"the launch never said {pattern!r}", lambda: self.out + self.err)
        return match[1] if match.groups() else match[0]

    def sweep(self) -> str:
        return self.until(r"hydra-gce  sweep ([a-z-]+)")

    def end(self, patience_s: float = PATIENCE_S) -> Ended:
        code = self.process.wait(patience_s)
        return Ended(code, self.out, self.err)

    def kill(self) -> None:
        """Leaves nothing of it, whatever the test came to."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Project:
    """``directory`` holds ``app.py``; its sweeps go to ``sweep``, unless an override says otherwise."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sweep_dir = directory / "sweep"
        self._launches: list[Running] = []
        directory.mkdir(parents=True)

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
        return path

    def program(self, body: str) -> None:
        """``app.py`` with this body: ``cfg`` is the config, ``out`` the output directory."""
        inner = textwrap.indent(textwrap.dedent(body).strip(), "    ")
        self.write("app.py", textwrap.dedent(PROGRAM).replace("{body}", inner))

    def command(self, *overrides: str, small: bool = True) -> list[str]:
        named = {override.partition("=")[0] for override in overrides}
        settled = [
            override
            for override in (
                "hydra/launcher=gce",
                "hydra.launcher.backend=local",
                f"hydra.sweep.dir={self.sweep_dir}",
                *(SMALL if small else ()),
            )
            if override.partition("=")[0] not in named
        ]
        return [sys.executable, "app.py", "-m", *settled, *overrides]

    def start(self, *overrides: str, env: dict[str, str] | None = None) -> Running:
        return self.begin(self.command(*overrides), env)

    def begin(self, command: Sequence[str], env: dict[str, str] | None = None) -> Running:
        """Any command, in the project's directory."""
        number = len(self._launches)
        out, err = self.directory.parent / f"{number}.out", self.directory.parent / f"{number}.err"
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=err_file,
                start_new_session=True,
            )
        running = Running(process, out, err)
        self._launches.append(running)
        return running

    def launch(
        self, *overrides: str, env: dict[str, str] | None = None, patience_s: float = PATIENCE_S
    ) -> Ended:
        return self.start(*overrides, env=env).end(patience_s)

    def close(self) -> None:
        for running in self._launches:
            running.kill()


def eventually(
    look: Callable[[], T | None],
    complaint: str,
    seen: Callable[[], str] = str,
    patience_s: float = PATIENCE_S,
) -> T:
    """The first thing that ``look`` finds, within a bound."""
    deadline = time.monotonic() + patience_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"{complaint}\n{seen()}"
        time.sleep(0.1)
    return found


def hydra_gce(*arguments: str, patience_s: float = PATIENCE_S) -> Ended:
    """The ``hydra-gce`` command."""
    done = subprocess.run(
        [sys.executable, "-m", "hydra_gce.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=patience_s,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def sweep_in(out: str) -> str:
    match = re.search(r"hydra-gce  sweep ([a-z-]+)", out)
    assert match, f"no sweep was named:\n{out}"
    return match[1]
