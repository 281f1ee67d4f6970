"""Finds the Python environment that the sweep asks for on this VM, or makes it, and becomes the agent in it.

    python3 bootstrap.py <what is wanted: environments/<sha256>.json> <the unpacked launcher>

Runs on the system's Python (3.8 or later) with the standard library only. Below ``HYDRA_GCE_PREFIX`` it reads
``environment.json`` ({"python": …}), the mark of a baked image, and keeps a mark of its own for each
environment that it has found good or made: a reboot, or an image made of this VM's disk, starts in a moment. A
baked environment is never written to, and LD_LIBRARY_PATH stays as it is: the GPU's driver is the image's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple


class BootFailure(Exception):
    """Why there is no environment; the message is one line."""


class Wanted(NamedTuple):
    """The sweep's environment, as the launcher wrote it."""

    sha256: str
    python: str
    requirements: str
    apt: list[str]
    setup: list[str]

    @classmethod
    def read(cls, path: Path) -> Wanted:
        wanted = json.loads(path.read_text(encoding="utf-8"))
        return cls(path.stem, wanted["python"], wanted["requirements"], wanted["apt"], wanted["setup"])


def main(arguments: list[str]) -> None:
    wanted, launcher = Wanted.read(Path(arguments[0])), arguments[1]
    try:
        python = find_or_make(wanted, Path(os.environ["HYDRA_GCE_PREFIX"]))
        become_agent(python, launcher)
    except (BootFailure, OSError) as error:
        say(str(error))
        sys.exit(1)


def say(line: str) -> None:
    print("hydra-gce: " + line, flush=True)


def find_or_make(wanted: Wanted, prefix: Path) -> str:
    """The path of a Python that has what is wanted."""
    mark = prefix / "environments" / (wanted.sha256 + ".json")
    python = _marked(mark)
    if python:
        say("environment: " + python + ", as at the last boot")
        return python
    install_packages_of_system(wanted.apt)
    run_setup(wanted.setup)
    for candidate in _candidates(prefix):
        if satisfies(candidate, wanted, prefix):
            say("environment: " + candidate + " has all that is asked for")
            break
    else:
        candidate = make(wanted, prefix)
    mark.parent.mkdir(parents=True, exist_ok=True)
    part = mark.with_suffix(".part")
    part.write_text(json.dumps({"python": candidate}), encoding="utf-8")
    part.replace(mark)
    return candidate


def _candidates(prefix: Path) -> list[str]:
    marks = [prefix / "environment.json", *sorted((prefix / "environments").glob("*.json"))]
    return list(dict.fromkeys([*filter(None, map(_marked, marks)), *_pythons_of_container()]))


def _pythons_of_container() -> list[str]:
    """Those of the image that ``hydra.launcher.vm.container`` names: it was chosen for what is in them."""
    if not os.environ.get("HYDRA_GCE_CONTAINER"):
        return []
    baked = _marked(Path("/opt/hydra-gce/environment.json"))
    return list(filter(None, [baked, shutil.which("python3"), shutil.which("python")]))


