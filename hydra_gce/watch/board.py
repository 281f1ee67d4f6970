"""What the launcher knows of jobs and VMs at this moment; every part of the watch reads it."""

from __future__ import annotations

from dataclasses import dataclass, field

from hydra_gce.compute import GONE, OFF, QUEUED, Instance
from hydra_gce.fleet import Adopted, Placed
from hydra_gce.watch.track import Track


@dataclass
class Board:
    """``instances`` is the newest listing, by name. ``given_up`` VMs are nobody's any more, though they may take
    minutes to go; ``deleted`` ones were asked to. ``since`` tells when each VM was made, seconds since the epoch.
    """

    tracks: dict[int, Track]
    instances: dict[str, Instance] = field(default_factory=dict)
    given_up: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    since: dict[str, float] = field(default_factory=dict)

    def is_alive(self, instance: str) -> bool:
        """Whether anything is to be hoped for from it."""
        listed = self.instances.get(instance)
        return instance not in self.given_up and listed is not None and listed.status not in GONE

    @property
    def any_alive(self) -> bool:
        return any(one.status not in GONE for one in self.instances.values())

    @property
    def made(self) -> int:
        """How many VMs there are, but for those that leave or wait in Google's queue."""
        return sum(one.status not in (*GONE, QUEUED) for one in self.instances.values())

    @property
    def holding(self) -> set[str]:
        """The VMs that hold stock and quota: one that is being shut down does so to its end."""
        return {name for name, one in self.instances.items() if one.status not in (*OFF, QUEUED)}

    @property
    def idle(self) -> int:
        """How many VMs run that are no job's."""
        busy = {track.instance for track in self.tracks.values()} | set(self.workers())
        return sum(
            self.is_alive(name) and one.status != QUEUED and name not in self.deleted
            for name, one in self.instances.items()
            if name not in busy
        )

    def made_at(self, instance: str, now: float) -> float:
        """When the VM was made, as well as that is known."""
        listed = self.instances.get(instance)
        return self.since.get(instance) or _made(listed.created if listed else 0.0, now)

    def is_held(self, track: Track) -> bool:
        """Whether a VM that was made for another job works on it."""
        status = track.status
        return status is not None and not status.state.final and self.is_alive(status.instance)

    def workers(self) -> dict[str, list[Track]]:
        """The jobs that each VM has said to work for."""
        found: dict[str, list[Track]] = {}
        for track in self.tracks.values():
            if track.status is not None:
                found.setdefault(track.status.instance, []).append(track)
        return found

    def give(self, track: Track, adopted: Adopted, now: float) -> None:
        """A VM that a launcher before this one made, for its job."""
        track.take(Placed(track.num, adopted.attempt, adopted.instance, adopted.candidate), now)
        track.placed = self.since[adopted.instance] = _made(adopted.created, now)


def _made(created: float, now: float) -> float:
    """By Google's clock: where it is ahead of this one, a VM is no newer than now. ``created``: 0 where not known."""
    return min(created or now, now)
