"""What is wrong in ``hydra.launcher`` that can be seen without asking anybody, all of it at once.

``hydra_gce.machines`` knows which machines there are, ``hydra_gce.request.fields`` what of ``vm.*`` can be sent.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping

from hydra_gce.errors import ConfigError
from hydra_gce.machines import contradictions
from hydra_gce.request import fields, vm_request
from hydra_gce.settings import Settings
from hydra_gce.tracking.mode import URI
from hydra_gce.tracking.relay.database import is_database_server, missing_driver

_CHOICES = {
    "backend": ("auto", "cloud", "local"),
    "tracking.mode": ("auto", "direct", "relay", "none"),
    "on_interrupt": ("cancel", "detach"),
    "on_budget": ("wait", "end"),
    "on_failure": ("continue", "stop"),
    "on_changed": ("ask", "rerun", "keep"),
    "failed_value": ("error", "nan"),
}
_PREFIX = "hydra.launcher."
_LEAST_SILENCE_S = 15.0
"""Several heartbeats of a job: less would take a VM for lost whose upload is slow."""


def check(settings: Settings, environ: Mapping[str, str]) -> None:
    """:raises ConfigError: a field holds what it cannot; all of them are named at once."""
    wrong = list(_wrong(settings, environ))
    if wrong:
        raise ConfigError("\n".join(f"{_PREFIX}{line.removeprefix(_PREFIX)}" for line in wrong))


def _wrong(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    for field, choices in _CHOICES.items():
        yield from _choice(field, _value(settings, field), choices)
    yield from contradictions(vm_request(settings.vm))
    yield from fields.wrong(settings.vm)
    if settings.max_vms is not None and settings.max_vms < 1:
        yield f"max_vms={settings.max_vms}: no job could run. Say 1 or more, or null for a VM for each point."
    if settings.max_attempts < 1:
        yield f"max_attempts={settings.max_attempts}: no job could run. Say 1 or more."
    if settings.retries < 0:
        yield f"retries={settings.retries}: say how often a failed job is begun again, 0 or more."
    if settings.code.max_mb < 1:
        yield f"code.max_mb={settings.code.max_mb}: no code could travel. Say 1 or more."
    if not settings.heartbeat_timeout_s >= _LEAST_SILENCE_S:
        yield (
            f"heartbeat_timeout_s={settings.heartbeat_timeout_s:g}: a VM is heard of every few seconds at best."
            f" Say {_LEAST_SILENCE_S:.0f} or more."
        )
    yield from _money(settings)
    for field in ("keep_warm_s", "preempt_grace_s"):
        if not 0 <= _number(settings, field) < math.inf:
            yield f"{field}={_number(settings, field):g}: say how many seconds, 0 or more."
    if not settings.wait_for_room_minutes >= 0:
        yield f"wait_for_room_minutes={settings.wait_for_room_minutes:g}: say how many minutes, 0 or more."
    yield from _store(settings, environ)
    for name in settings.env.pass_variables:
        if name not in environ:
            yield f"env.pass_variables: {name} is not set here. Set it in this shell (export {name}=…), or take it out."


def _store(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    uri = environ.get(URI, "")
    if settings.tracking.mode == "none" or not is_database_server(uri):
        return
    if driver := missing_driver(uri):
        kind = uri.partition(":")[0]
        yield (
            f"tracking: {URI} names a {kind} database, and its driver is not installed here: no module {driver}."
            f" Install it, or set hydra.launcher.tracking.mode=none."
        )


def _money(settings: Settings) -> Iterator[str]:
    if settings.budget_usd is not None and not 0 < settings.budget_usd < math.inf:
        yield f"budget_usd={settings.budget_usd:g}: no VM could be started. Say how many US dollars, or null."
    hours, most = settings.expected_hours, settings.vm.max_run_hours
    if hours is None:
        return
    if not 0 < hours < math.inf:
        yield f"expected_hours={hours:g}: say how many hours a point takes, or null."
    elif hours > most:
        yield (
            f"expected_hours={hours:g}: Compute Engine deletes the VM before, after vm.max_run_hours={most:g}."
            f" Say vm.max_run_hours={math.ceil(hours * 1.5)}, for one."
        )


def _choice(field: str, value: object, choices: tuple[str, ...]) -> Iterator[str]:
    if value in choices:
        return
    near = difflib.get_close_matches(str(value), choices, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    yield f"{field}={value}: it is one of {', '.join(choices)}.{hint}"


def _value(settings: Settings, field: str) -> object:
    value: object = settings
    for name in field.split("."):
        value = getattr(value, name)
    return value


def _number(settings: Settings, field: str) -> float:
    value = _value(settings, field)
    assert isinstance(value, (int, float)), field
    return value
