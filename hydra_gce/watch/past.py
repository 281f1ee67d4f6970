"""What a launcher before this one has left, and what became of it while nobody looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hydra_gce import claims
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.claims import Claim
from hydra_gce.compute import GONE, LEAVING, Instance
from hydra_gce.fleet import Adopted, Fleet
from hydra_gce.jobs import JobStatus
from hydra_gce.watch.board import Board
from hydra_gce.watch.ends import Ends
from hydra_gce.watch.track import Track

_PARALLEL_READS = 8


@dataclass
class Past:
    """A sweep that was begun before."""

    bucket: Bucket
    names: SweepNames
    fleet: Fleet
    board: Board
    ends: Ends

    def take_up(self, now: float) -> None:
        """Goes on with its VMs and with what its jobs' claims say. May be repeated."""
        adopted = self.fleet.adopt()
        self.board.instances = {one.instance: _as_listed(one) for one in adopted}
        statuses = [
            JobStatus.from_metadata(entry.metadata) for entry in self.bucket.list(self.names.statuses)
        ]
        self._settle_bills(statuses)
        with ThreadPoolExecutor(_PARALLEL_READS) as pool:
            read = pool.map(lambda num: claims.read(self.bucket, self.names, num), self.board.tracks)
            held = dict(zip(self.board.tracks, read, strict=True))
        for status in statuses:
            if status.state.final and status.num in held and held[status.num] is None:
                held[status.num] = claims.mend(self.bucket, self.names, status.num, status.attempt)
                self.fleet.tell(
                    f"job {status.num} has ended, and its claim was deleted from the bucket: mended"
                )
        for one in sorted(adopted, key=lambda vm: vm.attempt):
            self._take_vm(one, held, now)
        for track in self.board.tracks.values():
            self._heed_claim(track, held[track.num])

    def _take_vm(self, adopted: Adopted, held: Mapping[int, Claim | None], now: float) -> None:
        """A VM that runs: its job's own, unless that has another."""
        track = self.board.tracks.get(adopted.num)
        claim = held.get(adopted.num)
        saves = adopted.status in LEAVING and claim is not None and claim.instance == adopted.instance
        if track is None or (adopted.status in GONE and not saves):
            return
        other = track.instance and claim is not None and claim.instance == track.instance
        if (claim is not None and claim.state == "done") or other:
            return  # nobody needs it: it is deleted when it lingers
        self.board.give(track, adopted, now)

    def _heed_claim(self, track: Track, claim: Claim | None) -> None:
        track.vms = self.fleet.attempts_made(track.num, claim.instance if claim else "")
        if claim is None:
            return
        alive = claim.instance == track.instance or self.board.is_alive(claim.instance)
        if claim.state == "done":
            self.ends.collect(track)
        elif claim.state == "held" and not alive:
            claims.release(self.bucket, self.names, claim)  # its holder went while nobody looked

    def _settle_bills(self, statuses: Sequence[JobStatus]) -> None:
        """Puts VMs that are gone on the bill, until they ended or were last heard of: they wrote that down.

        One that wrote nothing counts until now: nobody knows better, and a budget is not passed unseen.
        """
        heard = {status.instance: status.heartbeat for status in statuses}
        for entry in self.bucket.list(self.names.vms):
            name, record = entry.name.removeprefix(self.names.vms), entry.metadata
            if name in self.board.instances:
                continue
            last = float(record.get("ended") or max(entry.updated, heard.get(name, 0.0)))
            spot = record["spot"] == "true"
            self.fleet.remember(
                name, record["zone"], record["machine_type"], spot, float(record["booted"]), last
            )


def _as_listed(adopted: Adopted) -> Instance:
    return Instance(adopted.instance, adopted.candidate.zone, adopted.status, "", {}, adopted.created)
