"""The APIs that sweeps need, enabled."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from hydra_gce.doctor.apis import NEEDED, TUNNEL, USEFUL
from hydra_gce.errors import HydraGCEError
from hydra_gce.setup import hcl
from hydra_gce.setup.account import Account
from hydra_gce.setup.step import Removal, Step

if TYPE_CHECKING:
    from hydra_gce.cloud.backend import Backend

APIS = (*NEEDED, *USEFUL, TUNNEL)
_DONE_WITHIN_S = 300.0


class Apis(Step):
    """Which of them setup has enabled is written into the description of the service account that it makes."""

    title = "APIs"
    why = (
        "compute and storage run sweeps, iam and cloudresourcemanager serve setup and doctor, iap lets"
        " hydra-gce ssh through"
    )

    def __init__(
        self, backend: Backend, account: Account, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._backend = backend
        self._account = account
        self._pause = pause

    def missing(self) -> list[str]:
        return [f"enable {name}" for name in self._off()]

    def make(self) -> None:
        off = self._off()
        if not off:
            return
        body = {"serviceIds": off}
        operation = self._rest.post(f"v1/projects/{self._backend.project}/services:batchEnable", body)
        self._wait(operation)
        self._account.enabled += off

    def made(self) -> list[Removal]:
        on = self._states()
        return [
            Removal(f"the API {name}", partial(self._disable, name))
            for name in self._account.enabled_apis()
            if on.get(name) == "ENABLED"
        ]

    def terraform(self) -> str:
        services = {one.removesuffix(".googleapis.com").replace("-", "_"): one for one in APIS}
        return "\n".join(
            hcl.resource("google_project_service", name, {"service": service, "disable_on_destroy": False})
            for name, service in services.items()
        )

    @property
    def _rest(self) -> Any:
        return self._backend.rest("serviceusage")

    def _off(self) -> list[str]:
        states = self._states()
        return [name for name in APIS if states.get(name) != "ENABLED"]

    def _states(self) -> dict[str, str]:
        names = [f"projects/{self._backend.project}/services/{one}" for one in APIS]
        found = self._rest.get(f"v1/projects/{self._backend.project}/services:batchGet", names=names)
        return {one["name"].rsplit("/", 1)[-1]: one.get("state", "") for one in found.get("services", [])}

    def _disable(self, name: str) -> None:
        """Another API that was enabled since may need it: Google refuses then, and it stays."""
        body = {"disableDependentServices": False, "checkIfServiceHasUsage": "SKIP"}
        self._wait(self._rest.post(f"v1/projects/{self._backend.project}/services/{name}:disable", body))

    def _wait(self, operation: dict[str, Any]) -> None:
        deadline = time.monotonic() + _DONE_WITHIN_S
        while not operation.get("done"):
            if time.monotonic() > deadline:
                raise HydraGCEError(
                    f"Service Usage has not ended {operation.get('name')} within {_DONE_WITHIN_S:.0f} s."
                    " Run hydra-gce setup again in a while."
                )
            self._pause(2.0)
            operation = self._rest.get(f"v1/{operation['name']}")
        if "error" in operation:
            raise HydraGCEError(f"Service Usage: {operation['error'].get('message', operation['error'])}")
