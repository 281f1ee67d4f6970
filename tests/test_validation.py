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
        ("on_interrupt=kill", "hydra.launcher.on_interrupt=kill: it is one of cancel, detach"),
        ("vm.max_run_hours=0.008", r"hydra.launcher.vm.max_run_hours=0.008: .*30 seconds"),
        ("vm.max_run_hours=2881", r"hydra.launcher.vm.max_run_hours=2881: .*120 days"),
        ("max_vms=0", "hydra.launcher.max_vms=0: .*null"),
        ("max_attempts=0", "hydra.launcher.max_attempts=0"),
        ("code.max_mb=0", "hydra.launcher.code.max_mb=0"),
        ("heartbeat_timeout_s=5", "hydra.launcher.heartbeat_timeout_s=5: .*15 or more"),
        ("keep_warm_s=-1", "hydra.launcher.keep_warm_s=-1"),
        ("keep_warm_s=.nan", "hydra.launcher.keep_warm_s=nan"),
        ("keep_warm_s=.inf", "hydra.launcher.keep_warm_s=inf"),
        ("preempt_grace_s=-1", "hydra.launcher.preempt_grace_s=-1"),
        ("wait_for_room_minutes=-1", "hydra.launcher.wait_for_room_minutes=-1"),
        ("heartbeat_timeout_s=.nan", "hydra.launcher.heartbeat_timeout_s=nan"),
        ("budget_usd=0", "hydra.launcher.budget_usd=0: no VM could be started"),
        ("budget_usd=.nan", "hydra.launcher.budget_usd=nan"),
        ("budget_usd=-5", "hydra.launcher.budget_usd=-5"),
        ("expected_hours=.inf", "hydra.launcher.expected_hours=inf: say how many hours"),
        ("expected_hours=0", "hydra.launcher.expected_hours=0"),
        (
            "expected_hours=30",
            "hydra.launcher.expected_hours=30: Compute Engine deletes the VM before.*max_run_hours=45",
        ),
        ("on_budget=stop", "hydra.launcher.on_budget=stop: it is one of wait, end"),
        ("vm.max_run_hours=.nan", "hydra.launcher.vm.max_run_hours=nan"),
        ("vm.disk_gb=0", "hydra.launcher.vm.disk_gb: a boot disk has 10 to 65536 GB, not 0"),
        ("vm.disk_gb=-50", "hydra.launcher.vm.disk_gb: a boot disk has"),
        ("vm.gpu_count=2", "hydra.launcher.vm.gpu_count: 2 GPUs of which kind"),
        ("vm.local_ssds=1", "hydra.launcher.vm.local_ssds: e2-standard-2 takes no local SSDs"),
        (
            "vm.zones=[us-central1-a,us-central1-a]",
            "hydra.launcher.vm.zones: us-central1-a is named more than once",
        ),
        ("vm.tags=[A_b]", "hydra.launcher.vm.tags: 'A_b' is no network tag"),
        ("env.pass_variables=[ABSENT]", "hydra.launcher.env.pass_variables: ABSENT is not set here"),
    ],
)
def test_a_wrong_value_is_named_with_its_field_and_what_to_write(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check(settings(override), {"PRESENT": ""})


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"(?s)hydra\.launcher\.backend.*hydra\.launcher\.max_vms"):
        check(settings("backend=clowd", "max_vms=0"), {})


def test_mistakes_in_the_vm_are_named_with_the_others_each_with_its_field_once() -> None:
    with pytest.raises(ConfigError) as refused:
        check(
            settings(
                "max_vms=0", "vm.gpu=T5", "vm.zones=[us-mars-*]", "vm.provisioning=spott", "vm.labels.Team=a"
            ),
            {},
        )
    lines = str(refused.value).splitlines()
    assert [line.split(":")[0].split("=")[0].removeprefix("hydra.launcher.") for line in lines] == [
        "vm.provisioning", "vm.zones", "vm.gpu", "vm.labels.Team", "max_vms",
    ]  # fmt: skip


def test_a_variable_may_be_set_to_nothing() -> None:
    check(settings("env.pass_variables=[PRESENT]"), {"PRESENT": ""})


@pytest.mark.parametrize("hours", [30 / 3600, 2880.0])
def test_the_bounds_of_compute_engine_are_within(hours: float) -> None:
    check(settings(f"vm.max_run_hours={hours!r}"), {})


def test_a_store_whose_driver_is_missing_is_refused_before_any_vm() -> None:
    environ = {"MLFLOW_TRACKING_URI": "postgresql+pg8000://ada:planted@db.example.com/mlflow"}
    with pytest.raises(ConfigError, match="driver is not installed here: no module pg8000") as refused:
        check(settings(), environ)
    assert "planted" not in str(refused.value)
    check(settings("tracking.mode=none"), environ)
    check(settings(), {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"})
