"""A file system of a few megabytes, really full when it is full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[Path]:
    """Mounted at ``path``; the test is skipped where that may not be done."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("a small file system can be mounted by root on Linux alone")
    path.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(path: Path, leave: int = 0) -> None:
    """Writes into a file until ``leave`` bytes are left on its disk."""
    with path.open("ab", buffering=0) as file:
        while (free := _free(path.parent) - leave) > 0:
            file.write(b"x" * min(free, 1 << 20))


def _free(directory: Path) -> int:
    state = os.statvfs(directory)
    return state.f_bavail * state.f_frsize
