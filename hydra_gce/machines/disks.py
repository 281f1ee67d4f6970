"""Boot disks: which types a machine takes."""

from __future__ import annotations

from hydra_gce.errors import ConfigError
from hydra_gce.machines.shapes import HYPERDISK_ONLY, TAKES_HYPERDISK_BALANCED, Shape
from hydra_gce.machines.words import nearest, one_of

DISK_TYPE = "hydra.launcher.vm.disk_type"
DISK_GB = "hydra.launcher.vm.disk_gb"

BOOT_DISK_TYPES = ("pd-standard", "pd-balanced", "pd-ssd", "hyperdisk-balanced")

SMALLEST_GB = 10
"""https://cloud.google.com/compute/docs/disks/persistent-disks#pdspecs: no public image fits on less."""
LARGEST_GB = 65536


def checked(disk_type: str | None, disk_gb: int, shape: Shape) -> str:
    """The disk type to use; ConfigError where there is none such, it does not fit, or its size is absurd.

    disk_gb: 0 = no disk is asked about.
    """
    if disk_gb and not SMALLEST_GB <= disk_gb <= LARGEST_GB:
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
