"""A GPU and a count pick the machine; what contradicts is refused with what fits."""

from __future__ import annotations

import pytest

from hydra_gce.errors import ConfigError
from hydra_gce.machines import Accelerator, VMRequest, resolve

BROUGHT = [
    ("L4", 1, "g2-standard-4"),
    ("L4", 2, "g2-standard-24"),
    ("L4", 8, "g2-standard-96"),
    ("A100", 1, "a2-highgpu-1g"),
    ("A100", 8, "a2-highgpu-8g"),
    ("A100", 16, "a2-megagpu-16g"),
    ("A100-80GB", 4, "a2-ultragpu-4g"),
    ("H100", 1, "a3-highgpu-1g"),
    ("H100", 8, "a3-highgpu-8g"),
    ("H100-MEGA", 8, "a3-megagpu-8g"),
    ("H200", 8, "a3-ultragpu-8g"),
    ("B200", 8, "a4-highgpu-8g"),
    ("RTX-PRO-6000", 1, "g4-standard-48"),
    ("RTX-PRO-6000", 8, "g4-standard-384"),
]

ATTACHED = [
    ("T4", 1, "n1-standard-4", "nvidia-tesla-t4"),
    ("T4", 4, "n1-standard-16", "nvidia-tesla-t4"),
    ("P4", 2, "n1-standard-8", "nvidia-tesla-p4"),
    ("V100", 8, "n1-standard-32", "nvidia-tesla-v100"),
    ("P100", 1, "n1-standard-4", "nvidia-tesla-p100"),
]


@pytest.mark.parametrize(("gpu", "count", "machine_type"), BROUGHT)
def test_a_gpu_that_comes_with_a_machine_picks_it_and_attaches_nothing(
    gpu: str, count: int, machine_type: str
) -> None:
    candidate = resolve(VMRequest(gpu=gpu, gpu_count=count, provisioning="spot"))[0]
    assert candidate.machine_type == machine_type
    assert candidate.accelerator is None
    assert (candidate.gpu, candidate.gpu_count) == (gpu, count)
    assert candidate.has_gpu


@pytest.mark.parametrize(("gpu", "count", "machine_type", "accelerator"), ATTACHED)
def test_a_gpu_of_n1_is_attached_to_a_host_that_allows_it(
    gpu: str, count: int, machine_type: str, accelerator: str
) -> None:
    candidate = resolve(VMRequest(gpu=gpu, gpu_count=count))[0]
    assert candidate.machine_type == machine_type
    assert candidate.accelerator == Accelerator(accelerator, count)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("t4", "T4"),
        ("nvidia-tesla-t4", "T4"),
        ("Tesla V100", "V100"),
        ("a100-40gb", "A100"),
        ("A100 80GB", "A100-80GB"),
        ("nvidia-l4", "L4"),
        ("rtx6000-pro", "RTX-PRO-6000"),
    ],
)
def test_a_gpu_is_known_by_the_names_that_people_use(said: str, meant: str) -> None:
    assert resolve(VMRequest(gpu=said))[0].gpu == meant


def test_a_host_of_ones_own_is_kept_where_it_fits() -> None:
    candidate = resolve(VMRequest(gpu="T4", machine_type="n1-highmem-8", regions=["us-central1"]))[0]
    assert candidate.machine_type == "n1-highmem-8"
    assert candidate.accelerator == Accelerator("nvidia-tesla-t4", 1)
    custom = resolve(VMRequest(gpu="T4", machine_type="custom-6-20480", regions=["us-central1"]))[0]
    assert custom.machine_type == "custom-6-20480"


def test_a_machine_type_alone_brings_its_gpus() -> None:
    candidate = resolve(VMRequest(machine_type="a2-highgpu-2g"))[0]
    assert (candidate.gpu, candidate.gpu_count, candidate.accelerator) == ("A100", 2, None)
    eighth = resolve(VMRequest(machine_type="g4-standard-6"))[0]
    assert (eighth.gpu, eighth.gpu_count) == ("RTX-PRO-6000", 0.125)


def test_a_count_is_taken_from_the_machine_type_when_none_is_said() -> None:
    assert resolve(VMRequest(gpu="A100", machine_type="a2-highgpu-4g"))[0].gpu_count == 4


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            VMRequest(gpu="A100", machine_type="n1-standard-8"),
            "hydra.launcher.vm: an A100 cannot be attached to n1-standard-8 (A100s come with a2-highgpu-*, "
            "a2-megagpu-16g). Leave vm.machine_type out and a2-highgpu-1g is taken.",
        ),
        (
            VMRequest(gpu="T4", machine_type="e2-standard-4"),
            "hydra.launcher.vm: a T4 cannot be attached to e2-standard-4 (T4s are attached to n1-standard-*, "
            "n1-highmem-*, n1-highcpu-* and custom N1 types). Leave vm.machine_type out and n1-standard-4 is "
            "taken.",
        ),
        (
            VMRequest(gpu="L4", machine_type="a2-highgpu-1g"),
            "hydra.launcher.vm: an L4 cannot be attached to a2-highgpu-1g (L4s come with g2-standard-*). "
            "Leave vm.machine_type out and g2-standard-4 is taken.",
        ),
        (
            VMRequest(gpu="V100", machine_type="n1-standard-16"),
            "hydra.launcher.vm: n1-standard-16 (16 vCPUs, 60 GB) is too large for 1 x V100: at most 12 vCPUs "
            "and 78 GB. With vm.gpu_count=2 n1-standard-16 fits. Leave vm.machine_type out and n1-standard-4 "
            "is taken.",
        ),
        (
            VMRequest(gpu="A100", gpu_count=1, machine_type="a2-highgpu-2g"),
            "hydra.launcher.vm.gpu_count: a2-highgpu-2g brings 2 x A100, not 1. Say vm.gpu_count=2, or "
            "vm.machine_type=a2-highgpu-1g.",
        ),
        (
            VMRequest(gpu="T4", gpu_count=3),
            "hydra.launcher.vm.gpu_count: a VM can have 1, 2 or 4 of the T4, not 3. The nearest is "
            "vm.gpu_count=4.",
        ),
        (
            VMRequest(gpu="H200", gpu_count=1),
            "hydra.launcher.vm.gpu_count: a VM can have 8 of the H200, not 1. The nearest is vm.gpu_count=8.",
        ),
        (
            VMRequest(gpu="T4", gpu_count=-1),
            "hydra.launcher.vm.gpu_count: -1 GPUs cannot be had. Leave vm.gpu out for a VM without GPUs.",
        ),
        (
            VMRequest(gpu="K80"),
            "hydra.launcher.vm.gpu: Compute Engine has no K80 any more. A T4 is the nearest: vm.gpu=T4.",
        ),
        (
            VMRequest(gpu="A1000"),
            "hydra.launcher.vm.gpu: Compute Engine has no GPU 'A1000'. The nearest are A100, A100-80GB or "
            "H100; there are A100, A100-80GB, B200, H100, H100-MEGA, H200, L4, P100, P4, RTX-PRO-6000, T4, "
            "V100.",
        ),
    ],
)
def test_what_contradicts_is_refused_with_what_fits(request_: VMRequest, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve(request_)
    assert str(refused.value) == message
