"""What a VM's Python environment must have: from the project's own files, resolved before any VM exists."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hydra_gce.agent.pins import installed as installed_on
from hydra_gce.bucket import Bucket
from hydra_gce.cargo import uv
from hydra_gce.cargo.requirements import Requirements, parse, read
from hydra_gce.errors import ConfigError, EnvironmentUnsolvable

LAUNCHER = "hydra-gce-launcher"
PICKLED = ("hydra-core", "omegaconf", "cloudpickle")
"""What a task travels as: both sides must have the same version."""
TALKED_TO = {"google-cloud-storage": ">=3.0"}
TRACKED_WITH = {"mlflow": ">=2.22"}
"""What the agent works with: the laptop's version where the project allows it."""
MLFLOW_2_NEEDS = "sqlalchemy<2.1"
"""And does not say so: it imports FallbackAsyncAdaptedQueuePool, which SQLAlchemy 2.1 has not."""

_SOURCES = ("requirements.lock", "uv.lock", "requirements.txt", "pyproject.toml", "setup.cfg", "setup.py")
_WITH_EXTRAS = ("uv.lock", "pyproject.toml", "setup.cfg", "setup.py")


@dataclass(frozen=True)
class Environment:
    """All that ``agent/bootstrap.py`` needs. ``python`` is a minor version, ``requirements`` pins every package."""

    python: str
    requirements: str
    apt: list[str] = field(default_factory=list)
    setup: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        wanted = {
            "python": self.python,
            "requirements": self.requirements,
            "apt": self.apt,
            "setup": self.setup,
        }
        return json.dumps(wanted, sort_keys=True)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def object(self) -> str:
        return f"environments/{self.sha256}.json"


@dataclass(frozen=True)
class Resolution:
    """``source`` is the file that the packages come from, or "none"; ``paths`` lie below the code's root and belong on
    sys.path; ``notes`` are lines for the person."""

    environment: Environment
    source: str
    paths: list[str]
    notes: list[str]


def resolve(
    root: Path,
    *,
    python: str | None,
    requirements: str | None,
    extras: Sequence[str],
    apt: Sequence[str],
    setup: Sequence[str],
    tracking: bool,
    cache_dir: Path,
    installed: Mapping[str, str] | None = None,
) -> Resolution:
    """``hydra.launcher.env`` made concrete.

    :param installed: versions on the laptop, by canonical name; found unless given.
    :raises ConfigError: a field of ``hydra.launcher.env`` cannot be met.
    :raises EnvironmentUnsolvable: no set of packages meets the requirements.
    """
    minor = _minor(python)
    here = dict(installed_on(sys.path)) if installed is None else dict(installed)
    source = _source(root, requirements, extras)
    asked = _asked(source, extras)
    needs = _needs(asked, here, source, tracking)
    text = _pinned(root, source, asked, needs, minor, extras, here, cache_dir)
    if tracking and parse(text, root).pins().get("mlflow", "").startswith("2."):
        text = _pinned(root, source, asked, [*needs, MLFLOW_2_NEEDS], minor, extras, here, cache_dir)
    environment = Environment(minor, text, list(apt), list(setup))
    name = (
        source.relative_to(root).as_posix()
        if source and source.is_relative_to(root)
        else str(source or "none")
    )
    return Resolution(environment, name, _paths(root), [*asked.notes, *_other_python(minor)])


def upload(bucket: Bucket, environment: Environment) -> str:
    """Puts the environment into the bucket unless it is there, and returns its name there."""
    if not bucket.holds(environment.object):
        bucket.write(environment.object, environment.to_json().encode())
    return environment.object


def _minor(python: str | None) -> str:
    if python is None:
        return "{}.{}".format(*sys.version_info)
    match = re.fullmatch(r"(3\.\d+)(\.\d+)?", str(python))
    if match is None:
        raise ConfigError(
            f'hydra.launcher.env.python={python}: write a version of Python 3 such as "3.11", in quotes, or leave'
            " it out for the laptop's."
        )
    return match[1]


def _other_python(minor: str) -> list[str]:
    laptops = _minor(None)
    if minor == laptops:
        return []
    return [
        f"The VM runs Python {minor} and this laptop {laptops}: a function that is pickled by value, such as one of a"
        " notebook, cannot be read by another minor version."
    ]


