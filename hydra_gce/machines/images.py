"""Boot images: the link that a name stands for, the default for a machine, and what is known of Google's own."""

from __future__ import annotations

import re

from hydra_gce.errors import ConfigError
from hydra_gce.machines.disks import DISK_GB
from hydra_gce.machines.shapes import Shape
from hydra_gce.machines.words import nearest

FIELD = "hydra.launcher.vm.image"

# Debian 12 has Python 3.11 and the guest agent; the Deep Learning VM has NVIDIA's driver too.
CPU_IMAGE = "projects/debian-cloud/global/images/family/debian-12"
ARM_IMAGE = "projects/debian-cloud/global/images/family/debian-12-arm64"
GPU_IMAGE = "projects/deeplearning-platform-release/global/images/family/common-cu128-ubuntu-2204-nvidia-570"

# GB that every image of a project of Google's has at least; Compute Engine refuses a smaller disk ("Requested disk size
# cannot be smaller than the image size"). https://cloud.google.com/compute/docs/images/os-details and, for the second,
# https://cloud.google.com/deep-learning-vm/docs/create-vm-instance-gcloud
LEAST_GB = {
    "debian-cloud": 10,
    "deeplearning-platform-release": 50,
    "ubuntu-os-cloud": 10,
    "cos-cloud": 10,
    "centos-cloud": 20,
    "rhel-cloud": 20,
    "rocky-linux-cloud": 20,
    "windows-cloud": 50,
}
# Families that people know by name, with the project that has them.
FAMILIES = {
    "debian-12": "debian-cloud",
    "debian-12-arm64": "debian-cloud",
    "debian-13": "debian-cloud",
    "debian-13-arm64": "debian-cloud",
    "ubuntu-2204-lts": "ubuntu-os-cloud",
    "ubuntu-2204-lts-arm64": "ubuntu-os-cloud",
    "ubuntu-2404-lts-amd64": "ubuntu-os-cloud",
    "ubuntu-2404-lts-arm64": "ubuntu-os-cloud",
    "rocky-linux-9": "rocky-linux-cloud",
    "cos-stable": "cos-cloud",
    "common-cu128-ubuntu-2204-nvidia-570": "deeplearning-platform-release",
    "common-cu129-ubuntu-2404-nvidia-580": "deeplearning-platform-release",
    "pytorch-latest-gpu": "deeplearning-platform-release",
    "tf-latest-gpu": "deeplearning-platform-release",
}

NAME = r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?"
PROJECT = r"(?:[a-z0-9.-]+:)?[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?"
_SHORT = re.compile(rf"(?:(?P<project>{PROJECT})/)?(?P<name>{NAME})")
_LINK = re.compile(
    r"(?:https://(?:www|compute)\.googleapis\.com/compute/(?:v1|beta|alpha)/)?"
    rf"(?:projects/(?P<project>{PROJECT})/)?"
    rf"(?:global/images/(?:family/)?|zones/[-a-z0-9]+/imageFamilyViews/)(?P<name>{NAME})"
)


def link(named: str) -> str:
    """The link that `sourceImage` wants: of an image by its name, of a family as "project/family".

    ConfigError where it is neither of these, nor a link itself.
    """
    if _LINK.fullmatch(named):
        return named
    short = _SHORT.fullmatch(named)
    if short is None:
        raise ConfigError(
            f"{FIELD}: '{named}' names no image. Write one of your project's by its name (my-image), the newest of a "
            f"family as project/family (debian-cloud/debian-12), or a full path (projects/…/global/images/…)."
        )
    if short["project"]:
        return f"projects/{short['project']}/global/images/family/{short['name']}"
    if named in FAMILIES:
        raise ConfigError(
            f"{FIELD}: '{named}' is a family of {FAMILIES[named]}: vm.image={FAMILIES[named]}/{named}. An image of "
            f"your own with that name: vm.image=global/images/{named}."
        )
    return f"global/images/{named}"


def default_for(shape: Shape, has_gpu: bool) -> str:
    """The image for a machine for which none is named."""
    if has_gpu:
        return GPU_IMAGE
    return ARM_IMAGE if shape.architecture == "ARM64" else CPU_IMAGE


def check(named: str | None, disk_gb: int | None, shape: Shape, has_gpu: bool) -> None:
    """ConfigError where the image is not for this machine, or known to be larger than its disk."""
    image = default_for(shape, has_gpu) if named is None else link(named)
    match = _LINK.fullmatch(image)
    assert match is not None, image
    project, name = match["project"], match["name"]
    if project not in LEAST_GB:
        return
    least = LEAST_GB[project]
    if disk_gb is not None and disk_gb < least:
        default = "" if named is not None else " (the default with GPUs; vm.image names another)"
        raise ConfigError(
            f"{DISK_GB}: images of {project}{default} have {least} GB or more, the disk has {disk_gb}. "
            f"The nearest is vm.disk_gb={least}."
        )
    for_arm = "arm64" in name
    if named is not None and for_arm != (shape.architecture == "ARM64"):
        families = [
            f"{owner}/{family}" for family, owner in FAMILIES.items() if ("arm64" in family) != for_arm
        ]
        close = nearest(f"{project}/{name}", families, most=1)[0]
        raise ConfigError(
            f"{FIELD}: {name} is for {'Arm' if for_arm else 'x86'} processors, {shape.name} has "
            f"{'x86' if for_arm else 'Arm'}. The nearest is vm.image={close}, or leave vm.image out."
        )
