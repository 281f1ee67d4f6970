"""uv, asked which packages go together; its answers are kept, so that a second launch costs nothing."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from hydra_gce.errors import EnvironmentUnsolvable

_THROWN_BY = {
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_REQUIRE_HASHES",
    "UV_TORCH_BACKEND",
    "UV_PROJECT",
    "UV_WORKING_DIRECTORY",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
}
"""Variables that speak of the laptop's own environment; those that name indexes, proxies and logins hold."""
_UNREACHED = re.compile(
    r"error sending request|failed to fetch|dns error|connect error|connection (refused|reset)|timed? ?out"
    r"|network (connectivity )?is|network was disabled",
    re.IGNORECASE,
)


class NoSolution(Exception):
    """uv says why; the message is its own explanation."""


class OutOfReach(Exception):
    """The package index does not answer."""


@dataclass(frozen=True)
class Question:
    """A set of requirements to resolve for all platforms. ``project`` is a file such as pyproject.toml to add.

    ``builds`` says that a project's metadata may have to be built for the answer.
    """

    root: Path
    requirements: str
    constraints: str
    project: Path | None
    extras: tuple[str, ...]
    python: str
    preferences: str
    excluded: str
    builds: bool

    def key(self) -> str:
        """The same for the same question: the name of its kept answer."""
        said = {**asdict(self), "uv": version("uv"), "files": dict(self._files())}
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()

    def _files(self) -> Iterator[tuple[str, str]]:
        """What else the answer depends on: uv's settings; for metadata also what setuptools' ``file:`` may read."""
        for path in sorted(self.root.iterdir()):
            settings = path.name in ("pyproject.toml", "uv.toml")
            metadata = path.name == "setup.py" or path.suffix in (".cfg", ".txt", ".in")
            if (settings or (self.builds and metadata)) and path.is_file():
                yield path.name, hashlib.sha256(path.read_bytes()).hexdigest()


def resolved(question: Question, cache_dir: Path) -> str:
    """A requirements file with a version for each package.

    :raises NoSolution: there is none.
    :raises OutOfReach: neither the index nor uv's own cache can tell.
    """
    kept = cache_dir / f"{question.key()}.txt"
    if kept.exists():
        return kept.read_text(encoding="utf-8")
    try:
        answer = _compile(question)
    except OutOfReach:
        try:
            answer = _compile(question, "--offline")
        except NoSolution as error:
            raise OutOfReach(str(error)) from error
    cache_dir.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(f".{os.getpid()}.part")
    part.write_text(answer, encoding="utf-8")
    part.replace(kept)
    return answer


def export(project: Path, extras: Sequence[str]) -> str:
    """The packages of ``project``'s uv.lock as a requirements file.

    :raises EnvironmentUnsolvable: the lock does not fit its project.
    """
    command = [
        "export",
        "--frozen",
        "--no-emit-project",
        "--no-emit-workspace",
        "--no-dev",
        *_PLAIN,
        "--no-hashes",
    ]
    try:
        return _ask([*command, *(part for extra in extras for part in ("--extra", extra))], project)
    except (NoSolution, OutOfReach) as error:
        raise EnvironmentUnsolvable(f"{project / 'uv.lock'} cannot be read by uv:\n{error}") from error


_PLAIN = ("--no-annotate", "--no-header")


def _compile(question: Question, *more: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        files = {
            "requirements.in": question.requirements,
            "constraints.txt": question.constraints,
            "excluded.txt": question.excluded,
            "answer.txt": question.preferences,
        }
        paths = {}
        for name, content in files.items():
            paths[name] = Path(folder) / name
            paths[name].write_text(content, encoding="utf-8")
        command = ["pip", "compile", "--universal", "--python-version", question.python, *_PLAIN]
        command += ["--output-file", str(paths["answer.txt"]), "--no-strip-extras", *more]
        if question.constraints:
            command += ["--constraints", str(paths["constraints.txt"])]
        command.append(str(paths["requirements.in"]))
        if question.project:
            command += [
                str(question.project),
                *(part for extra in question.extras for part in ("--extra", extra)),
            ]
            if question.excluded in question.project.read_text(encoding="utf-8"):
                command += ["--excludes", str(paths["excluded.txt"])]
        _ask(command, question.root)
        return paths["answer.txt"].read_text(encoding="utf-8")


def _ask(command: list[str], folder: Path) -> str:
    from uv import find_uv_bin

    environment = {name: value for name, value in os.environ.items() if name not in _THROWN_BY}
    answer = subprocess.run(
        [find_uv_bin(), *command, "--quiet", "--color", "never", "--no-progress", "--no-python-downloads"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if answer.returncode == 0:
        return answer.stdout
    said = answer.stderr.strip()
    raise (OutOfReach if _UNREACHED.search(said) else NoSolution)(said)


def indexes_of(root: Path) -> list[str]:
    """The package indexes that the project names for uv, as options of a requirements file."""
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    path = root / "pyproject.toml"
    if not path.is_file():
        return []
    named = toml.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("uv", {}).get("index", [])
    return [
        f"{'--index-url' if index.get('default') else '--extra-index-url'} {index['url']}" for index in named
    ]
