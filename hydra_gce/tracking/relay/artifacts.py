"""Carries the artifacts of a job's runs and models from the bucket into the artifact store, file by file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

from hydra_gce.bucket import Bucket
from hydra_gce.tracking.relay.destination import Destination, Refused

_MODELS = "models"
_MODEL_FILE = "MLmodel"


def upload(
    bucket: Bucket, prefix: str, destination: Destination, refuse: Callable[[str, str, str], None]
) -> None:
    """Everything below ``prefix``: ``<run>/…`` and ``models/<model>/…``, by the ids that the programs know.

    One file at a time lies on this machine's disk, none in memory. Repeating it changes nothing.
    ``refuse(run, what, why)`` is told of a file that the store would not have; ``run`` is the program's id,
    empty for a model's file.
    """
    with tempfile.TemporaryDirectory(prefix="hydra-gce-artifact-") as directory:
        for entry in bucket.list(prefix):
            path = PurePosixPath(entry.name[len(prefix) :])
            try:
                put = _target(destination, path)
                local = Path(directory) / path.name
                bucket.download(entry.name, local)
                _with_our_ids(local, destination)
                destination.call(f"take the artifact {path}", partial(put, str(local)))
                local.unlink()
            except Refused as refused:
                refuse("" if path.parts[0] == _MODELS else path.parts[0], f"artifact {path}", str(refused))


def _target(destination: Destination, path: PurePosixPath) -> Callable[[str], None]:
    """What puts a local file where ``path`` says."""
    client, parts = destination.client, path.parts
    if parts[0] == _MODELS and len(parts) > 2:
        model = destination.model_id(parts[1])
        folder = "/".join(parts[2:-1]) or None
        return lambda local: client.log_model_artifact(model, local, folder)
    run_id, folder = destination.run_id(parts[0]), "/".join(parts[1:-1]) or None
    return lambda local: client.log_artifact(run_id, local, folder)


def _with_our_ids(local: Path, destination: Destination) -> None:
    """A model's description names its run and itself: by the ids that they have in the store."""
    if local.name == _MODEL_FILE:
        text = local.read_text(encoding="utf-8")
        local.write_text(destination.translate(text), encoding="utf-8")
