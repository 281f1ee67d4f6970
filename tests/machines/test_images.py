"""Images: what a name stands for, and which one fits the machine and its disk."""

from __future__ import annotations

import pytest

from hydra_gce.errors import ConfigError
from hydra_gce.machines import VMRequest, resolve
from hydra_gce.machines.images import link


@pytest.mark.parametrize(
    ("named", "means"),
    [
        ("mine", "global/images/mine"),
        ("my-project/mine", "projects/my-project/global/images/family/mine"),
        ("example.com:lab/mine", "projects/example.com:lab/global/images/family/mine"),
        ("global/images/family/mine", "global/images/family/mine"),
        ("projects/p/global/images/mine", "projects/p/global/images/mine"),
        ("projects/p/zones/-/imageFamilyViews/mine", "projects/p/zones/-/imageFamilyViews/mine"),
        (
            "https://www.googleapis.com/compute/v1/projects/p/global/images/family/mine",
            "https://www.googleapis.com/compute/v1/projects/p/global/images/family/mine",
        ),
    ],
)
def test_an_image_is_named_shortly_or_in_full(named: str, means: str) -> None:
    assert link(named) == means


@pytest.mark.parametrize(
    "named", ["My Image", "a/b/c", "", "https://example.com/image", "projects/p/images/i"]
)
def test_what_names_no_image_is_refused_with_what_does(named: str) -> None:
    with pytest.raises(ConfigError, match=r"vm\.image: .* names no image\. Write one of your project's"):
        resolve(VMRequest(image=named))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            VMRequest(image="debian-12"),
            "hydra.launcher.vm.image: 'debian-12' is a family of debian-cloud: vm.image=debian-cloud/debian-12. An "
            "image of your own with that name: vm.image=global/images/debian-12.",
        ),
        (
            VMRequest(image="rocky-linux-cloud/rocky-linux-9", disk_gb=10),
            "hydra.launcher.vm.disk_gb: images of rocky-linux-cloud have 20 GB or more, the disk has 10. The nearest "
            "is vm.disk_gb=20.",
        ),
        (
            VMRequest(gpu="T4", disk_gb=20),
            "hydra.launcher.vm.disk_gb: images of deeplearning-platform-release (the default with GPUs; vm.image "
            "names another) have 50 GB or more, the disk has 20. The nearest is vm.disk_gb=50.",
        ),
        (
            VMRequest(machine_type="t2a-standard-4", image="debian-cloud/debian-12"),
            "hydra.launcher.vm.image: debian-12 is for x86 processors, t2a-standard-4 has Arm. The nearest is "
            "vm.image=debian-cloud/debian-12-arm64, or leave vm.image out.",
        ),
        (
            VMRequest(image="projects/ubuntu-os-cloud/global/images/family/ubuntu-2204-lts-arm64"),
            "hydra.launcher.vm.image: ubuntu-2204-lts-arm64 is for Arm processors, e2-standard-4 has x86. The nearest "
            "is vm.image=ubuntu-os-cloud/ubuntu-2204-lts, or leave vm.image out.",
        ),
    ],
)
def test_an_image_that_does_not_fit_is_refused_with_the_nearest(request_: VMRequest, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve(request_)
    assert str(refused.value) == message


def test_nothing_is_held_against_an_image_that_google_does_not_publish() -> None:
    assert resolve(VMRequest(image="my-project/tiny", disk_gb=10, gpu="T4"))
    assert resolve(VMRequest(image="mine-arm64"))
