"""On a VM: plays the journal of its job into the tracking server, beside the program, for as long as that runs.

``python -m hydra_gce.tracking.uplink <order>``. It reads the parts that the agent has put into the bucket, as the
launcher would: what it cannot bring to the server while the VM lives, the launcher plays later.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from google.cloud import storage

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.jobs import JobState, JobStatus
from hydra_gce.lease import Lease
from hydra_gce.tracking.mode import URI
from hydra_gce.tracking.relay.relay import Relay
from hydra_gce.tracking.uplink_order import Order
from hydra_gce.wake import Wake

_PAUSE_S = 1.0
_ARTIFACTS_EVERY = 10
_ALL = 2**31
"""More parts than there are: it reads until none is there."""


def play(order: Order, bucket: Bucket, uri: str, stop: Wake) -> None:
    """Until ``stop`` is set, and then once more, to the end of what is in the bucket."""
    names = SweepNames(order.sweep.name)
    relay = Relay(bucket, names, order.sweep, uri, Lease(bucket, names.relay_of(order.num)))
    status = JobStatus(
        order.num, JobState.RUNNING, order.attempt, order.instance, order.zone, journal_parts=_ALL
    )
    said, ticks, last = "", 0, False
    while not last:
        last = stop.wait(_PAUSE_S)
        ticks += 1
        if last or ticks % _ARTIFACTS_EVERY == 0:
            status = replace(status, artifact_syncs=status.artifact_syncs + 1)
        relay.tick({order.num: status})
        if relay.trouble != said:
            said = relay.trouble
            print(f"hydra-gce: {said or 'MLflow has everything again'}", flush=True)
    relay.leave()


def main() -> None:
    order = Order.from_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    stop = Wake()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    client = storage.Client(project=order.project)
    play(order, Bucket(client.bucket(order.bucket)), os.environ[URI], stop)


if __name__ == "__main__":
    main()
