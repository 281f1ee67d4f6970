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
    """A run as this process knows it; ``params`` are all that it has."""

    run_id: str
    lifecycle_stage: str
    params: dict[str, str]

    def check(self) -> None:
        """:raises MlflowException: the run was deleted."""
        if self.lifecycle_stage != LifecycleStage.ACTIVE:
            raise MlflowException(
                f"The run {self.run_id} must be in the 'active' state. Current state is {self.lifecycle_stage}.",
                INVALID_PARAMETER_VALUE,
            )

    def take(self, params: Iterable[Any]) -> None:
        """Params that are to be logged.

        :raises MlflowException: the run was deleted, or a param has another value already.
        """
        self.check()
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
