"""Python here and on the VMs: will what is pickled here be understood there?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from hydra_gce.doctor.findings import Finding, by, error, ok, warning
from hydra_gce.doctor.patient import Patient

NAME = "Python"
OLDEST, NEWEST = (3, 10), (3, 13)
"""What the launcher runs on: `python_requires` and classifiers of its own package."""


def check(patient: Patient) -> list[Finding]:
    settings = patient.settings
    root = Path(settings.code.root or ".").expanduser()
    return [judge(sys.version_info[:2], settings.env.python, required_by(root))]


def judge(here: Sequence[int], wanted: str | None, requires: str | None) -> Finding:
    """:param wanted: ``env.python``; :param requires: ``requires-python`` of the project."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion, Version

    own = ".".join(map(str, here[:2]))
    like_here = by(f"hydra.launcher.env.python={own}")
    try:
        there = Version(wanted or own)
    except InvalidVersion:
        return error(NAME, f"env.python={wanted} is no version", like_here)
    minor = (there.major, there.minor)
    if not OLDEST <= minor <= NEWEST:
        newest = ".".join(map(str, NEWEST))
        said = f"VMs would have Python {there}; the launcher needs 3.{OLDEST[1]} to {newest} on both sides"
        if OLDEST <= tuple(here[:2]) <= NEWEST:
            return error(NAME, said, like_here)
        return error(NAME, said, by(f"uv venv --python {newest}", f"hydra.launcher.env.python={newest}"))
    if requires and not SpecifierSet(requires).contains(there, prereleases=True):
        said = f"VMs would have Python {there}, and the project's requires-python is {requires}"
        return error(NAME, said, by("hydra.launcher.env.python=<a version that it takes>"))
    if minor != tuple(here[:2]):
        said = f"{own} here, {there} on the VMs: functions that are pickled whole (notebooks, closures) do not travel"
        return warning(NAME, said, like_here)
    return ok(NAME, f"{own} here and on the VMs")


def required_by(root: Path) -> str | None:
    """``requires-python`` of a project; None where it says nothing."""
    try:
        text = (root / "pyproject.toml").read_text(encoding="utf-8")
    except OSError:
        return None
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "requires-python":
            return value.split("#")[0].strip().strip("\"'") or None
    return None