def _source(root: Path, requirements: str | None, extras: Sequence[str]) -> Path | None:
    """The file that says what the project needs."""
    if requirements == "none":
        return None
    if requirements is not None:
        path = root / requirements
        if not path.is_file():
            raise ConfigError(f"hydra.launcher.env.requirements={requirements}: there is no file {path}.")
        return path
    names = _WITH_EXTRAS if extras else _SOURCES
    found = [root / name for name in names if (root / name).is_file()]
    for path in found:
        if path.name != "pyproject.toml" or re.search(
            r"^\s*\[\s*(project|build-system)\s*]", path.read_text(encoding="utf-8"), re.MULTILINE
        ):
            return path
    if extras:
        raise ConfigError(
            f"hydra.launcher.env.extras={list(extras)}: {root} has none of {', '.join(_WITH_EXTRAS)}, so the project"
            " has no extras. Leave them out."
        )
    return None


def _is_project(source: Path) -> bool:
    return source.suffix in (".toml", ".cfg", ".py")


def _asked(source: Path | None, extras: Sequence[str]) -> Requirements:
    """What a requirements file or a lock asks for; nothing yet for a project's own file, which uv reads."""
    if source is None or _is_project(source):
        return Requirements()
    if source.name == "uv.lock":
        return parse(uv.export(source.parent, extras), source.parent).without(LAUNCHER)
    if extras:
        raise ConfigError(
            f"hydra.launcher.env.extras={list(extras)}: {source.name} is a plain list of packages and knows no extras."
            " Leave them out, or set hydra.launcher.env.requirements=pyproject.toml."
        )
    return read(source).without(LAUNCHER)


def _needs(asked: Requirements, here: Mapping[str, str], source: Path | None, tracking: bool) -> list[str]:
    """What the launcher adds to the project's requirements."""
    pins = asked.pins()
    needs = []
    for name in PICKLED:
        laptops = here.get(name) or importlib.metadata.version(name)
        if name not in pins:
            needs.append(f"{name}=={laptops}")
        elif pins[name] != laptops:
            raise EnvironmentUnsolvable(
                f"{source} pins {name}=={pins[name]}, but this laptop runs {name} {laptops}: a task pickled by one is"
                f" not read by the other. Install {name}=={pins[name]} here, or pin {laptops} there."
            )
    for name, bound in {**TALKED_TO, **(TRACKED_WITH if tracking else {})}.items():
        if name not in pins:
            needs.append(f"{name}{bound}")
    return needs


def _pinned(
    root: Path,
    source: Path | None,
    asked: Requirements,
    needs: list[str],
    minor: str,
    extras: Sequence[str],
    here: Mapping[str, str],
    cache_dir: Path,
) -> str:
    """Every package that the VM gets, each with its one version."""
    everything = Requirements([*asked.lines, *needs], asked.local, asked.constraints, asked.indexes)
    question = uv.Question(
        root=root,
        requirements=everything.to_text(),
        constraints="".join(f"{line}\n" for line in asked.constraints),
        project=source if source and _is_project(source) else None,
        extras=tuple(extras),
        python=minor,
        # uv keeps to these where it may: the VM gets what the laptop has, and a baked image will do more often.
        preferences="".join(
            f"{name}=={version}\n" for name, version in sorted(here.items()) if name != LAUNCHER
        ),
        excluded=LAUNCHER,
        builds=bool(asked.local) or bool(source and _is_project(source)),
    )
    try:
        answer = uv.resolved(question, cache_dir / "environments")
    except uv.OutOfReach as error:
        exact = Requirements([*asked.lines, *(_as_here(need, here) for need in needs)], indexes=asked.indexes)
        if question.project is None and not asked.local and exact.all_pinned:
            return exact.to_text(for_vm=True)
        raise EnvironmentUnsolvable(
            f"The packages of {source or 'the launcher'} cannot be resolved: the package index cannot be reached, and"
            f" not everything is pinned with ==.\n{error}"
        ) from error
    except uv.NoSolution as error:
        raise EnvironmentUnsolvable(
            f"No set of packages for Python {minor} meets {source or 'the launcher'} together with what the launcher"
            f" needs from it ({', '.join(needs)}).\n{error}"
        ) from error
    packages = parse(answer, root)
    return Requirements(packages.lines, indexes=[*asked.indexes, *uv.indexes_of(root)]).to_text(for_vm=True)


def _as_here(requirement: str, here: Mapping[str, str]) -> str:
    name = re.split(r"[>=]", requirement)[0]
    return f"{name}=={here[name]}" if name in here else requirement


def _paths(root: Path) -> list[str]:
    """Where modules of the project lie, as installing it would have it: below the root, the root itself last."""
    is_project = any((root / name).is_file() for name in _WITH_EXTRAS)
    return (
        ["src", "."]
        if is_project and (root / "src").is_dir() and not (root / "src" / "__init__.py").exists()
        else ["."]
    )
