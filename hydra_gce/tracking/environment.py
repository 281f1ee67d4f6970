"""The environment variables that lead a program's MLflow to the journal, or tell it whose run it makes.

Nothing here imports MLflow.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SCHEME = "hydra-gce"
POINT_VARIABLE = "HYDRA_GCE_TRACKING"
ARTIFACTS = "artifacts"
DATABASE = "mlflow.db"


@dataclass(frozen=True)
class Point:
    """The attempt of a job that a program runs for, and the ids of runs and models that belong to that job.

    A run's id is 12 hex digits for the job, 16 for what the program called the run (experiment, parent, name) and
    4 for how many it had called so before: the same program on another VM gets the same ids again. So it does for the
    first model of each name in a run (``checkpoint-300``). Later ones of the same name are told apart by nothing but
    their order, which a program that goes on from a checkpoint does not repeat: each gets an id of its own.
    """

    sweep: str
    num: int
    attempt: int

    @property
    def id_prefix(self) -> str:
        return _digest(f"{self.sweep}/{self.num}", 12)

    def run_family(self, experiment: str, parent: str, name: str) -> str:
        """The beginning of the ids of all runs that are called so."""
        return self.id_prefix + _digest("\0".join((experiment, parent, name)), 16)

    def model_id(self, run_id: str, name: str) -> str:
        """The id of the first model that is called so in a run."""
        return f"m-{self.id_prefix}{_digest(chr(0).join((run_id, name)), 20)}"

    def another_model_id(self) -> str:
        """The id of one that is called as another one in its run is."""
        return f"m-{self.id_prefix}{uuid.uuid4().hex[:20]}"

    def owns_model(self, model_id: str) -> bool:
        return model_id.startswith("m-") and self.owns(model_id[2:])

    def owns(self, run_id: str) -> bool:
        return len(run_id) == 32 and run_id.startswith(self.id_prefix)

    def to_text(self) -> str:
        return f"{self.sweep}/{self.num}/{self.attempt}"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Point | None:
        text = environ.get(POINT_VARIABLE)
        if not text:
            return None
        sweep, num, attempt = text.rsplit("/", 2)
        return cls(sweep, int(num), int(attempt))


def variables(
    directory: Path | None, sweep: str, num: int, attempt: int, experiment: str | None = None
) -> dict[str, str]:
    """What a program's environment needs so that its records go to ``directory`` (absolute, of this attempt
    alone); None: to the server that the environment names already.

    ``directory`` then holds ``journal.jsonl`` and ``artifacts/``, which the agent carries to the bucket, and
    the database, which stays. ``experiment`` is the name of the one that the launcher or the laptop's
    environment chose.
    """
    chosen = {POINT_VARIABLE: Point(sweep, num, attempt).to_text()}
    if directory is not None:
        chosen["MLFLOW_TRACKING_URI"] = f"{SCHEME}://{directory}"
        # A registry of its own beside the runs, so that `log_model(registered_model_name=…)` does not end a
        # training.
        chosen["MLFLOW_REGISTRY_URI"] = f"sqlite:///{directory / DATABASE}"
    if experiment:
        chosen["MLFLOW_EXPERIMENT_NAME"] = experiment
    return chosen


def is_direct(environ: Mapping[str, str]) -> bool:
    """Whether a program on a VM talks to a tracking server itself."""
    return POINT_VARIABLE in environ and not environ.get("MLFLOW_TRACKING_URI", "").startswith(f"{SCHEME}:")


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
