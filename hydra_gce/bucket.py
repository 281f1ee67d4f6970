"""The bucket: where each thing lies, and the few verbs that are needed on it. The same on the laptop and on a VM.

Names are below ``gs://<bucket>/hydra-gce/``. All traffic goes through ``google-cloud-storage``, which is imported by
whoever makes the ``storage.Bucket`` that is given here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hydra_gce.errors import GenerationMismatch, ObjectMissing

if TYPE_CHECKING:
    from google.cloud import storage

ROOT = "hydra-gce/"


@dataclass(frozen=True)
class SweepNames:
    """Object names of one sweep."""

    sweep: str

    @property
    def prefix(self) -> str:
        return f"sweeps/{self.sweep}/"

    @property
    def description(self) -> str:
        return f"{self.prefix}sweep.json"

    @property
    def ledger(self) -> str:
        """The sweep's VMs and their prices: see ``money.ledger``."""
        return f"{self.prefix}ledger.json"

    @property
    def statuses(self) -> str:
        return f"{self.prefix}status/"

    def status(self, num: int) -> str:
        return f"{self.statuses}{num}"

    def job(self, num: int) -> str:
        return f"{self.prefix}jobs/{num}/"

    def spec(self, num: int) -> str:
        return f"{self.job(num)}spec"

    def claim(self, num: int) -> str:
        return f"{self.job(num)}claim"

    def result(self, num: int, attempt: int) -> str:
        return f"{self.job(num)}result/{attempt:03d}"

    def log(self, num: int, attempt: int, part: int) -> str:
        return f"{self.job(num)}log/{attempt:03d}-{part:06d}"

    def journal(self, num: int, attempt: int, part: int) -> str:
        return f"{self.job(num)}journal/{attempt:03d}-{part:06d}.jsonl"

    def output(self, num: int, attempt: int) -> str:
        """An attempt's mirror of the output directory, as a prefix: see ``mirror``."""
        return f"{self.job(num)}output/{attempt:03d}/"

    def artifacts(self, num: int) -> str:
        """The files that MLflow's journal points to, as a prefix."""
        return f"{self.job(num)}artifacts/"

    def boot(self, instance: str) -> str:
        """What a VM wrote that could not start its agent."""
        return f"{self.prefix}boot/{instance}"


@dataclass(frozen=True)
class Entry:
    """An object in a listing. ``name`` is relative to ``ROOT``; ``updated`` in seconds since the epoch."""

    name: str
    size: int
    generation: int
    updated: float
    metadata: dict[str, str]


class Bucket:
    """A bucket's objects below ``hydra-gce/``, by their relative names."""

    def __init__(self, bucket: storage.Bucket) -> None:
        self._bucket = bucket
        self.name: str = bucket.name

    def read(self, name: str, start: int = 0) -> bytes:
        """:raises ObjectMissing: there is no such object."""
        from google.api_core.exceptions import NotFound, RequestRangeNotSatisfiable

        try:
            content: bytes = self._bucket.blob(ROOT + name).download_as_bytes(
                start=start or None, checksum=None
            )
        except NotFound as error:
            raise ObjectMissing(f"gs://{self.name}/{ROOT}{name} does not exist") from error
        except RequestRangeNotSatisfiable:
            return b""
        return content

    def write(
        self,
        name: str,
        content: bytes,
        *,
        metadata: dict[str, str] | None = None,
        if_generation: int | None = None,
    ) -> int:
        """Writes a whole object and returns its generation.

        ``if_generation`` 0 asks that there be no such object yet, another number that the object be at it still.

        :raises GenerationMismatch: somebody else wrote it first.
        """
        from google.api_core.exceptions import PreconditionFailed

        blob = self._bucket.blob(ROOT + name)
        blob.metadata = metadata
        try:
            blob.upload_from_string(
                content, content_type="application/octet-stream", if_generation_match=if_generation
            )
        except PreconditionFailed as error:
            raise GenerationMismatch(f"gs://{self.name}/{ROOT}{name} was written by somebody else") from error
        return int(blob.generation)

    def find(self, name: str) -> Entry | None:
        """The object as a listing would show it; None where it does not exist."""
        blob = self._bucket.get_blob(ROOT + name)
        return _entry(blob) if blob else None

    def upload(self, name: str, path: Path, metadata: dict[str, str] | None = None) -> int:
        """Writes a whole object from a file and returns its generation."""
        blob = self._bucket.blob(ROOT + name)
        blob.metadata = metadata
        blob.upload_from_filename(str(path), content_type="application/octet-stream")
        return int(blob.generation)

    def download(self, name: str, path: Path, generation: int | None = None) -> None:
        """Streams an object into ``path`` by way of a temporary name beside it: ``path`` is whole or not there.

        :param generation: the one that is wanted: what was written over it since is not taken.
        :raises ObjectMissing: there is no such object.
        """
        from google.api_core.exceptions import NotFound

        path.parent.mkdir(parents=True, exist_ok=True)
        # A name as long as the file's own could be too long with anything added.
        part = path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.part")
        try:
            with part.open("wb") as file:
                self._bucket.blob(ROOT + name, generation=generation).download_to_file(file)
            part.replace(path)
        except NotFound as error:
            gone = "does not exist" if generation is None else "is gone, or was written over"
            raise ObjectMissing(f"gs://{self.name}/{ROOT}{name} {gone}") from error
        finally:
            part.unlink(missing_ok=True)

    def list(self, prefix: str) -> Iterator[Entry]:
        for blob in self._bucket.list_blobs(prefix=ROOT + prefix):
            yield _entry(blob)

    def delete(self, name: str) -> None:
        """Deletes an object; one that is not there is no error."""
        from google.api_core.exceptions import NotFound

        try:
            self._bucket.blob(ROOT + name).delete()
        except NotFound:
            return


def _entry(blob: storage.Blob) -> Entry:
    return Entry(
        name=blob.name[len(ROOT) :],
        size=int(blob.size or 0),
        generation=int(blob.generation or 0),
        updated=blob.updated.timestamp() if blob.updated else 0.0,
        metadata=dict(blob.metadata or {}),
    )
