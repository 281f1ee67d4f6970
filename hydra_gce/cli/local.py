"""``hydra-gce local``: the embedded Compute Engine, which is a program of its own."""

from __future__ import annotations

import argparse
import sys

from hydra_gce.cli.common import Verbs


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "local", help="the embedded Compute Engine: start, stop, status, env, chaos, shell"
    )
    verb.add_argument("action", choices=("start", "stop", "status", "env", "chaos", "shell"))
    verb.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Hands on to the embedded Compute Engine, which is a program of its own."""
    import subprocess

    action = "serve" if options.action == "start" else options.action
    command = [sys.executable, "-m", "hydra_gce.local", action, *options.rest]
    return subprocess.run(command, check=False).returncode
