"""Boot disks and local SSDs: which types and numbers a machine takes."""

from __future__ import annotations

from collections.abc import Sequence

from hydra_gce import catalog
from hydra_gce.errors import ConfigError
from hydra_gce.machines.shapes import HYPERDISK_ONLY, TAKES_HYPERDISK_BALANCED, Shape
from hydra_gce.machines.words import either, nearest, one_of

DISK_TYPE = "hydra.launcher.vm.disk_type"
DISK_GB = "hydra.launcher.vm.disk_gb"
LOCAL_SSDS = "hydra.launcher.vm.local_ssds"

BOOT_DISK_TYPES = ("pd-standard", "pd-balanced", "pd-ssd", "hyperdisk-balanced")

SMALLEST_GB = 10
"""https://cloud.google.com/compute/docs/disks/persistent-disks#pdspecs: no public image fits on less."""
LARGEST_GB = 65536

_N1 = (1, 2, 3, 4, 5, 6, 7, 8, 16, 24)
# Machine family -> (vCPUs from which on it holds, how many local SSDs may be chosen), the largest first. Machines that
# are not here take none, or come with theirs. https://cloud.google.com/compute/docs/disks/local-ssd#choose_number_local_ssds
_CHOICES: dict[str, tuple[tuple[int, tuple[int, ...]], ...]] = {
    "n1": ((1, _N1),),
    "n2": ((82, (16, 24)), (42, (8, 16, 24)), (22, (4, 8, 16, 24)), (12, (2, 4, 8, 16, 24)), (2, (1, 2, 4, 8, 16, 24))),
    "n2d": ((96, (8, 16, 24)), (64, (4, 8, 16, 24)), (32, (2, 4, 8, 16, 24)), (2, (1, 2, 4, 8, 16, 24))),
    "c2": ((60, (8,)), (30, (4, 8)), (16, (2, 4, 8)), (4, (1, 2, 4, 8))),
    "c2d": ((112, (8,)), (56, (4, 8)), (32, (2, 4, 8)), (2, (1, 2, 4, 8))),
}  # fmt: skip
_CHOICES_OF_TYPE: dict[str, tuple[int, ...]] = {
    "a2-highgpu-1g": (1, 2, 4, 8),
    "a2-highgpu-2g": (2, 4, 8),
    "a2-highgpu-4g": (4, 8),
    "a2-highgpu-8g": (8,),
    "a2-megagpu-16g": (8,),
    "g2-standard-4": (1,),
    "g2-standard-8": (1,),
    "g2-standard-12": (1,),
    "g2-standard-16": (1,),
    "g2-standard-24": (2,),
    "g2-standard-32": (1,),
    "g2-standard-48": (4,),
    "g2-standard-96": (8,),
    "g4-standard-12": (1,),
    "g4-standard-24": (2,),
    "g4-standard-48": (4,),
    "g4-standard-96": (8,),
    "g4-standard-192": (16,),
    "g4-standard-384": (32,),
    "m1-ultramem-40": (1, 2, 3, 4, 5),
    "m1-ultramem-80": (1, 2, 3, 4, 5, 6, 7, 8),
    "m3-ultramem-32": (4, 8),
    "m3-megamem-64": (4, 8),
    "m3-ultramem-64": (4, 8),
    "m3-megamem-128": (8,),
    "m3-ultramem-128": (8,),
}


def checked(disk_type: str | None, disk_gb: int | None, shape: Shape) -> str:
    """The disk type to use; ConfigError where there is none such, it does not fit, or its size is absurd.

    disk_gb: None = no disk is asked about.
    """
    if disk_gb is not None and not SMALLEST_GB <= disk_gb <= LARGEST_GB:
        fitting = min(max(disk_gb, SMALLEST_GB), LARGEST_GB)
        raise ConfigError(
            f"{DISK_GB}: a boot disk has {SMALLEST_GB} to {LARGEST_GB} GB, not {disk_gb}. "
            f"The nearest is vm.disk_gb={fitting}."
        )
    if disk_type is None:
        return "hyperdisk-balanced" if shape.family in HYPERDISK_ONLY else "pd-balanced"
    if disk_type not in BOOT_DISK_TYPES:
        close = nearest(disk_type, BOOT_DISK_TYPES, most=1)[0]
        raise ConfigError(
            f"{DISK_TYPE}: '{disk_type}' is none of {one_of(BOOT_DISK_TYPES)}. Did you mean {close}?"
        )
    if disk_type.startswith("pd-") and shape.family in HYPERDISK_ONLY:
        raise ConfigError(
            f"{DISK_TYPE}: {shape.name} takes no {disk_type}, only Hyperdisk. "
            f"Say vm.disk_type=hyperdisk-balanced."
        )
    if disk_type == "hyperdisk-balanced" and shape.family not in TAKES_HYPERDISK_BALANCED:
        raise ConfigError(
            f"{DISK_TYPE}: {shape.name} takes no hyperdisk-balanced. Say vm.disk_type=pd-balanced or pd-ssd."
        )
    return disk_type


def local_ssd_choices(shape: Shape, gpu: str | None = None) -> tuple[int, ...]:
    """How many local SSDs may be chosen for a machine; empty where it takes none, or brings its own.

    gpu: what is attached to it.
    """
    if shape.local_ssd_gb or shape.shared_core:
        return ()
    if shape.family in _CHOICES:
        counts = next(counts for vcpus, counts in _CHOICES[shape.family] if shape.vcpus >= vcpus)
        return tuple(count for count in counts if count <= 16) if gpu == "T4" else counts
    return _CHOICES_OF_TYPE.get(shape.name, ())


def check_local_ssds(count: int, shape: Shape, gpu: str | None = None) -> None:
    """ConfigError where the machine does not take so many local SSDs; what it takes, or the nearest that does."""
    if count == 0:
        return
    choices = local_ssd_choices(shape, gpu)
    if count < 0:
        raise ConfigError(f"{LOCAL_SSDS}: {count} local SSDs cannot be had. Say 0{_or(choices)}.")
    if shape.local_ssd_gb:
        raise ConfigError(
            f"{LOCAL_SSDS}: {shape.name} brings local SSDs of its own, {shape.local_ssd_gb} GB in all, and takes no "
            f"more. Leave vm.local_ssds out."
        )
    if not choices:
        raise ConfigError(
            f"{LOCAL_SSDS}: {shape.name} takes no local SSDs. {_instead(shape)}Leave vm.local_ssds out otherwise."
        )
    if count not in choices:
        fitting = min(choices, key=lambda n: (abs(n - count), -n))
        with_gpu = f" + {gpu}" if gpu else ""
        raise ConfigError(
            f"{LOCAL_SSDS}: {shape.name}{with_gpu} takes {either(choices)} of them, not {count}. "
            f"The nearest is vm.local_ssds={fitting}."
        )


def _or(choices: Sequence[int]) -> str:
    return f", {either(choices)}" if choices else ""


def _instead(shape: Shape) -> str:
    """The machine type most like this one that has local SSDs, or takes them."""
    if f"{shape.name}-lssd" in catalog.machine_types():
        return f"{shape.name}-lssd brings its own. "
    if shape.gpu is not None:
        return ""
    like = [
        f"n2{rest}" for rest in (shape.name.removeprefix(shape.family), f"-standard-{max(2, shape.vcpus)}")
    ]
    known = [name for name in like if name in catalog.machine_types()]
    return f"{known[0]} does. " if known else ""
