"""What Compute Engine has on offer: zones, machine types, accelerators, disk types. Facts from `hydra_gce/catalog`."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files

# Accelerator-optimised machine types bring their GPUs along.
_BUILT_IN_GPUS = (
    (re.compile(r"a2-highgpu-(\d+)g"), "nvidia-tesla-a100"),
    (re.compile(r"a2-megagpu-(\d+)g"), "nvidia-tesla-a100"),
    (re.compile(r"a2-ultragpu-(\d+)g(?:-nolssd)?"), "nvidia-a100-80gb"),
    (re.compile(r"a3-(?:highgpu|edgegpu)-(\d+)g(?:-nolssd)?"), "nvidia-h100-80gb"),
    (re.compile(r"a3-megagpu-(\d+)g"), "nvidia-h100-mega-80gb"),
    (re.compile(r"a3-ultragpu-(\d+)g(?:-nolssd)?"), "nvidia-h200-141gb"),
    (re.compile(r"a4-highgpu-(\d+)g(?:-nolssd)?"), "nvidia-b200"),
    (re.compile(r"a4x-highgpu-(\d+)g(?:-nolssd)?"), "nvidia-gb200"),
)
_GPUS_BY_CPUS = {
    "g2": ("nvidia-l4", {4: 1, 8: 1, 12: 1, 16: 1, 24: 2, 32: 1, 48: 4, 96: 8}),
    "g4": ("nvidia-rtx-pro-6000", {48: 1, 96: 2, 192: 4, 384: 8}),
}
# https://cloud.google.com/compute/docs/gpus: GPUs that one VM may have; N1 takes only these numbers.
N1_GPU_COUNTS = {
    "nvidia-tesla-t4": (1, 2, 4),
    "nvidia-tesla-t4-vws": (1, 2, 4),
    "nvidia-tesla-p4": (1, 2, 4),
    "nvidia-tesla-p4-vws": (1, 2, 4),
    "nvidia-tesla-p100": (1, 2, 4),
    "nvidia-tesla-p100-vws": (1, 2, 4),
    "nvidia-tesla-v100": (1, 2, 4, 8),
}
_MOST_GPUS = {"nvidia-tesla-a100": 16, "nvidia-tesla-k80": 8, "nvidia-gb200": 4}
_SUSTAINED = {"e2-micro": 0.25, "e2-small": 0.5, "e2-medium": 1.0, "f1-micro": 0.2, "g1-small": 0.5}
_CUSTOM = re.compile(
    r"(?:(?P<family>n1|n2|n2d|n4|e2|g2|c3|c3d)-)?custom-(?P<cpus>\d+|micro|small|medium)-(?P<mb>\d+)(?P<ext>-ext)?"
)
# MiB of memory per vCPU: least and most, without extended memory.
_CUSTOM_MEMORY = {
    "n1": (922, 6656),
    "n2": (512, 8192),
    "n2d": (512, 8192),
    "n4": (2048, 8192),
    "e2": (512, 8192),
    "g2": (4096, 8192),
}
_CUSTOM_MOST_CPUS = {"n1": 96, "n2": 128, "n2d": 224, "n4": 80, "e2": 32, "g2": 96}


@dataclass(frozen=True)
class MachineType:
    """A machine type as one zone has it. `demand` is the vCPUs that it keeps busy in the long run."""

    name: str
    cpus: int
    memory_mb: int
    shared: bool
    gpu: str | None = None
    gpu_count: int = 0

    @property
    def family(self) -> str:
        """`n1` of `n1-standard-4` and of `custom-4-8192`."""
        head = self.name.split("-", 1)[0]
        return {"custom": "n1", "f1": "n1", "g1": "n1"}.get(head, head)

    @property
    def demand(self) -> float:
        """vCPU demand: the sustained fraction of a shared-core type, all vCPUs of any other."""
        return _SUSTAINED.get(self.name, float(self.cpus))


class UnknownCustomType(Exception):
    """A custom machine type that breaks the rules; the message is Compute Engine's second sentence."""


class Catalog:
    """The offer of all zones."""

    @cached_property
    def zones(self) -> list[str]:
        """All zones, sorted."""
        return sorted(zone for zones in self.regions.values() for zone in zones)

    @cached_property
    def regions(self) -> dict[str, list[str]]:
        """All regions with their zones."""
        regions: dict[str, list[str]] = {}
        for row in (*_rows("zones.csv"), *_rows("newer-zones.csv")):
            regions.setdefault(row["region"], []).append(row["zone"])
        return {name: sorted(regions[name]) for name in sorted(regions)}

    def machine_types(self, zone: str) -> list[MachineType]:
        """The predefined types of a zone, sorted by name."""
        offered = (kind for kind, regions in _machine_types().values() if _region(zone) in regions)
        return [kind for kind in offered if kind.gpu is None or _has_gpu(zone, kind.gpu)]

    def machine_type(self, zone: str, name: str) -> MachineType | None:
        """A predefined or custom type; None if the zone has none of that name. Raises `UnknownCustomType`."""
        predefined = _machine_types().get(name)
        if predefined is not None:
            kind, regions = predefined
            here = _region(zone) in regions and (kind.gpu is None or _has_gpu(zone, kind.gpu))
            return kind if here else None
        custom = _CUSTOM.fullmatch(name)
        if custom is None or not self._has_family(_region(zone), custom["family"] or "n1"):
            return None
        return _custom(name, custom)

    def accelerators(self, zone: str) -> list[str]:
        """The accelerator types of a zone, sorted."""
        return sorted(name for name in _accelerators() if _has_gpu(zone, name))

    def most_cards(self, accelerator: str) -> int:
        """How many cards of that type one VM may have."""
        counts = N1_GPU_COUNTS.get(accelerator)
        return counts[-1] if counts else _MOST_GPUS.get(accelerator, 8)

    @staticmethod
    def _has_family(region: str, family: str) -> bool:
        return any(kind.family == family and region in regions for kind, regions in _machine_types().values())


