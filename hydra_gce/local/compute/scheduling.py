"""The rules of `scheduling`: spot, termination, maintenance, and how long a VM may run."""

from __future__ import annotations

from hydra_gce.local.compute.errors import Json, invalid_value
from hydra_gce.local.compute.names import seconds

_LEAST_RUN_S, _MOST_RUN_S = 30, 120 * 86_400
_FIELD = "resource.scheduling"


def read_scheduling(given: Json, *, has_gpus: bool, now: float, field: str = _FIELD) -> Json:
    """`scheduling` with Google's defaults filled in. Raises 400 for what Google refuses."""
    spot = given.get("preemptible", False) or given.get("provisioningModel") == "SPOT"
    model = given.get("provisioningModel", "SPOT" if spot and "preemptible" not in given else "STANDARD")
    restart = given.get("automaticRestart", not spot)
    maintenance = given.get("onHostMaintenance", "TERMINATE" if spot else "MIGRATE")
    _check_spot(spot, restart, maintenance, field)
    if has_gpus and maintenance == "MIGRATE":
        raise invalid_value(
            f"{field}.onHostMaintenance",
            "MIGRATE",
            "Instances with guest accelerators do not support live migration.",
        )
    limited = "maxRunDuration" in given or "terminationTime" in given
    _check_limits(given, now, field)
    action = given.get("instanceTerminationAction")
    if action is not None and not (
        model == "SPOT" or limited or model in ("FLEX_START", "RESERVATION_BOUND")
    ):
        raise invalid_value(
            f"{field}.instanceTerminationAction",
            action,
            "You cannot specify a termination action for a VM instance that has the standard provisioning model "
            "(default). To use instance termination action, the VM instance must use the spot provisioning model.",
        )
    if limited and action is None:
        named = "maxRunDuration" if "maxRunDuration" in given else "terminationTime"
        raise invalid_value(
            f"{field}.instanceTerminationAction",
            "",
            f"Instance termination action must be specified when {named} is set.",
        )
    if limited and spot and model != "SPOT":
        raise invalid_value(
            f"{field}.preemptible", True, "Preemptible VM instances do not support a time limit."
        )
    scheduling: Json = {
        **given,
        "automaticRestart": restart,
        "onHostMaintenance": maintenance,
        "preemptible": bool(spot),
        "provisioningModel": model,
    }
    if model == "SPOT" and action is None:
        scheduling["instanceTerminationAction"] = "STOP"
    return scheduling


def deletes_at_end(scheduling: Json) -> bool:
    """Whether the VM goes away, and not only stops, when Compute Engine ends it."""
    return bool(scheduling.get("instanceTerminationAction") == "DELETE")


def _check_spot(spot: bool, restart: bool, maintenance: str, field: str) -> None:
    rules = []
    if spot and restart:
        rules.append("Scheduling must have preemptible be false when AutomaticRestart is true.")
    if spot and maintenance != "TERMINATE":
        rules.append("Scheduling must have preemptible be false when OnHostMaintenance isn't TERMINATE.")
    if rules:
        raise invalid_value(f"{field}.preemptible", True, " ".join(rules))


def _check_limits(given: Json, now: float, field: str) -> None:
    if "maxRunDuration" in given and "terminationTime" in given:
        raise invalid_value(
            f"{field}.terminationTime",
            given["terminationTime"],
            "Only one of maxRunDuration and terminationTime may be set.",
        )
    if "maxRunDuration" in given:
        duration = int(given["maxRunDuration"].get("seconds", 0))
        if not _LEAST_RUN_S <= duration <= _MOST_RUN_S:
            raise invalid_value(
                f"{field}.maxRunDuration.seconds",
                duration,
                f"Must be between {_LEAST_RUN_S} seconds and {_MOST_RUN_S} seconds (120 days).",
            )
    if "terminationTime" in given:
        text = given["terminationTime"]
        try:
            end = seconds(text)
        except ValueError as error:
            raise invalid_value(f"{field}.terminationTime", text, "Must be an RFC 3339 time.") from error
        if not now + _LEAST_RUN_S <= end <= now + _MOST_RUN_S:
            raise invalid_value(
                f"{field}.terminationTime", text, "Must be between 30 seconds and 120 days from now."
            )
