"""The bucket: where each thing lies, and the few verbs that are needed on it. The same on the laptop and on a VM.

Names are below ``gs://<bucket>/hydra-gce/``. All traffic goes through ``google-cloud-storage``, which is imported by
whoever makes the ``storage.Bucket`` that is given here.
"""

from __future__ import annotations

import base64
import builtins
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra_gce.errors import Damaged, GenerationMismatch, ObjectMissing

if TYPE_CHECKING:
    from google.cloud import storage

ROOT = "hydra-gce/"
REMOVED = "hydra-gce-removed"
"""In the metadata of an object that stands for a file that is no more."""
_TRY_FOR_S = 120.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 20.0
_CONNECT_S, _SILENT_S = 10.0, 60.0
_DOWNLOADS = 3
_BLOCK = 1 << 20
_NEW_FOR_S = 24 * 3600.0


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
    def watcher(self) -> str:
        """Who watches the sweep: see ``lease``."""
        return f"{self.prefix}watcher"

    @property
    def view(self) -> str:
        """What its watcher shows, for all others: see ``view``."""
        return f"{self.prefix}view.json"

    @property
    def plans(self) -> str:
        """What its launches settled, as a prefix: see ``plan``."""
        return f"{self.prefix}plan/"

    def plan(self, number: int) -> str:
        return f"{self.plans}{number:06d}"

    @property
    def wishes(self) -> str:
        """What people ask of a sweep while it runs, as a prefix: see ``wishes``."""
        return f"{self.prefix}wishes/"

    @property
    def relay(self) -> str:
        """Who plays the MLflow records: see ``lease``."""
        return f"{self.prefix}relay"

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

    def results(self, num: int) -> str:
        """Of all attempts that came to an end, as a prefix."""
        return f"{self.job(num)}result/"

    def result(self, num: int, attempt: int) -> str:
        return f"{self.results(num)}{attempt:03d}"

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

    def artifacts_done(self, num: int) -> str:
        """Which of them MLflow's artifact store has: see ``tracking.relay.artifacts``."""
        return f"{self.job(num)}artifacts.done"

    def relay_of(self, num: int) -> str:
        """The same for one job, where its VM plays them."""
        return f"{self.job(num)}relay"

    def console(self, instance: str) -> str:
        """The end of the serial console of a VM that fell silent."""
        return f"{self.prefix}console/{instance}"

    def boot(self, instance: str) -> str:
        """What a VM wrote that could not start its agent."""
        return f"{self.prefix}boot/{instance}"

    @property
    def vms(self) -> str:
        return f"{self.prefix}vms/"

    def vm(self, instance: str) -> str:
        """A VM's life as it knows it itself; in the object's metadata."""
        return f"{self.vms}{instance}"


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

    def __init__(self, bucket: storage.Bucket, try_for_s: Callable[[], float] = lambda: _TRY_FOR_S) -> None:
        """``try_for_s``: seconds for which a request is tried again that is answered with 429 or 5xx, or not at all."""
        self._bucket = bucket
        self._try_for_s = try_for_s
        self.name: str = bucket.name

    def _patience(self) -> dict[str, Any]:
        """How often and how long a request is tried: for all verbs alike.

        Each may be carried out twice. Without being told so, the client would not repeat a deletion; and of two writes
        with ``if_generation`` the second is refused, which whoever gave it has to look into.
        """
        from google.cloud.storage.retry import DEFAULT_RETRY

        try_for_s = self._try_for_s()
        retry = DEFAULT_RETRY.with_timeout(try_for_s).with_delay(_FIRST_PAUSE_S, _LONGEST_PAUSE_S, 2.0)
        silent_s = min(_SILENT_S, max(1.0, try_for_s))
        return {"retry": retry, "timeout": (min(_CONNECT_S, silent_s), silent_s)}

    def read(self, name: str, start: int = 0) -> bytes:
        """:raises ObjectMissing: there is no such object.
        :raises Damaged: what arrived is not what lies there, again and again.
        """
        return self._read(name, start)[0]

    def read_generation(self, name: str) -> tuple[bytes, int]:
        """An object and the generation that this content is of, in one request. Raises as ``read``."""
        return self._read(name, 0)

    def _read(self, name: str, start: int) -> tuple[bytes, int]:
        from google.api_core.exceptions import NotFound, RequestRangeNotSatisfiable

        try:
            for _ in range(_DOWNLOADS):
                blob = self._bucket.blob(ROOT + name)
                content: bytes = blob.download_as_bytes(
                    start=start or None, checksum=None, **self._patience()
                )
                if start or _is_whole(blob, [content]):
                    return content, int(blob.generation or 0)
        except NotFound as error:
            raise ObjectMissing(f"gs://{self.name}/{ROOT}{name} does not exist") from error
        except RequestRangeNotSatisfiable:
            return b"", 0
        raise self._damaged(name)

    def _damaged(self, name: str) -> Damaged:
        return Damaged(f"gs://{self.name}/{ROOT}{name} does not arrive as it is: its checksum does not hold")

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
                content,
                content_type="application/octet-stream",
                if_generation_match=if_generation,
                **self._patience(),
            )
        except PreconditionFailed as error:
            raise GenerationMismatch(f"gs://{self.name}/{ROOT}{name} was written by somebody else") from error
        return int(blob.generation)

    def find(self, name: str) -> Entry | None:
        """The object as a listing would show it; None where it does not exist."""
        blob = self._bucket.get_blob(ROOT + name, **self._patience())
        return _entry(blob) if blob else None

    def holds(self, name: str) -> bool:
        """Whether there is such an object. One that is not new any more is new again after that.

        What many sweeps share is written once, and a bucket's lifecycle deletes by age: it must not do so to what a
        sweep is about to read.
        """
        found = self.find(name)
        if found is None:
            return False
        if time.time() - found.updated > _NEW_FOR_S:
            try:
                self.copy(found, f"gs://{self.name}/{ROOT}{name}")
            except ObjectMissing:  # written over, and new by that, or deleted a moment ago
                return self.find(name) is not None
        return True

    def upload(self, name: str, path: Path, metadata: dict[str, str] | None = None) -> int:
        """Writes a whole object from a file and returns its generation."""
        blob = self._bucket.blob(ROOT + name)
        blob.metadata = metadata
        blob.upload_from_filename(str(path), content_type="application/octet-stream", **self._patience())
        return int(blob.generation)

    def download(self, name: str, path: Path, generation: int | None = None) -> None:
        """Streams an object into ``path`` by way of a temporary name beside it: ``path`` is whole or not there.

        :param generation: the one that is wanted: what was written over it since is not taken.
        :raises ObjectMissing: there is no such object.
        :raises Damaged: what arrived is not what lies there, again and again.
        """
        from google.api_core.exceptions import NotFound

        path.parent.mkdir(parents=True, exist_ok=True)
        # A name as long as the file's own could be too long with anything added.
        part = path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.part")
        try:
            for _ in range(_DOWNLOADS):
                blob = self._bucket.blob(ROOT + name, generation=generation)
                with part.open("w+b") as file:
                    # The client goes on where it was cut off, and then compares no checksum: so we do.
                    blob.download_to_file(file, checksum=None, **self._patience())
                    file.seek(0)
                    whole = _is_whole(blob, iter(lambda: file.read(_BLOCK), b""))
                if whole:
                    part.replace(path)
                    return
            raise self._damaged(name)
        except NotFound as error:
            gone = "does not exist" if generation is None else "is gone, or was written over"
            raise ObjectMissing(f"gs://{self.name}/{ROOT}{name} {gone}") from error
        finally:
            part.unlink(missing_ok=True)

    def copy(self, entry: Entry, target: str) -> None:
        """Copies an object to ``target`` (``gs://bucket/name``), inside Cloud Storage however large it is.

        :raises ObjectMissing: it is not there any more as it was listed.
        :raises Damaged: the copy is not what the object is.
        """
        from google.api_core.exceptions import NotFound

        to_bucket, _, to_name = target.removeprefix("gs://").partition("/")
        source = self._bucket.blob(ROOT + entry.name, generation=entry.generation)
        copied = self._bucket.client.bucket(to_bucket).blob(to_name)
        try:
            source.reload(**self._patience())
            token, _, _ = copied.rewrite(source, **self._patience())
            while token is not None:
                token, _, _ = copied.rewrite(source, token=token, **self._patience())
        except NotFound as error:
            raise ObjectMissing(f"gs://{self.name}/{ROOT}{entry.name} was written over") from error
        if source.crc32c and copied.crc32c and source.crc32c != copied.crc32c:
            raise Damaged(f"{target} is not what gs://{self.name}/{ROOT}{entry.name} is")

    def list(self, prefix: str) -> Iterator[Entry]:
        for blob in self._bucket.list_blobs(prefix=ROOT + prefix, **self._patience()):
            yield _entry(blob)

    def folders(self, prefix: str) -> builtins.list[str]:
        """The names between ``prefix`` and the next slash: of ``sweeps/`` those of all sweeps, whatever they hold."""
        listed = self._bucket.list_blobs(prefix=ROOT + prefix, delimiter="/", **self._patience())
        found: set[str] = set()
        for page in listed.pages:
            found.update(page.prefixes)
        return sorted(name[len(ROOT + prefix) :].rstrip("/") for name in found)

    def delete(self, name: str) -> None:
        """Deletes an object; one that is not there is no error."""
        from google.api_core.exceptions import NotFound

        try:
            self._bucket.blob(ROOT + name).delete(**self._patience())
        except NotFound:
            return


def _is_whole(blob: storage.Blob, blocks: Iterable[bytes]) -> bool:
    """Whether this is the content that ``blob`` was downloaded as, by the CRC-32C that came along."""
    return not blob.crc32c or _crc32c(blocks) == blob.crc32c


def checksum(path: Path) -> str:
    """A file's CRC-32C, as Cloud Storage writes it."""
    with path.open("rb") as file:
        return _crc32c(iter(lambda: file.read(_BLOCK), b""))


def _crc32c(blocks: Iterable[bytes]) -> str:
    import google_crc32c

    value = 0
    for block in blocks:
        value = google_crc32c.extend(value, block)
    return base64.b64encode(value.to_bytes(4, "big")).decode()


def _entry(blob: storage.Blob) -> Entry:
    return Entry(
        name=blob.name[len(ROOT) :],
        size=int(blob.size or 0),
        generation=int(blob.generation or 0),
        updated=blob.updated.timestamp() if blob.updated else 0.0,
        metadata=dict(blob.metadata or {}),
    )
