"""How far a program has come that ``hydra-gce run`` has started: it notes that in a file for its parent."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

NOTES = "HYDRA_GCE_RUN"
"""In the environment: the file."""
HYDRA, JOB = "Hydra has found the launcher", "the launcher has the job"


def note(what: str) -> None:
    """If this process is one of those. What such a one leaves behind, notes it in vain."""
    if NOTES in os.environ:
        with suppress(OSError), open(os.environ[NOTES], "a", encoding="utf-8") as notes:
            notes.write(f"{what}\n")


def noted(file: Path) -> set[str]:
    return set(file.read_text(encoding="utf-8").splitlines()) if file.exists() else set()
