"""What MLflow's store would say at once to a batch that only goes to the journal for now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlflow.entities import LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

_NAME_TAG = "mlflow.runName"


@dataclass
class OpenRun:
    """A run that may be written to, as this process knows it; ``params`` are all that it has."""

    run_id: str
    params: dict[str, str]

    @classmethod
    def of(cls, run: Any) -> OpenRun:
        """:raises MlflowException: the run was deleted."""
        stage = run.info.lifecycle_stage
        if stage != LifecycleStage.ACTIVE:
            raise MlflowException(
                f"The run {run.info.run_id} must be in the 'active' state. Current state is {stage}.",
                INVALID_PARAMETER_VALUE,
            )
        return cls(run.info.run_id, dict(run.data.params))

    def take(self, params: Iterable[Any]) -> None:
        """Params that are to be logged.

        :raises MlflowException: a param has another value already.
        """
        new = {param.key: str(param.value) for param in params}
        for key, value in new.items():
            known = self.params.get(key, value)
            if known != value:
                raise MlflowException(
                    f"Changing param values is not allowed. Param with key='{key}' was already logged with "
                    f"value='{known}' for run ID='{self.run_id}'. Attempted logging new value '{value}'.",
                    INVALID_PARAMETER_VALUE,
                )
        self.params |= new


def needs_the_database(batch: Mapping[str, Any]) -> bool:
    """Whether MLflow does more with it than to keep it: a new name for the run, metrics of a model."""
    return any(key == _NAME_TAG for key, _ in batch["tags"]) or any(len(row) > 4 for row in batch["metrics"])
