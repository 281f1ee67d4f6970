"""What MLflow would not have, kept beside the job's run: nothing of a program is dropped in silence."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from hydra_gce.tracking.relay.calls import Refused
from hydra_gce.tracking.relay.destination import Destination, Refusal

FILE = "hydra_gce/refused.jsonl"
TAG = "hydra_gce.refused"


class Refusals:
    """All of a sweep's; those of a job lie as the artifact ``hydra_gce/refused.jsonl`` of its point.

    Where the store takes no artifacts, the point's tag ``hydra_gce.refused`` says how many they are, and why.
    """

    def __init__(self) -> None:
        self.all: list[Refusal] = []
        self._kept: dict[int, int] = {}

    def add(self, refusal: Refusal) -> None:
        """A record that is played again is refused again, and told once."""
        if refusal not in self.all:
            self.all.append(refusal)

    def of_job(self, num: int) -> list[Refusal]:
        return [refusal for refusal in self.all if refusal.num == num]

    def keep(self, to: Destination, num: int) -> None:
        """Writes those of a job that are not written yet, as soon as there is a run to write them to."""
        refusals, point = self.of_job(num), to.point(num)
        if point is None or len(refusals) == self._kept.get(num, 0):
            return
        text = "".join(json.dumps(asdict(refusal)) + "\n" for refusal in refusals)
        try:
            to.call("take an artifact", lambda: to.log_text(point.run_id, text, FILE))
        except Refused as refused:  # artifacts behind a server that this machine's MLflow does not talk to
            to.set_tags(point.run_id, {TAG: f"{len(refusals)}, the last: {refusals[-1].what}; {refused}"})
        self._kept[num] = len(refusals)

    def read_back(self, to: Destination, num: int) -> None:
        """Those that an earlier relay has kept."""
        point = to.point(num)
        if point is None:
            return
        folder = FILE.rsplit("/", 1)[0]
        try:
            there = to.call("list artifacts", lambda: to.artifacts(point.run_id).list_artifacts(folder))
        except Refused:  # then they could not be kept there either
            return
        if FILE not in [info.path for info in there]:
            return
        with tempfile.TemporaryDirectory(prefix="hydra-gce-refused-") as directory:
            path = to.call(
                "give an artifact", lambda: to.artifacts(point.run_id).download_artifacts(FILE, directory)
            )
            for line in Path(path).read_text(encoding="utf-8").splitlines():
                self.add(Refusal(**json.loads(line)))
        self._kept[num] = len(self.of_job(num))