def _marked(mark: Path) -> str | None:
    """The Python that a mark names, if both are there."""
    try:
        python = str(json.loads(mark.read_text(encoding="utf-8"))["python"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise BootFailure(f"environment: {mark} is no mark of an environment: {error!r}") from error
    return python if os.access(python, os.X_OK) else None


def satisfies(python: str, wanted: Wanted, prefix: Path) -> bool:
    """Whether an environment has the Python and the packages that are wanted. Nothing is changed in it."""
    look = [python, "-I", str(Path(__file__).with_name("pins.py"))]
    answer = subprocess.run(look, input=wanted.requirements.encode(), stdout=subprocess.PIPE, check=False)
    if answer.returncode:
        say(f"environment: {python} does not run")
        return False
    found = json.loads(answer.stdout.decode())
    if found["python"] != wanted.python:
        say(f"environment: {python} is Python {found['python']}, not {wanted.python}")
        return False
    if found["missing"]:
        first, *others = found["missing"]
        more = f" and {len(others)} more" if others else ""
        say(f"environment: {python} lacks {first}{more}")
        return False
    return not found["unclear"] or _uv_would_change_nothing(python, wanted, prefix)


def install_packages_of_system(packages: list[str]) -> None:
    missing = [package for package in packages if not _is_installed(package)]
    if not missing:
        return
    started = time.monotonic()
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    # A fresh machine may be busy with its own updates.
    apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
    for command in ([*apt, "update"], [*apt, "install", "--no-install-recommends", *missing]):
        if _status(command, env=environment) != 0:
            raise BootFailure("apt: {} failed; asked for by hydra.launcher.env.apt".format(" ".join(command)))
    say("apt: {} installed in {:.0f} s".format(", ".join(missing), time.monotonic() - started))


def _is_installed(package: str) -> bool:
    name = package.partition("=")[0]
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", name]
    try:
        answer = subprocess.run(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        return False
    return answer.stdout == b"installed"


def run_setup(commands: list[str]) -> None:
    for i, command in enumerate(commands):
        started = time.monotonic()
        status = _status(["bash", "-c", command], cwd="/")
        if status != 0:
            raise BootFailure(f"setup: exit code {status} of hydra.launcher.env.setup[{i}]: {command}")
        say(f"setup: {command} done in {time.monotonic() - started:.1f} s")


def _status(command: list[str], **how: Any) -> int:
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, check=False, **how).returncode
    except FileNotFoundError as error:
        raise BootFailure(f"{command[0]}: there is no such command on this machine") from error


def make(wanted: Wanted, prefix: Path) -> str:
    """A new environment of its own for what is wanted."""
    started = time.monotonic()
    uv = find_uv(prefix)
    home = prefix / "environments" / wanted.sha256
    python = str(home / "bin" / "python")
    say(f"environment: Python {wanted.python} and its packages are being installed")
    if home.exists():  # a boot that was interrupted
        shutil.rmtree(home)
    _uv(prefix, [uv, "venv", "--quiet", "--python", wanted.python, str(home)])
    install = [uv, "pip", "install", "--quiet", "--python", python, *_requirements(wanted, prefix)]
    _uv(prefix, install)
    count = len(list((home / "lib").glob("python*/site-packages/*.dist-info")))
    say(f"environment: {count} packages installed in {time.monotonic() - started:.0f} s")
    return python


def _requirements(wanted: Wanted, prefix: Path) -> list[str]:
    path = prefix / "wanted" / (wanted.sha256 + ".txt")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(wanted.requirements, encoding="utf-8")
    # All versions are pinned, each may lie in any of the indexes that the project names.
    strategy = ["--index-strategy", "unsafe-best-match"] if "--extra-index-url" in wanted.requirements else []
    return [*strategy, "--requirements", str(path)]


def _uv_would_change_nothing(python: str, wanted: Wanted, prefix: Path) -> bool:
    ask = [find_uv(prefix, beside=python), "pip", "install", "--dry-run", "--offline", "--python", python]
    answer = subprocess.run(
        [*ask, *_requirements(wanted, prefix)],
        env=_uv_environment(prefix),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    fits = answer.returncode == 0 and b"Would make no changes" in answer.stdout
    if not fits:
        say(f"environment: {python} lacks some of what is asked for, says uv")
    return fits


def find_uv(prefix: Path, beside: str | None = None) -> str:
    """uv beside a Python of the image, on PATH, or fetched."""
    for python in filter(None, [beside, *_candidates(prefix)]):
        uv = os.path.join(os.path.dirname(python), "uv")
        if os.access(uv, os.X_OK):
            return uv
    get_uv = [sys.executable, str(Path(__file__).with_name("get_uv.py")), "--into", str(prefix / "bin")]
    answer = subprocess.run(get_uv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    lines = answer.stdout.decode(errors="replace").strip().splitlines() or ["no answer"]
    if answer.returncode:
        raise BootFailure("environment: uv is not here and cannot be fetched: " + " ".join(lines))
    return lines[-1]


def _uv(prefix: Path, command: list[str]) -> None:
    answer = subprocess.run(
        command, env=_uv_environment(prefix), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if answer.returncode:
        said = answer.stdout.decode(errors="replace").strip()
        print(said, flush=True)
        what = " ".join(part for part in command[1:3] if not part.startswith("-"))
        why = " ".join(said.split())[:300] or f"exit code {answer.returncode}"
        raise BootFailure(f"environment: uv {what} failed: {why}")


def _uv_environment(prefix: Path) -> dict[str, str]:
    """Everything that uv makes stays below the prefix: a disk image of this VM has all of it."""
    own = {"UV_CACHE_DIR": str(prefix / "cache"), "UV_PYTHON_INSTALL_DIR": str(prefix / "python")}
    return {**own, "UV_NO_PROGRESS": "1", **os.environ}


def become_agent(python: str, launcher: str) -> None:
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [launcher, environment.get("PYTHONPATH")]))
    environment["PATH"] = os.path.dirname(python) + os.pathsep + environment.get("PATH", os.defpath)
    os.chdir(launcher)  # "-m" puts the current directory before PYTHONPATH
    os.execve(python, [python, "-m", "hydra_gce.agent"], environment)


if __name__ == "__main__":
    main(sys.argv[1:])
