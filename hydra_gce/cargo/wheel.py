"""The launcher's own package as a wheel, made from what is installed here: a VM runs the laptop's version.

Its parts are taken from where Python finds them, so an editable install or a PYTHONPATH serves as well as a
wheel from an index. It is stored uncompressed, with fixed times: the same code has the same bytes and name.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import importlib.metadata
import importlib.util
import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hydra_gce
from hydra_gce.bucket import Bucket
from hydra_gce.errors import ConfigError

DISTRIBUTION = "hydra-gce-launcher"
_PARTS = ("hydra_gce", "hydra_plugins.hydra_gce_launcher")
_LEFT_OUT = {"__pycache__", "hydra_gce/local", "hydra_gce/catalog"}
"""The VM plays no cloud and chooses no machines."""
_TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can hold
_WHEEL = "Wheel-Version: 1.0\nGenerator: hydra-gce-launcher\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@dataclass(frozen=True)
class Wheel:
    """``sha256`` is that of the file at ``path``; ``object`` its name in the bucket."""

    sha256: str
    path: Path
    object: str


def build(cache_dir: Path) -> Wheel:
    """The wheel of the running launcher, below ``cache_dir``.

    :raises ConfigError: the installation is incomplete.
    """
    content = _wheel_of(dict(_files()))
    sha256 = hashlib.sha256(content).hexdigest()
    path = cache_dir / "launcher" / f"{sha256}.whl"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        part.write_bytes(content)
        part.replace(path)
    return Wheel(sha256, path, f"launcher/{sha256}.whl")


def upload(bucket: Bucket, wheel: Wheel) -> str:
    """Puts the wheel into the bucket unless it is there, and returns its name there."""
    if not bucket.holds(wheel.object):
        bucket.upload(wheel.object, wheel.path)
    return wheel.object


def _files() -> Iterator[tuple[str, bytes]]:
    for part in _PARTS:
        spec = importlib.util.find_spec(part)
        if spec is None or spec.origin is None:
            raise ConfigError(
                f"The launcher's installation is incomplete: Python finds no package {part}. Install"
                f" {DISTRIBUTION} again."
            )
        yield from _files_below(Path(spec.origin).parent, part.replace(".", "/"))
    yield from _dist_info()


def _files_below(folder: Path, name: str) -> Iterator[tuple[str, bytes]]:
    for entry in sorted(folder.iterdir()):
        inner = f"{name}/{entry.name}"
        if entry.name in _LEFT_OUT or inner in _LEFT_OUT or entry.suffix == ".pyc":
            continue
        if entry.is_dir():
            yield from _files_below(entry, inner)
        else:
            yield inner, entry.read_bytes()


def _dist_info() -> Iterator[tuple[str, bytes]]:
    """Metadata and entry points: by these MLflow finds the tracking store of a wheel on PYTHONPATH."""
    version = hydra_gce.__version__
    folder = f"{DISTRIBUTION.replace('-', '_')}-{version}.dist-info"
    yield f"{folder}/METADATA", f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {version}\n".encode()
    yield f"{folder}/WHEEL", _WHEEL.encode()
    yield f"{folder}/entry_points.txt", _entry_points().encode()


def _entry_points() -> str:
    # A checkout comes first: what was installed from it may be older than its setup.cfg.
    checkout = Path(hydra_gce.__file__).parent.parent / "setup.cfg"
    if checkout.is_file():
        config = configparser.ConfigParser(interpolation=None)
        config.read(checkout, encoding="utf-8")
        if config.get("metadata", "name", fallback="") == DISTRIBUTION:
            groups = config.items("options.entry_points")
            return "\n".join(f"[{group}]\n{_stripped(entries)}\n" for group, entries in groups)
    try:
        installed = importlib.metadata.distribution(DISTRIBUTION).read_text("entry_points.txt")
    except importlib.metadata.PackageNotFoundError as error:
        raise ConfigError(
            f"{DISTRIBUTION} is on sys.path at {checkout.parent}, but neither its setup.cfg nor its installed"
            f" metadata is there. Install it: pip install {DISTRIBUTION}"
        ) from error
    return installed or ""


def _stripped(entries: str) -> str:
    return "\n".join(
        line.strip() for line in entries.splitlines() if line.strip() and not line.startswith("#")
    )


def _wheel_of(files: dict[str, bytes]) -> bytes:
    folder = next(name for name in files if name.endswith(".dist-info/METADATA")).rpartition("/")[0]
    record = f"{folder}/RECORD"
    lines = [f"{name},sha256={_unpadded(content)},{len(content)}" for name, content in sorted(files.items())]
    files = {**files, record: "\n".join([*lines, f"{record},,", ""]).encode()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as wheel:
        for name, content in sorted(files.items()):
            info = zipfile.ZipInfo(name, _TIME)
            info.external_attr = 0o644 << 16
            wheel.writestr(info, content)
    return buffer.getvalue()


def _unpadded(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
