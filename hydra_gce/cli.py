"""The ``hydra-gce`` command. Each verb is a function; what it needs is imported when it is called."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra_gce.errors import ConfigError, HydraGCEError

if TYPE_CHECKING:
    from hydra_gce.backend import Backend
    from hydra_gce.home import SweepRecord


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

    verb = verbs.add_parser("ls", help="sweeps and their VMs, over all zones")
    verb.add_argument("--all", action="store_true", help="finished sweeps too")
    verb.add_argument("--json", action="store_true", help="for programs")
    _where(verb)
    verb.set_defaults(run=_ls)

    verb = verbs.add_parser("logs", help="what the jobs of a sweep print")
    verb.add_argument("sweep", nargs="?", default="last", help='its name; "last" if left out')
    verb.add_argument("-f", "--follow", action="store_true", help="go on until all jobs have ended")
    verb.add_argument("--job", type=int, help="only this one")
    verb.add_argument("--attempt", type=int, help="only this attempt; the newest if left out")
    verb.set_defaults(run=_logs)

    verb = verbs.add_parser("collect", help="bring the outputs of a sweep's finished jobs here")
    verb.add_argument("sweep", nargs="?", default="last", help='its name; "last" if left out')
    verb.add_argument("--to", help="where to; the sweep's own directory if left out")
    verb.set_defaults(run=_collect)

    verb = verbs.add_parser("down", help="delete a sweep's VMs, wherever they are")
    verb.add_argument("sweep", nargs="?", help="its name; all sweeps with --all")
    verb.add_argument("--all", action="store_true", help="every VM that hydra-gce made in the project")
    _where(verb)
    verb.set_defaults(run=_down)

    verb = verbs.add_parser("local", help="the embedded Compute Engine: start, stop, status, env")
    verb.add_argument("action", choices=("start", "stop", "status", "env"))
    verb.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    verb.set_defaults(run=_local)
    return parser


def _where(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--backend", choices=("auto", "cloud", "local"), default="auto")
    verb.add_argument("--project", help="the Google Cloud project")


def _ls(options: argparse.Namespace) -> int:
    from hydra_gce.compute import HereCompute
    from hydra_gce.home import sweep_records

    backend = _connect(options)
    now = time.time()
    vms: dict[str, list[dict[str, Any]]] = {}
    for instance in HereCompute(backend).instances():
        vms.setdefault(instance.sweep, []).append(
            {
                "name": instance.name,
                "zone": instance.zone,
                "status": instance.status,
                "machine_type": instance.machine_type,
                "age_s": round(now - instance.created),
            }
        )
    records = {record.sweep: record for record in sweep_records()}
    shown = {**{name: [] for name in records}, **vms} if options.all else vms
    rows: list[dict[str, Any]] = [
        {
            "sweep": name,
            "started": records[name].started if name in records else None,
            "launcher_alive": name in records and bool(found) and records[name].launcher_alive,
            "sweep_dir": records[name].sweep_dir if name in records else None,
            "vms": found,
        }
        for name, found in shown.items()
    ]
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    if not rows:
        print(f"no VM of any sweep in project {backend.project}")
    for row in rows:
        alive = "its launcher is alive" if row["launcher_alive"] else "no launcher" if row["vms"] else "ended"
        print(f"{row['sweep']}  {len(row['vms'])} VMs  {alive}  {row['sweep_dir'] or ''}")
        for vm in row["vms"]:
            age = f"{vm['age_s'] // 60}:{vm['age_s'] % 60:02d}"
            print(f"  {vm['name']:32} {vm['zone']:20} {vm['status']:12} {vm['machine_type']:16} {age:>8}")
        if row["vms"] and not row["launcher_alive"]:
            print(f"  nobody watches them: hydra-gce down {row['sweep']}")
    return 0


def _logs(options: argparse.Namespace) -> int:
    from hydra_gce.logs import follow

    record = _record(options.sweep)
    bucket = _connect_to(record).bucket(record.bucket)
    lines = follow(bucket, record.sweep, options.job, options.attempt, forever=options.follow)
    for line in lines:
        print(line, flush=True)
    return 0


def _collect(options: argparse.Namespace) -> int:
    from pathlib import Path

    from hydra_gce.recollect import recollect

    record = _record(options.sweep)
    bucket = _connect_to(record).bucket(record.bucket)
    for line in recollect(bucket, record, Path(options.to) if options.to else None):
        print(line)
    return 0


def _down(options: argparse.Namespace) -> int:
    from hydra_gce.compute import HereCompute
    from hydra_gce.home import sweep_records
    from hydra_gce.leave import delete_all

    if bool(options.sweep) == options.all:
        raise ConfigError("hydra-gce down: name one sweep (hydra-gce ls shows them), or say --all")
    known = [record for record in sweep_records() if record.sweep == options.sweep]
    backend = _connect_to(known[0]) if known else _connect(options)
    compute = HereCompute(backend)
    wanted = compute.instances(options.sweep)
    for instance in wanted:
        print(f"deleting {instance.name} in {instance.zone.rpartition('/')[2]}")
    print(delete_all(compute, options.sweep))
    return 0


def _local(options: argparse.Namespace) -> int:
    """Hands on to the embedded Compute Engine, which is a program of its own."""
    action = "serve" if options.action == "start" else options.action
    command = [sys.executable, "-m", "hydra_gce.local", action, *options.rest]
    return subprocess.run(command, check=False).returncode


def _connect(options: argparse.Namespace) -> Backend:
    from hydra_gce.backend import connect

    return connect(options.backend, options.project)


def _connect_to(record: SweepRecord) -> Backend:
    from hydra_gce.backend import connect

    return connect(record.backend, record.project)


def _record(name: str) -> SweepRecord:
    """The laptop's record of a sweep.

    :raises ConfigError: it has none by that name; the message has the nearest.
    """
    import difflib

    from hydra_gce.home import sweep_records

    records = sweep_records()
    if name == "last" and records:
        return records[0]
    for record in records:
        if record.sweep == name:
            return record
    near = difflib.get_close_matches(name, [record.sweep for record in records], n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(near)}?" if near else " hydra-gce ls --all shows those there are."
    raise ConfigError(f"there is no sweep {name!r} here.{hint}")


if __name__ == "__main__":
    sys.exit(main())
