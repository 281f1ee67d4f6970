"""Machine types: predefined, custom, and those that do not exist."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hydra_gce.errors import ConfigError
from hydra_gce.machines import VMRequest, resolve, shape_of


def test_a_shared_core_shows_two_vcpus_and_is_billed_for_less() -> None:
    shape = shape_of("e2-micro")
    assert (shape.vcpus, shape.billed_vcpus, shape.shared_core) == (2, Decimal("0.25"), True)


@pytest.mark.parametrize(
    ("machine_type", "family", "vcpus", "memory_gb"),
    [
        ("custom-8-16384", "n1", 8, 16),
        ("n1-custom-1-6656", "n1", 1, Decimal("6.5")),
        ("n2-custom-4-8192", "n2", 4, 8),
        ("n2-custom-36-327680-ext", "n2", 36, 320),
        ("e2-custom-32-131072", "e2", 32, 128),
        ("n2d-custom-96-786432", "n2d", 96, 768),
        ("e2-custom-medium-4096", "e2", 2, 4),
    ],
)
def test_custom_types_are_read_by_the_rules_of_their_family(
    machine_type: str, family: str, vcpus: int, memory_gb: Decimal
) -> None:
    shape = shape_of(machine_type)
    assert (shape.family, shape.vcpus, shape.memory_gb, shape.custom) == (family, vcpus, memory_gb, True)
    assert shape.regions


def test_memory_beyond_the_family_is_extended_memory() -> None:
    assert shape_of("n2-custom-4-65536-ext").extended_gb == 64 - 4 * 8
    assert shape_of("n2-custom-4-8192").extended_gb == 0


@pytest.mark.parametrize(
    ("machine_type", "told"),
    [
        ("n2-custom-4-65536", ["2048 to 32768 MB", "n2-custom-4-32768", "n2-custom-4-65536-ext"]),
        ("n2-custom-4-512", ["2048 to 32768 MB", "n2-custom-4-2048"]),
        ("n1-custom-2-1024", ["2048 to 13312 MB", "n1-custom-2-2048"]),
        ("n1-custom-2-13313", ["multiple of 256", "n1-custom-2-13312"]),
        ("custom-3-4096", ["1 or an even number up to 96", "not 3"]),
        ("n2-custom-34-65536", ["multiple of 4", "not 34"]),
        ("e2-custom-4-8192-ext", ["no extended memory", "Leave -ext out"]),
        ("n2-custom-4-99999744-ext", ["up to 640 GB", "n2-custom-4-655360-ext"]),
        ("e2-custom-32-262144", ["16384 to 131072 MB", "e2-custom-32-131072"]),
        ("e2-custom-micro-8192", ["1024 to 2048 MB"]),
        ("c3-custom-4-8192", ["n2-custom-VCPUS-MB", "e2-custom-VCPUS-MB"]),
        ("n2-standrad-4", ["no machine type 'n2-standrad-4'", "The nearest are n2-standard-4"]),
        ("ct5lp-hightpu-1t", ["TPU"]),
        ("a4x-highgpu-4g", ["Grace"]),
    ],
)
def test_a_type_that_cannot_be_is_refused_with_the_nearest(machine_type: str, told: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve(VMRequest(machine_type=machine_type))
    assert str(refused.value).startswith("hydra.launcher.vm.machine_type: ")
    for words in told:
        assert words in str(refused.value)


def test_the_nearest_custom_type_of_a_refusal_is_allowed() -> None:
    assert shape_of("n2-custom-4-32768").extended_gb == 0


def test_arm_machines_are_told_apart() -> None:
    assert shape_of("c4a-standard-4").architecture == "ARM64"
    assert shape_of("e2-standard-4").architecture == "X86_64"
