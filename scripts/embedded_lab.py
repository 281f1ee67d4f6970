"""A project and an embedded Compute Engine of their own, in which commands are run for the documentation."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hydra_gce.owner import owner_label
from scripts.terminal import Terminal

COLUMNS, ROWS = 100, 120
SHOWN_AS = "/home/ada/lab"
"""Where the project lies in what is shown."""
_ENDED_S = 300


@dataclass(frozen=True)
class Lab:
    """A project of its own, and an embedded Compute Engine of its own."""

    directory: Path
    home: Path

    @property
    def environ(self) -> Mapping[str, str]:
        unwanted = ("GOOGLE_", "CLOUDSDK_", "MLFLOW_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        # No credentials are found in a home without any: so all goes to the embedded one.
        ours = {"PATH": path, "HYDRA_GCE_HOME": str(self.home), "CLOUDSDK_CONFIG": str(self.home)}
        return {**kept, **ours, "LOGNAME": "ada"}

    def bad_day(self, scenario: object) -> None:
        """The one that holds from here on; None: no more of it."""
        file = self.home / "scenario.yaml"
        file.write_text(json.dumps(scenario), encoding="utf-8")  # JSON is YAML
        self.piped("hydra-gce local chaos " + (shlex.quote(str(file)) if scenario else "off"))

    def piped(self, command: str, status: int = 0) -> str:
        """What it prints where no terminal is.

        :raises SystemExit: it ends with another status than it should.
        """
        ended = subprocess.run(
            _argv(command),
            cwd=self.directory,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_ENDED_S,
            check=False,
        )
        if ended.returncode != status:
            raise SystemExit(f"{command}\n{ended.stdout}\nended with {ended.returncode}, not {status}")
        return self.shown(ended.stdout)

    def in_terminal(self, command: str) -> str:
        """What a terminal of 100 columns shows of it; addresses that lie behind a text are not in it."""
        with self.terminal(command, COLUMNS, ROWS) as terminal:
            status, text = terminal.end(_ENDED_S), terminal.text
        if status:
            raise SystemExit(f"{command}\n{text.strip()}")
        return self.shown(text)

    def terminal(
        self, command: str, columns: int, rows: int, environ: Mapping[str, str] | None = None
    ) -> Terminal:
        """A terminal in which it runs."""
        ours = {**self.environ, **(environ or {})}
        without = [f"--unset={name}" for name in os.environ if name not in ours]
        setting = [f"{name}={value}" for name, value in ours.items() if os.environ.get(name) != value]
        argv = ["env", f"--chdir={self.directory}", *without, *setting, *_argv(command)]
        return Terminal(argv, columns, rows)

    def killed(self, command: str, when: str) -> str:
        """Starts it, and sends SIGKILL to it as soon as a line of it has ``when``; what it printed until then."""
        said: list[str] = []
        with subprocess.Popen(
            _argv(command),
            cwd=self.directory,
            env={**self.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                if when in line:
                    process.send_signal(signal.SIGKILL)
                    break
            else:
                raise SystemExit(f"{command}\n{''.join(said)}\nended before {when!r}")
        return self.shown("".join(said))

    def shown(self, text: str) -> str:
        """Without what is this machine's alone."""
        text = text.replace(str(self.directory), SHOWN_AS).replace(
            f"_at_{_label(socket.gethostname())}", "_at_laptop"
        )
        return "\n".join(line.rstrip() for line in text.splitlines())


def _label(host: str) -> str:
    """As the owner's label has it."""
    return owner_label("x", host).removeprefix("x_at_")


def _argv(command: str) -> list[str]:
    """As a shell reads it, over several lines too."""
    return shlex.split(command.replace("\\\n", " "))


@contextmanager
def lab(config: str, program: str) -> Iterator[Lab]:
    """A project with this `config.yaml` and this `train.py`, and an embedded Compute Engine that ends with it."""
    with tempfile.TemporaryDirectory(prefix="hydra-gce-") as directory:
        made = Lab(Path(directory) / "lab", Path(directory) / "home")
        made.home.mkdir()
        (made.directory / "conf").mkdir(parents=True)
        (made.directory / "conf" / "config.yaml").write_text(config, encoding="utf-8")
        (made.directory / "train.py").write_text(program, encoding="utf-8")
        try:
            yield made
        finally:
            made.piped("hydra-gce local stop")
