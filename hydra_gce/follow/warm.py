"""VMs that a batch leaves for its sweeper's next one, which finds them booted: `hydra.launcher.keep_warm_s`.

Whether there is a next one, nobody knows before it comes. So the process that launches deletes them when it ends
without one; where it is killed, each deletes itself after ``keep_warm_s``.
"""

from __future__ import annotations

import atexit
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.cargo.pack import Sent
from hydra_gce.cloud.backend import Backend, connect
from hydra_gce.cloud.unreachable import AWAY
from hydra_gce.compute import GONE, Compute, HereCompute
from hydra_gce.errors import Unreachable
from hydra_gce.follow.leave import NOTHING_LEFT, delete_all
from hydra_gce.money.keeper import restored


@dataclass
class WarmVMs:
    """Of one sweep; ``sent`` is what they have booted with."""

    backend: Backend
    bucket: str
    sweep: str
    sent: Sent
    stream: IO[str]

    def __post_init__(self) -> None:
        atexit.register(self._delete_at_exit)

    def fit(self, sent: Sent) -> bool:
        """Whether jobs that come with ``sent`` find what they need on them. Code and data come with each job."""
        return (self.sent.environment, self.sent.launcher) == (sent.environment, sent.launcher)

    def taken_over(self) -> None:
        """Somebody else sees to their end from here on."""
        atexit.unregister(self._delete_at_exit)

    def _delete_at_exit(self) -> None:
        # A process of its own: Python starts no threads any more here, and Google's clients need some. Out of reach of
        # Ctrl-C, which comes to all processes of a terminal.
        where = [self.backend.kind, self.backend.project, self.bucket]
        command = [sys.executable, "-m", __name__, *where, self.sweep]
        deleting = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        said = deleting.communicate()[0].strip() or f"hydra-gce down {self.sweep} deletes the VMs that wait"
        print(f"hydra-gce  {said}", file=self.stream, flush=True)


def waiting_said(compute: Compute, sweep: str, keep_warm_s: float) -> str:
    """What the person is told of the VMs that stay."""
    try:
        listed = compute.instances(sweep)
    except Unreachable:
        return f"VMs may wait for the next points, for {keep_warm_s:g} s each"
    count = sum(one.status not in GONE for one in listed)
    if not count:
        return NOTHING_LEFT
    vms = "1 VM waits" if count == 1 else f"{count} VMs wait"
    return f"{vms} for the next points, for {keep_warm_s:g} s"


def delete(compute: Compute, bucket: Bucket, sweep: str) -> str:
    """Deletes what waits, ends it on the bill, and says what is left."""
    said = delete_all(compute, sweep)
    if said == NOTHING_LEFT:
        with suppress(Unreachable, *AWAY):
            _end_on_bill(bucket, sweep)
    return said


def main(kind: str, project: str, bucket: str, sweep: str) -> None:
    backend = connect(kind, project)
    print(delete(HereCompute(backend), backend.bucket(bucket), sweep))


def _end_on_bill(bucket: Bucket, sweep: str) -> None:
    bill = SweepNames(sweep).ledger
    ledger = restored(bucket, bill, [])
    for name in ledger.running():
        ledger.ended(name, time.time())
    bucket.write(bill, ledger.to_json())


if __name__ == "__main__":
    main(*sys.argv[1:])
