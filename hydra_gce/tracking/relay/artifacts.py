"""Carries the artifacts of a job's runs and models from the bucket into the artifact store, while they come.

What is done stands in the bucket: the generation of each object that the store has. A relay that was killed is followed
by one that goes on with the rest; a file that the program wrote again is another generation, and is brought again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from hydra_gce.bucket import REMOVED, Bucket, Entry, SweepNames, checksum
from hydra_gce.errors import ObjectMissing
from hydra_gce.tracking.relay.address import is_directory
from hydra_gce.tracking.relay.calls import Refused, Unknown
from hydra_gce.tracking.relay.destination import Destination
from hydra_gce.tracking.relay.models import describe_as_file_of_run, note_in_history

_MODELS = "models"
_MODEL_FILE = "MLmodel"
_SAVE_EVERY = 32

Refuse = Callable[[str, str, str], None]


class ArtifactLane:
    """Of one job: objects ``<run>/…`` and ``models/<model>/…``, by the ids that the programs know.

    One file at a time lies on this machine's disk, none in memory; into a store in Cloud Storage it is copied there.
    ``refuse(run, what, why)`` is told of a file that the store would not have; ``run`` is the program's id, empty for a
    model's file.
    """

    def __init__(self, bucket: Bucket, names: SweepNames, num: int, to: Destination, refuse: Refuse) -> None:
        self._bucket = bucket
        self._prefix = names.artifacts(num)
        self._record = names.artifacts_done(num)
        self._to = to
        self._refuse = refuse
        self._places = _Places(to)
        self._done: dict[str, int] | None = None
        self._unsaved = 0

    def bring(self, to_end: bool) -> None:
        """All that is there and not in the store. Until the end, a file whose run or model is not known yet waits."""
        done = self._read_record()
        for entry in self._bucket.list(self._prefix):
            name = entry.name[len(self._prefix) :]
            if done.get(name) == entry.generation:
                continue
            path = PurePosixPath(name)
            try:
                if _is_of(path, self._to.deleted_models):
                    pass  # nobody wants it any more
                elif REMOVED in entry.metadata:
                    self._take_away(path, is_there=name in done)
                else:
                    self._bring(entry, path)
            except ObjectMissing:
                continue  # written anew in the meantime: the next call sees it
            except Refused as refused:
                if isinstance(refused, Unknown) and not to_end:
                    continue
                owner = "" if path.parts[0] == _MODELS else path.parts[0]
                self._refuse(owner, f"artifact {path}", str(refused))
            done[name] = entry.generation
            self._unsaved += 1
            if self._unsaved >= _SAVE_EVERY:
                self._save()
        if self._unsaved:
            self._save()

    def _bring(self, entry: Entry, path: PurePosixPath) -> None:
        place = self._places.of(path)
        if place is None:
            return
        if place.in_cloud_storage and path.name != _MODEL_FILE:
            target = f"{place.uri}/{place.below}/{path.name}" if place.below else f"{place.uri}/{path.name}"
            self._to.call(f"take the artifact {path}", lambda: self._bucket.copy(entry, target))
            return
        with tempfile.TemporaryDirectory(prefix="hydra-gce-artifact-") as directory:
            local = Path(directory) / path.name
            self._bucket.download(entry.name, local, entry.generation)
            if path.name == _MODEL_FILE:
                self._describe(local, place)
            self._to.call(f"take the artifact {path}", partial(place.put, str(local)))
            place.verify(local)

    def _describe(self, local: Path, place: _Place) -> None:
        """A model's description names its run and itself: by the ids that they have in the store."""
        text = local.read_text(encoding="utf-8")
        local.write_text(self._to.translate(text), encoding="utf-8")
        run = place.model_of
        if run and (model := describe_as_file_of_run(local, run, place.below)):
            self._to.call("take tags", partial(note_in_history, self._to, run, model))

    def _take_away(self, path: PurePosixPath, is_there: bool) -> None:
        """The program has removed the file."""
        if not is_there:
            return
        try:
            place = self._places.of(path)
        except Unknown:
            return  # a model that is gone as a whole
        if place is None:
            return
        uri = place.uri
        below = f"{place.below}/{path.name}" if place.below else path.name
        self._to.call(f"delete the artifact {path}", lambda: self._to.delete_artifacts(uri, below))

    def _read_record(self) -> dict[str, int]:
        if self._done is None:
            try:
                self._done = json.loads(self._bucket.read(self._record))
            except ObjectMissing:
                self._done = {}
        assert self._done is not None
        return self._done

    def _save(self) -> None:
        self._bucket.write(self._record, json.dumps(self._done).encode())
        self._unsaved = 0


@dataclass(frozen=True)
class _Place:
    """Where a file goes: ``below`` its run's or model's artifacts, which lie at ``uri``.

    ``model_of`` is set where it lies at the top of a model that is a folder of a run: that run.
    """

    uri: str
    below: str
    put: Callable[[str], None]
    model_of: str = ""

    @property
    def in_cloud_storage(self) -> bool:
        return self.uri.startswith("gs://")

    def verify(self, local: Path) -> None:
        """Where the store is a directory here, that it has what was put there.

        :raises OSError: it has not: a full disk, a file that was changed.
        """
        from mlflow.utils.file_utils import local_file_uri_to_path

        if not is_directory(self.uri):
            return
        there = Path(local_file_uri_to_path(self.uri)) / self.below / local.name
        if checksum(there) != checksum(local):
            raise OSError(f"{there} is not what was written there")


class _Places:
    """Of the runs and models of a job; each is asked for once."""

    def __init__(self, to: Destination) -> None:
        self._to = to
        self._uris: dict[str, str] = {}

    def of(self, path: PurePosixPath) -> _Place | None:
        """None for a file of a model that another one has replaced.

        :raises Unknown: its run or model is.
        """
        parts = path.parts
        if parts[0] != _MODELS or len(parts) < 3:
            return self._of_run(self._to.run_id(parts[0]), parts[1:-1])
        if self._to.has_models:
            return self._of_model(self._to.model_id(parts[1]), parts[2:-1])
        folder = self._to.folder_of(parts[1])
        if folder is None:
            return None
        place = self._of_run(folder.run_id, (folder.folder, *parts[2:-1]))
        return replace(place, model_of=folder.run_id) if len(parts) == 3 else place

    def _of_run(self, run: str, folders: Sequence[str]) -> _Place:
        below = "/".join(folders)
        artifacts = self._to.call("say where artifacts go", lambda: self._to.artifacts(run))
        uri = artifacts.artifact_uri.rstrip("/")
        return _Place(uri, below, lambda local: artifacts.log_artifact(local, below or None))

    def _of_model(self, model: str, folders: Sequence[str]) -> _Place:
        client, below = self._to.client, "/".join(folders)
        uri = self._uri(model, lambda: client.get_logged_model(model).artifact_location)
        return _Place(uri, below, lambda local: client.log_model_artifact(model, local, below or None))

    def _uri(self, owner: str, ask: Callable[[], str]) -> str:
        if owner not in self._uris:
            self._uris[owner] = self._to.call("say where artifacts go", ask).rstrip("/")
        return self._uris[owner]


def _is_of(path: PurePosixPath, models: set[str]) -> bool:
    return path.parts[0] == _MODELS and len(path.parts) > 2 and path.parts[1] in models
