"""Mistakes in hydra.launcher that are seen before anybody is asked."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from hydra_gce.errors import ConfigError
from hydra_gce.settings import Settings
from hydra_gce.validation import check


def settings(*overrides: str) -> Settings:
    merged = OmegaConf.merge(OmegaConf.structured(Settings), OmegaConf.from_dotlist(list(overrides)))
    made: Any = OmegaConf.to_object(merged)
    assert isinstance(made, Settings)
    return made


def test_what_is_declared_is_right() -> None:
    check(settings(), {})


@pytest.mark.parametrize(
    "override, said",
    [
        ("backend=clowd", "hydra.launcher.backend=clowd: .*Did you mean cloud"),
        ("tracking.mode=atuo", "hydra.launcher.tracking.mode=atuo: .*Did you mean auto"),
        ("on_interrupt=kill", "hydra.launcher.on_interrupt=kill: it is one of delete, keep"),
        ("vm.max_run_hours=0.008", r"hydra.launcher.vm.max_run_hours=0.008: .*30 seconds"),
        ("vm.max_run_hours=2881", r"hydra.launcher.vm.max_run_hours=2881: .*120 days"),
        ("max_vms=0", "hydra.launcher.max_vms=0: .*null"),
        ("max_attempts=0", "hydra.launcher.max_attempts=0"),
        ("code.max_mb=0", "hydra.launcher.code.max_mb=0"),
        ("heartbeat_timeout_s=5", "hydra.launcher.heartbeat_timeout_s=5: .*15 or more"),
        ("keep_warm_s=-1", "hydra.launcher.keep_warm_s=-1"),
        ("preempt_grace_s=-1", "hydra.launcher.preempt_grace_s=-1"),
        ("env.pass_variables=[ABSENT]", "hydra.launcher.env.pass_variables: ABSENT is not set here"),
    ],
)
def test_a_wrong_value_is_named_with_its_field_and_what_to_write(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check(settings(override), {"PRESENT": ""})


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"(?s)hydra\.launcher\.backend.*hydra\.launcher\.max_vms"):
        check(settings("backend=clowd", "max_vms=0"), {})


def test_a_variable_may_be_set_to_nothing() -> None:
    check(settings("env.pass_variables=[PRESENT]"), {"PRESENT": ""})


@pytest.mark.parametrize("hours", [30 / 3600, 2880.0])
def test_the_bounds_of_compute_engine_are_within(hours: float) -> None:
    check(settings(f"vm.max_run_hours={hours!r}"), {})
