"""The ``hydra-gce`` command. Each verb is a module here; what it needs is imported when it is called."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from hydra_gce.cli import (
    attach,
    cancel,
    collect,
    cost,
    doctor,
    down,
    local,
    logs,
    ls,
    offers,
    retry,
    run,
    setup,
    ui,
)
from hydra_gce.errors import HydraGCEError

_VERBS = (run, ls, logs, attach, cancel, retry, ui, cost, collect, down, offers, setup, doctor, local)


def main(argv: Sequence[str] | None = None) -> int:
    """:returns: the exit code: 0 done, 1 an error that the last line names, 2 wrong usage, 130 Ctrl-C."""
    options = _parser().parse_args(argv)
    try:
        code: int = options.run(options)
    except HydraGCEError as error:
        print(f"hydra-gce: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hydra-gce", description="Sweeps on Compute Engine: see them, read their logs, end them."
    )
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    for verb in _VERBS:
        verb.add(verbs)
    return parser
