"""What became of a sweep's VMs while no launcher looked: for the bill, from what they wrote down themselves."""

from __future__ import annotations

from collections.abc import Collection

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.fleet import Fleet
from hydra_gce.jobs import JobStatus


def settle(bucket: Bucket, names: SweepNames, fleet: Fleet, alive: Collection[str]) -> None:
    """Puts those that are gone on the bill, until they ended or were last heard of.

    One that wrote nothing down counts until now: nobody knows better, and a budget is not passed unseen.
    """
    statuses = [JobStatus.from_metadata(entry.metadata) for entry in bucket.list(names.statuses)]
    heard = {status.instance: status.heartbeat for status in statuses}
    for entry in bucket.list(names.vms):
        name, record = entry.name.removeprefix(names.vms), entry.metadata
        if name in alive:
            continue
        last = float(record.get("ended") or max(entry.updated, heard.get(name, 0.0)))
        spot = record["spot"] == "true"
        fleet.remember(name, record["zone"], record["machine_type"], spot, float(record["booted"]), last)
