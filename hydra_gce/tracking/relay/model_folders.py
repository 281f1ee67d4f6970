"""Where the files of models are in a store that has no models: among the artifacts of the run that logged them, as
MLflow 2 has it. Which model a folder is of stands on its run, as tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_TAG = "hydra_gce.model."  # then the id that the program knows; its value is the number and the folder


@dataclass(frozen=True)
class ModelFolder:
    """``run_id`` is the store's. The ``number`` counts a run's models: of those with one folder, the last has it."""

    run_id: str
    number: int
    folder: str

    @property
    def uri(self) -> str:
        return f"runs:/{self.run_id}/{self.folder}"


class ModelFolders:
    """Of one sweep, by the models' ids that its programs know."""

    def __init__(self) -> None:
        self._known: dict[str, ModelFolder] = {}

    def __contains__(self, vm_model: str) -> bool:
        return vm_model in self._known

    def __getitem__(self, vm_model: str) -> ModelFolder:
        return self._known[vm_model]

    def learn(self, run_id: str, tags: Mapping[str, str]) -> None:
        """From a run's tags."""
        for key, value in tags.items():
            if key.startswith(_TAG):
                number, folder = value.split(" ", 1)
                self._known[key.removeprefix(_TAG)] = ModelFolder(run_id, int(number), folder)

    def tags_of_new(self, vm_model: str, run_id: str, folder: str) -> dict[str, str]:
        """What its run has to say before the model is known."""
        number = sum(known.run_id == run_id for known in self._known.values())
        return {_TAG + vm_model: f"{number} {folder}"}

    def has_its_own(self, vm_model: str) -> bool:
        """Whether no later model of the run has taken over the folder."""
        mine = self._known[vm_model]
        return mine.number == max(known.number for known in self._known.values() if known.uri == mine.uri)