DISK_TYPES = {
    "hyperdisk-balanced": ("Hyperdisk Balanced Persistent Disk", "100", "4GB-65536GB"),
    "local-ssd": ("Local SSD", "375", "375GB-375GB"),
    "pd-balanced": ("Balanced Persistent Disk", "100", "10GB-65536GB"),
    "pd-extreme": ("Extreme Persistent Disk", "1000", "500GB-65536GB"),
    "pd-ssd": ("SSD Persistent Disk", "100", "10GB-65536GB"),
    "pd-standard": ("Standard Persistent Disk", "500", "10GB-65536GB"),
}


def gpu_title(name: str) -> str:
    """`NVIDIA T4` of `nvidia-tesla-t4`."""
    return (
        name.replace("nvidia-tesla-", "nvidia-")
        .replace("-", " ")
        .upper()
        .replace("GB", " GB")
        .replace("VWS", "Virtual Workstation")
    )


@cache
def _rows(name: str) -> tuple[dict[str, str], ...]:
    with (files("hydra_gce") / "catalog" / name).open("r", encoding="utf-8") as file:
        return tuple(csv.DictReader(file))


@cache
def _machine_types() -> dict[str, tuple[MachineType, frozenset[str]]]:
    return dict(_read_machine_types())


def _read_machine_types() -> Iterator[tuple[str, tuple[MachineType, frozenset[str]]]]:
    for row in sorted(_rows("machine-types.csv"), key=lambda row: row["name"]):
        name, cpus = row["name"], int(row["vcpus"])
        gpu, count = _built_in_gpu(name, cpus)
        kind = MachineType(
            name, cpus, round(float(row["memory_gb"]) * 1024), row["shared_cpu"] == "true", gpu, count
        )
        yield name, (kind, frozenset(row["regions"].split()))


@cache
def _accelerators() -> dict[str, frozenset[str]]:
    return {row["name"]: frozenset(row["regions"].split()) for row in _rows("accelerator-types.csv")}


@cache
def _gpu_zones() -> dict[str, frozenset[str]]:
    """The zones of an accelerator, where they are known; GPUs are in some zones of their regions only."""
    names = {row["gpu"]: row["accelerator"] for row in _rows("gpus.csv")}
    zones: dict[str, set[str]] = {}
    for row in _rows("gpu-zones.csv"):
        zones.setdefault(names[row["gpu"]], set()).add(row["zone"])
    return {name: frozenset(known) for name, known in zones.items()}


def _has_gpu(zone: str, accelerator: str) -> bool:
    known = _gpu_zones().get(accelerator.removesuffix("-vws"))
    return zone in known if known is not None else _region(zone) in _accelerators()[accelerator]


def _region(zone: str) -> str:
    return zone.rsplit("-", 1)[0]


def _built_in_gpu(name: str, cpus: int) -> tuple[str | None, int]:
    for pattern, gpu in _BUILT_IN_GPUS:
        match = pattern.fullmatch(name)
        if match is not None:
            return gpu, int(match[1])
    gpu_name, counts = _GPUS_BY_CPUS.get(name.split("-", 1)[0], (None, {}))
    return (gpu_name, counts[cpus]) if cpus in counts else (None, 0)


def _custom(name: str, match: re.Match[str]) -> MachineType:
    family, memory = match["family"] or "n1", int(match["mb"])
    shared = not match["cpus"].isdigit()
    if shared:
        if family != "e2":
            raise UnknownCustomType(
                f"Custom shared-core machine types are not supported in the {family.upper()} family."
            )
        return MachineType(name, 2, memory, True)
    cpus = int(match["cpus"])
    most = _CUSTOM_MOST_CPUS.get(family, 96)
    if not 1 <= cpus <= most or (cpus % 2 and not (cpus == 1 and family == "n1")):
        raise UnknownCustomType(
            "Number of CPUs for custom machine type should be 1 or a multiple of 2 "
            f"and at most {most}: {cpus} is invalid."
        )
    if memory % 256:
        raise UnknownCustomType(
            f"Memory size for custom machine type must be a multiple of 256MiB; {memory}MiB is invalid."
        )
    least, top = _CUSTOM_MEMORY.get(family, (512, 8192))
    if memory < least * cpus or (memory > top * cpus and not match["ext"]):
        low, high = -(-least * cpus // 256) * 256, top * cpus
        raise UnknownCustomType(
            f"Memory size for {cpus} vCPU instance of type {family} should be between {low}MiB and {high}MiB; "
            f"{memory}MiB is invalid."
        )
    gpu, count = _built_in_gpu(f"{family}-standard-{cpus}", cpus)
    return MachineType(name, cpus, memory, False, gpu, count)
