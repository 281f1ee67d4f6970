"""Somebody who has nothing but a Python and our pages comes to a finished sweep, each step as it is written there.

The home is empty, the environment fresh, and the package comes from a wheel of this repository.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.walked_page import script_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
PATIENCE_S = 1500.0

# How this machine gets at packages, and nothing else that its owner has set.
FROM_HERE = re.compile(
    r"(PIP|UV|SSL|REQUESTS|CURL)_.*|(HTTPS?|ALL|NO)_PROXY|LANG|LC_ALL|TMPDIR", re.IGNORECASE
)


@dataclass
class NewUser:
    """``home`` is empty at first, and so is ``project``, where all is typed."""

    home: Path
    project: Path
    environ: dict[str, str]

    def types(self, script: str) -> str:
        """Runs it in one shell, and returns what was to be seen."""
        done = subprocess.run(
            ["bash"],
            input=script,
            cwd=self.project,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def leave(self) -> None:
        """The embedded Compute Engine would end by itself, later."""
        python = self.project / ".venv/bin/python"
        if python.exists():
            stop = [str(python), "-m", "hydra_gce.local", "stop"]
            subprocess.run(stop, env=self.environ, cwd=self.project, timeout=120, check=True)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip finds a wheel of this repository, as it would find one at an index."""
    made = tmp_path_factory.mktemp("wheels")
    source = made / "source"
    for name in ("hydra_gce", "hydra_plugins"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, source)
    subprocess.run([find_uv_bin(), "build", "--quiet", "--wheel", "--out-dir", made, source], check=True)
    return made


@pytest.fixture
def user(tmp_path: Path, wheels: Path) -> Iterator[NewUser]:
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    project.mkdir()
    base = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable))).parent
    environ = {name: value for name, value in os.environ.items() if FROM_HERE.fullmatch(name)}
    environ |= {
        "HOME": str(home),
        "PATH": f"{base}:/usr/local/bin:/usr/bin:/bin",
        "PIP_FIND_LINKS": f"{environ.get('PIP_FIND_LINKS', '')} {wheels}".strip(),
        "NO_GCE_CHECK": "true",
    }
    new = NewUser(home, project, environ)
    yield new
    new.leave()


def finished(said: str) -> None:
    """The last sweep that was told of ended well, and left nothing."""
    assert "this sweep runs on the embedded Compute Engine" in " ".join(said.split()), said
    assert "no VM is left" in said, said
    assert "FAILED" not in said, said


def test_the_quick_start(user: NewUser) -> None:
    said = user.types(script_of("quickstart.md"))

    finished(said)
    points = sorted(user.project.glob("multirun/*/*/[0-9]*"))
    assert [point.name for point in points] == ["0", "1", "2"]
    assert all((point / ".hydra/config.yaml").exists() for point in points)
    # Its page says: by score, highest first; and how often each program printed its last line.
    assert re.search(r"^1  lr=0\.1 .*\n0  lr=0\.01 |^1  lr=0\.1 .*\n2  lr=0\.9 ", said, re.MULTILINE), said
    assert len(re.findall(r"^\d \| x is ", said, re.MULTILINE)) == 3, said


def test_a_project_of_ones_own_in_a_src_layout(user: NewUser) -> None:
    said = user.types(script_of("your-project.md"))

    finished(said)
    sweeps = sorted(user.project.glob("multirun/*/*"))
    assert [len(list(sweep.glob("*/weights.npy"))) for sweep in sweeps] == [4, 2]
    assert list(sweeps[0].glob("0/train.log")), "Hydra's own log of the point"


def test_hydras_own_example_program(user: NewUser) -> None:
    """The one that each installation of Hydra has, as a file of the user's."""
    install = script_of("quickstart.md").partition("mkdir -p")[0]
    example = "$(python -c 'import hydra.test_utils as there; print(there.__path__[0])')"
    said = user.types(
        f"{install}\n"
        f"cp {example}/example_app.py my_app.py\n"
        f"cp -r {example}/configs .\n"
        "python my_app.py -m hydra/launcher=gce db=mysql,postgresql db.user=ada,grace\n"
        "hydra-gce logs\n"
    )

    finished(said)
    printed = {(num, words) for num, words in re.findall(r"^(\d) \|   ((?:driver|user): \w+)$", said, re.M)}
    assert printed == {
        *((str(num), f"driver: {driver}") for num, driver in enumerate(["mysql"] * 2 + ["postgresql"] * 2)),
        *((str(num), f"user: {user}") for num, user in enumerate(["ada", "grace"] * 2)),
    }, said
