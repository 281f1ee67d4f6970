"""A training's state on disk, and back.

Each checkpoint is one file, `step-<n>.npz`: NumPy's own format, a zip archive with a checksum for each array, and the
notes as JSON. It is written beside, forced to the disk and then renamed: a file of that name is whole, or was
damaged later, which the checksums show.
"""

import dataclasses
import json
import logging
import os
import re
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from unet.errors import CheckpointError
from unet.settings import TrainerSettings
from unet.state import NOTES, Arrays, Notes, TrainingState
from unet.tracking import Record

log = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d+)\.npz")

# What NumPy and zipfile raise for a file of which bytes are missing or wrong.
TORN = (zipfile.BadZipFile, EOFError, ValueError, KeyError, OSError, NotImplementedError)


class Checkpoints:
    """The checkpoints of a training in a directory of their own: the newest, and those with the best scores.

    `save` copies the state and returns; a thread writes, one after the other and in order. Used as a context,
    it ends when all is written.
    """

    def __init__(
        self, directory: Path, settings: TrainerSettings, clock: Callable[[], float] = time.time
    ) -> None:
        self.directory = directory
        self._every, self._seconds = settings.checkpoint_every, settings.checkpoint_minutes * 60
        self._clock, self._saved_at = clock, clock()
        self._keep_last, self._keep_best = settings.keep_last, settings.keep_best
        self._writer: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        self.changed: Callable[[], None] = lambda: None
        """Called when one is on the disk and those that it makes superfluous are gone, by the thread that writes."""

    def __enter__(self) -> "Checkpoints":
        self.directory.mkdir(parents=True, exist_ok=True)
        for left in self.directory.glob(".step-*.partial"):
            left.unlink()  # of a process that was killed while it wrote
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._writer is not None
        self._writer.shutdown(wait=True)
        if self._writing is not None and kind is None:
            self._writing.result()

    def is_due(self, step: int) -> bool:
        """Whether a checkpoint after this step is wanted: for its number, or because the last is so long ago."""
        is_old = 0 < self._seconds <= self._clock() - self._saved_at
        return step % self._every == 0 or is_old

    def save(self, state: TrainingState, unrecorded: Sequence[Record] = ()) -> None:
        """Write the state as it is now, in the background.

        Args:
            unrecorded: metrics up to here that a process which is killed now would leave behind unsent.

        Raises:
            CheckpointError: the former checkpoint could not be written.
        """
        assert self._writer is not None
        self.settle()  # one copy of the state in memory, not many
        arrays = {name: np.array(variable.numpy()) for name, variable in state.variables().items()}
        self._saved_at = self._clock()
        self._writing = self._writer.submit(
            self._write, arrays, dataclasses.replace(state.notes, unrecorded=list(unrecorded))
        )

    def settle(self) -> None:
        """Wait until all that was saved is on the disk."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def restore_newest(self, state: TrainingState) -> None:
        """Put back the newest checkpoint that is whole; where there is none, the state stays as it is.

        Raises:
            CheckpointError: it is of another model or optimizer.
        """
        for step in reversed(self.steps()):
            if self._restore(state, self.path(step)):
                log.info("Going on from step %d (%s).", step, self.path(step))
                return

    def restore_best(self, state: TrainingState) -> bool:
        """Put back the checkpoint with the best score, if it is here and whole."""
        step = state.notes.best_step
        return self.path(step).exists() and self._restore(state, self.path(step))

    def newest(self) -> Path | None:
        """The newest one on the disk."""
        steps = self.steps()
        return self.path(steps[-1]) if steps else None

    def last_good(self) -> Path | None:
        """The newest one, once what is being written is on the disk or has failed."""
        if self._writing is not None:
            wait([self._writing])
        return self.newest()

    def steps(self) -> list[int]:
        """The steps of which there is a checkpoint, in order."""
        names = (_NAME.fullmatch(path.name) for path in self.directory.glob("step-*.npz"))
        return sorted(int(name[1]) for name in names if name)

    def best_steps(self) -> list[int]:
        """The steps of those that stay for their score, the best first."""
        scores = {step: score for step in self.steps() if (score := _score_of(self.path(step))) is not None}
        # The earlier of two equal ones: it is what the training takes for its best.
        return sorted(scores, key=lambda step: (-scores[step], step))[: self._keep_best]

    def path(self, step: int) -> Path:
        """Where the checkpoint after so many steps lies."""
        return self.directory / f"step-{step:08d}.npz"

    def _write(self, arrays: Arrays, notes: Notes) -> None:
        path = self.path(notes.step)
        partial = path.with_name(f".{path.name}.partial")
        try:
            with partial.open("wb") as file:
                content: dict[str, Any] = {NOTES: np.array(json.dumps(dataclasses.asdict(notes))), **arrays}
                np.savez(file, **content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            _sync_directory(self.directory)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise CheckpointError(
                f"Checkpoint {path} could not be written ({error}). The last whole one is "
                f"{self.newest() or 'none'}; make room and start again in the same output directory."
            ) from error
        self._prune()
        self.changed()

    def _prune(self) -> None:
        """Remove what is neither among the newest nor among the best."""
        steps = self.steps()
        keep = set(steps[-self._keep_last :])
        if len(steps) > len(keep):
            keep |= set(self.best_steps())
        for step in set(steps) - keep:
            self.path(step).unlink(missing_ok=True)

    def _restore(self, state: TrainingState, path: Path) -> bool:
        """Whether the file was whole; only then is the state another one."""
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            notes = Notes(**json.loads(str(arrays.pop(NOTES))))
        except TORN as error:
            log.warning("Checkpoint %s is damaged and is passed over (%s).", path, error)
            return False
        except TypeError as error:
            raise CheckpointError(
                f"Checkpoint {path} is of another version of this program: {error}."
            ) from error
        variables = state.variables()
        if wrong := _differences(arrays, {name: tuple(v.shape) for name, v in variables.items()}):
            raise CheckpointError(
                f"Checkpoint {path} does not fit this model and optimizer: {wrong}. Go on with the settings that "
                "it was written with, or start anew in another output directory."
            )
        for name, variable in variables.items():
            variable.assign(arrays[name])
        state.notes = notes
        return True


def _differences(arrays: Arrays, shapes: dict[str, tuple[int, ...]]) -> str:
    if missing := sorted(set(shapes) - set(arrays)):
        return f"it has no {missing[0]}" + (f" and {len(missing) - 1} others" if missing[1:] else "")
    if unknown := sorted(set(arrays) - set(shapes)):
        return f"it has {unknown[0]}" + (f" and {len(unknown) - 1} others" if unknown[1:] else "") + " beside"
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            return f"{name} is {arrays[name].shape} there and {shape} here"
    return ""


def _score_of(path: Path) -> float | None:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            score = json.loads(str(file[NOTES]))["score"]
    except TORN:
        return None
    return None if score is None else float(score)


def _sync_directory(directory: Path) -> None:
    """Force the new name to the disk, where the system lets a directory be opened."""
    if os.name != "posix":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
