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
    completion,
    cost,
    doctor,
    down,
    exits,
    local,
    logs,
    ls,
    offers,
    open_page,
    pull,
    retry,
    run,
    setup,
    show,
    ssh,
    top,
    ui,
)

_VERBS = (
    run,
    ls,
    show,
    logs,
    attach,
    cancel,
    retry,
    top,
    ssh,
    pull,
    collect,
    open_page,
    ui,
    cost,
    down,
    offers,
    setup,
    doctor,
    local,
    completion,
)


def main(argv: Sequence[str] | None = None) -> int:
    """:returns: the exit code: see ``exits``."""
    options = _parsed(sys.argv[1:] if argv is None else list(argv))
    try:
        code: int = options.run(options)
        sys.stdout.flush()  # here, where a reader that has gone is no traceback
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.DONE
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except Exception as error:
        known = exits.of(error)
        if known is None:
            raise
        code, line = known
        print(f"hydra-gce: {line}", file=sys.stderr)
    return code


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Verbs that hand on a command have it as ``after_dashes``: all that stands behind ``--``, options among it."""
    words = list(argv)
    if "--" in words[1:]:
        at = words.index("--")
        options = parser().parse_args(words[:at])
        if hasattr(options, "after_dashes"):
            options.after_dashes = words[at + 1 :]
            return options
    return parser().parse_args(words)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="hydra-gce", description="Sweeps on Compute Engine: see them, read their logs, end them."
    )
    verbs = made.add_subparsers(metavar="COMMAND", required=True)
    for verb in _VERBS:
        verb.add(verbs)
    return made
