"""``hydra-gce ls``: sweeps and their VMs."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from hydra_gce.cli.common import Verbs, add_backend, connect


def add(verbs: Verbs) -> None:
    verb = verbs.add_parser("ls", help="sweeps and their VMs, over all zones")
    verb.add_argument("--all", action="store_true", help="finished sweeps too")
    verb.add_argument("--json", action="store_true", help="for programs")
    add_backend(verb)
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from hydra_gce.compute import HereCompute
    from hydra_gce.home import sweep_records

    backend = connect(options)
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
