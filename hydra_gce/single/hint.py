"""A word to whoever names our launcher without ``-m``: Hydra then runs the job here, and uses no launcher at all."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath

_SAID = "HYDRA_GCE_HINTED"
"""In the environment of the program and of what it starts: once is enough."""
_NO_RUN = {
    "-m", "--multirun", "-c", "--cfg", "-h", "--help", "--hydra-help", "--version", "-i", "--info",
    "-sc", "--shell-completion",
}  # fmt: skip
_CHOICE = "hydra/launcher="


def hint(search_path: ConfigSearchPath) -> None:
    """Said on stderr where the command chooses ours and means a run here, though that can hardly be meant."""
    words = sys.argv[1:]
    if os.environ.get(_SAID) or not _is_plain_run(words):
        return
    name = next((word.removeprefix(_CHOICE) for word in words if word.startswith(_CHOICE)), "")
    folders = list(_folders(search_path))
    if not _is_ours(name, folders) or any(_is_multirun(folder) for folder in folders):
        return
    os.environ[_SAID] = "1"
    print("\n".join(lines(name, words, command_of_this())), file=sys.stderr, flush=True)


def lines(name: str, words: Sequence[str], command: Sequence[str]) -> list[str]:
    """:param words: what stands behind the program; ``command`` is what stands before."""
    others = [word for word in words if word != f"{_CHOICE}{name}"]
    chosen = [] if name == "gce" else [f"{_CHOICE}{name}"]
    return [
        f"hydra-gce  {_CHOICE}{name} without -m: Hydra uses no launcher, and the job runs on this machine. On a VM:",
        f"           {shlex.join(['hydra-gce', 'run', '--', *command, *chosen, *others])}",
        f"           {shlex.join([*command, '-m', f'{_CHOICE}{name}', *others])}   (as a sweep of one point)",
    ]


def _is_plain_run(words: Sequence[str]) -> bool:
    flags = {word.partition("=")[0] for word in words if word.startswith("-")}
    return not flags & _NO_RUN and "hydra.mode=MULTIRUN" not in words


def command_of_this() -> list[str]:
    """What was typed before this program's own words: ``python train.py``, ``python -m package.train``, ``train``."""
    typed = list(sys.orig_argv)
    before = typed[: len(typed) - len(sys.argv) + 1]
    script = Path(sys.argv[0])
    if script.suffix != ".py":  # a console script, which its first line has started with Python
        return [script.name]
    return [Path(before[0]).name, *before[1:]]


def _folders(search_path: ConfigSearchPath) -> Iterator[Path]:
    """Where the program's own configs lie, as far as that is known before Hydra looks for them."""
    for element in search_path.get_path():
        scheme, _, path = (element.path or "").rpartition("://")
        if element.provider == "hydra" or scheme == "structured" or not path:
            continue
        if scheme != "pkg":
            yield Path(path)
            continue
        top, *inner = re.split(r"[./]", path)
        spec = importlib.util.find_spec(top)
        for location in (spec.submodule_search_locations if spec else None) or ():
            yield Path(location, *inner)


def _is_ours(name: str, folders: Sequence[Path]) -> bool:
    """Whether it is ours, or a preset of the program's that is made from it."""
    return name == "gce" or any(
        re.search(r"\bgce\b", _text(folder / "hydra" / "launcher" / f"{name}.yaml")) for folder in folders
    )


def _is_multirun(folder: Path) -> bool:
    """Whether one of the program's configs says that it is a sweep by itself."""
    return any(re.search(r"mode:\s*['\"]?MULTIRUN\b", _text(path)) for path in folder.glob("*.yaml"))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
