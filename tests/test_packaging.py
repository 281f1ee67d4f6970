"""What is installed, and from which locks: Hydra finds the launcher, and versions agree."""

from __future__ import annotations

import ast
import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.version import Version

from hydra_gce.agent import get_uv

ROOT = Path(__file__).resolve().parent.parent
WITH_TENSORFLOW = (
    "requirements.lock",
    "requirements-gpu.lock",
    "requirements-dev.lock",
    "requirements-hydra-next.lock",
)
LOCKS = (*WITH_TENSORFLOW, "requirements-mlflow-2.lock")
GOOGLE = {
    "google.cloud.compute_v1.": "google-cloud-compute",
    "google.cloud.storage.": "google-cloud-storage",
    "google.api_core.": "google-api-core",
    "google.protobuf.": "protobuf",
    "google.oauth2.": "google-auth",
    "google.auth.": "google-auth",
}
PYTHONS = ("3.10", "3.11", "3.12", "3.13")

DISCOVER = """
import sys
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
print(*(f"{c.__module__}.{c.__name__}" for c in Plugins.instance().discover(Launcher)))
heavy = {"google", "mlflow", "tensorflow", "keras"}
print(*(name for name in sys.modules if name.partition(".")[0] in heavy))
"""


def locked(lock: str) -> list[Requirement]:
    lines = (re.sub(r"\s*#.*", "", line) for line in (ROOT / lock).read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def versions(lock: str, python: str) -> dict[str, Version]:
    """What the lock installs with that Python on Linux, x86-64."""
    environment: dict[str, str] = {
        **{name: str(value) for name, value in default_environment().items()},
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
    }
    chosen = [r for r in locked(lock) if r.marker is None or r.marker.evaluate(environment)]
    found = {requirement.name: Version(str(requirement.specifier)[2:]) for requirement in chosen}
    assert len(found) == len(chosen), f"{lock} pins a package twice for Python {python}"
    return found


def declared(*extras: str) -> list[Requirement]:
    """The dependencies in setup.cfg."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lists = [config["options"]["install_requires"]]
    lists += [config["options.extras_require"][extra] for extra in extras]
    return [Requirement(line) for text in lists for line in text.splitlines() if line.strip()]


def undeclared(sources: list[str], names: set[str]) -> dict[str, set[str]]:
    """Modules that the sources import and no distribution of those names brings, with the files that import them."""
    providers = metadata.packages_distributions()
    own = {"hydra_gce", "hydra_plugins", "unet", "tests", "bench", "scripts", "train", "predict"}
    found: dict[str, set[str]] = {}
    for path in (path for source in sources for path in sorted(ROOT.glob(source))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for module in _modules_of(node):
                top = module.partition(".")[0]
                brought_by = {name.lower().replace("_", "-") for name in providers.get(top, ())}
                if top == "google":  # a namespace of many distributions
                    brought_by = {
                        GOOGLE[next(prefix for prefix in GOOGLE if f"{module}.".startswith(prefix))]
                    }
                if top not in sys.stdlib_module_names and top not in own and not brought_by & names:
                    found.setdefault(next(iter(brought_by), top), set()).add(str(path.relative_to(ROOT)))
    return found


def _modules_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


@pytest.mark.parametrize(
    ("sources", "extras"),
    [
        (["hydra_gce/**/*.py", "hydra_plugins/**/*.py"], []),
        (["unet/**/*.py", "train.py", "predict.py"], ["train", "membrane"]),
        (["tests/**/*.py", "scripts/*.py"], ["train", "dev"]),
    ],
    ids=["launcher", "program", "tests"],
)
def test_what_is_imported_is_declared(sources: list[str], extras: list[str]) -> None:
    names = {requirement.name.lower() for requirement in declared(*extras)}
    assert undeclared(sources, names) == {}


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("requirements.lock", ["train"]),
        ("requirements-gpu.lock", ["train-gpu"]),
        ("requirements-dev.lock", ["train", "pets", "dev", "bench"]),
        ("requirements-hydra-next.lock", ["train", "pets", "dev"]),
        ("requirements-mlflow-2.lock", []),
    ],
)
def test_each_lock_holds_what_setup_cfg_asks_for(lock: str, extras: list[str], python: str) -> None:
    pinned = versions(lock, python)
    for requirement in declared(*extras):
        if requirement.marker is not None and "tensorflow" in requirement.name:
            continue  # one of two, by machine: the next test
        name = requirement.name.lower()
        assert name in pinned, f"{name} is in setup.cfg, not in {lock}: run `make lock`"
        assert requirement.specifier.contains(pinned[name], prereleases=True), (
            f"{lock} pins {name} {pinned[name]}, setup.cfg asks for {requirement.specifier}: run `make lock`"
        )


@pytest.mark.parametrize("python", PYTHONS)
def test_one_build_of_tensorflow_is_installed_and_all_locks_mean_the_same_version(python: str) -> None:
    builds = {
        lock: {
            name: v for name, v in versions(lock, python).items() if name in {"tensorflow", "tensorflow-cpu"}
        }
        for lock in WITH_TENSORFLOW
    }
    assert {lock: list(found) for lock, found in builds.items()} == {
        lock: ["tensorflow" if lock == "requirements-gpu.lock" else "tensorflow-cpu"]
        for lock in WITH_TENSORFLOW
    }
    assert len({version for found in builds.values() for version in found.values()}) == 1


@pytest.mark.parametrize("python", PYTHONS)
def test_tests_run_with_the_versions_that_the_vms_run(python: str) -> None:
    tested = versions("requirements-dev.lock", python)
    for lock in ("requirements.lock", "requirements-gpu.lock"):
        shared = {name: version for name, version in versions(lock, python).items() if name in tested}
        assert {name: tested[name] for name in shared} == shared
    assert set(versions("requirements.lock", python)) <= set(tested)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_index_of_the_machine_that_made_it(lock: str) -> None:
    assert not re.search(r"://|^\s*-", (ROOT / lock).read_text(), re.MULTILINE)


def test_the_uv_that_is_fetched_is_the_one_that_the_lock_pins() -> None:
    assert str(versions("requirements.lock", "3.11")["uv"]) == get_uv.VERSION


def test_hydra_finds_the_installed_launcher_once_anywhere_and_loads_nothing_heavy(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", DISCOVER],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    launchers, heavy = found.stdout.splitlines()
    assert launchers.split().count("hydra_plugins.hydra_gce_launcher.launcher.GCELauncher") == 1
    assert heavy == ""


def test_hydra_finds_it_once_where_the_project_is_on_the_path_twice() -> None:
    found = subprocess.run(
        [sys.executable, "-c", DISCOVER], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.split().count("hydra_plugins.hydra_gce_launcher.launcher.GCELauncher") == 1


def test_the_wheel_holds_all_that_runs_and_nothing_else(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("hydra_gce", "hydra_plugins"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (source / "README.md").touch()
    (source / "tests").mkdir()
    (source / "tests" / "__init__.py").touch()
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    built = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=source, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr

    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        entry_points = archive.read(
            next(n for n in archive.namelist() if n.endswith("entry_points.txt"))
        ).decode()
    assert names == {
        str(path.relative_to(source))
        for package in ("hydra_gce", "hydra_plugins")
        for path in (source / package).rglob("*")
        if path.is_file()
    }
    assert "gce = hydra_plugins.hydra_gce_launcher.launcher:GCELauncher" in entry_points
