"""``hydra-gce ui``: MLflow's page of a sweep in the browser: its curves while it runs, then its runs side by side."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from hydra_gce.cli.common import Verbs, record_of
from hydra_gce.errors import ConfigError

if TYPE_CHECKING:
    import subprocess

    from hydra_gce.home import SweepRecord

_WAIT_S = 120.0
_END_S = 5.0
_PORT = 5000


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "ui", help="open MLflow on a sweep's runs: their curves while it runs, then side by side"
    )
    verb.add_argument("sweep", nargs="?", default="last", help='its name; "last" if left out')
    verb.add_argument("--port", type=int, help=f"of the server that is started here; {_PORT}, or a free one")
    verb.add_argument("--no-browser", action="store_true", help="print the link, open nothing")
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    import subprocess

    from hydra_gce.tracking import links
    from hydra_gce.tracking.relay.address import without_password

    record = record_of(options.sweep)
    if record.tracking_uri is None:
        raise ConfigError(
            f"sweep {record.sweep} has no runs in MLflow: it has only just begun, or it was launched with"
            " hydra.launcher.tracking.mode=none"
        )
    runs, experiments = links.points_of(record.tracking_uri, record.sweep)
    if not runs:
        raise ConfigError(
            f"MLflow at {without_password(record.tracking_uri)} has no runs of sweep {record.sweep}"
        )
    if links.is_served(record.tracking_uri):
        _show(_page(record, links.server_of(record.tracking_uri), runs, experiments), options)
        return 0
    port = options.port or _free_port()
    server = f"http://127.0.0.1:{port}"
    environment = links.server_environment(record.tracking_uri)
    # A session of its own, to end all of its processes: MLflow 2 itself would leave those behind that do its work.
    process = subprocess.Popen(
        links.server_command(port), env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    for end in (signal.SIGHUP, signal.SIGTERM):  # a terminal that is closed says so to our session only
        signal.signal(end, signal.default_int_handler)
    try:
        _wait_for(server, process)
        _show(_page(record, server, runs, experiments), options)
        print("Ctrl-C ends the server.", flush=True)
        return process.wait()
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """A server that still waits for a browser's open connection is not waited for."""
    import subprocess

    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)


def _page(record: SweepRecord, server: str, runs: Sequence[str], experiments: Sequence[str]) -> str:
    from hydra_gce.tracking import links

    if record.ended is None:
        return links.curves_page(server, record.sweep, experiments)
    return links.runs_page(server, record.sweep, runs, experiments)


def _show(page: str, options: argparse.Namespace) -> None:
    import webbrowser

    print(page, flush=True)
    if not options.no_browser:
        webbrowser.open(page)


def _free_port() -> int:
    """MLflow's own, where nobody listens there."""
    import socket

    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", _PORT))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_for(server: str, process: subprocess.Popen[bytes]) -> None:
    """:raises ConfigError: it ended, or does not answer."""
    import urllib.request
    from urllib.error import URLError

    until = time.monotonic() + _WAIT_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server}/health", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    sys.stdout.flush()
    raise ConfigError(f"MLflow's server did not start at {server}: {' '.join(map(str, process.args))}")  # type: ignore[arg-type]
