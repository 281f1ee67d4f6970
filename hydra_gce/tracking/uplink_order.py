"""What a VM that plays its own journal is told."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hydra_gce.tracking.relay.runs import TrackedSweep


@dataclass(frozen=True)
class Order:
    """Which job's journal; ``tracked`` is the sweep's ``TrackedSweep``."""

    project: str
    bucket: str
    num: int
    attempt: int
    instance: str
    zone: str
    tracked: dict[str, Any]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Order:
        return cls(**json.loads(text))

    @property
    def sweep(self) -> TrackedSweep:
        from hydra_gce.tracking.relay.runs import TrackedSweep

        overrides = {int(num): list(words) for num, words in self.tracked["job_overrides"].items()}
        return TrackedSweep(**{**self.tracked, "job_overrides": overrides, "makes_points": False})
