"""The service account of the VMs, with the least that they need.

- `roles/storage.objectUser` on the sweeps' bucket alone: code, data, results, records.
- a role of the project's own with one permission, bound to VMs of sweeps by a condition: to end itself when it has no
  job any more. The smallest predefined role with it, roles/compute.instanceAdmin.v1, could make VMs and
  read their metadata, which hold the sweeps' keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hydra_gce.doctor.account import account_of_setup
from hydra_gce.setup import hcl, policy
from hydra_gce.setup.step import MARK, Removal, Step, patiently

if TYPE_CHECKING:
    from hydra_gce.cloud.backend import Backend

ROLE_ID = "hydraGceVm"
PERMISSIONS = ("compute.instances.delete",)
CONDITION = {
    "title": "VMs of sweeps",
    "description": "hydra-gce: VMs end themselves, and no others than those of sweeps",
    "expression": 'resource.type == "compute.googleapis.com/Instance" && '
    'resource.name.extract("/instances/{name}").startsWith("hg-")',
}
"""https://cloud.google.com/iam/docs/conditions-attribute-reference#resource"""
_ENABLED = " It enabled: "
DISPLAY_NAME = "VMs of hydra-gce sweeps"


class Account(Step):
    """``enabled``: the APIs that setup has enabled; the account's description keeps them for an undo."""

    title = "service account of the VMs"
    why = "VMs act as it; it can use the sweeps' bucket and end VMs of sweeps, and nothing else"

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.email = account_of_setup(backend.project)
        self.enabled: list[str] = []

    @property
    def member(self) -> str:
        return f"serviceAccount:{self.email}"

    def missing(self) -> list[str]:
        found = self.find()
        if found is None:
            return [f"make {self.email}"]
        if self._to_note(found):
            return [f"note on {self.email} which APIs were enabled for it"]
        return [f"enable {self.email}, which is disabled"] if found.get("disabled") else []

    def make(self) -> None:
        found = self.find()
        path = f"v1/projects/{self._backend.project}/serviceAccounts"
        if found is None:
            description = self._description(self.enabled)
            account = {"displayName": DISPLAY_NAME, "description": description}
            body = {"accountId": self.email.partition("@")[0], "serviceAccount": account}
            patiently(lambda: self._rest.post(path, body))
            return
        if self._to_note(found):
            description = self._description([*_enabled_in(found), *self.enabled])
            body = {"serviceAccount": {"description": description}, "updateMask": "description"}
            self._rest.patch(f"{path}/{self.email}", body)
        if found.get("disabled"):
            self._rest.post(f"{path}/{self.email}:enable")

    def made(self) -> list[Removal]:
        if not _is_ours(self.find()):
            return []
        path = f"v1/projects/{self._backend.project}/serviceAccounts/{self.email}"

        def remove() -> None:
            self._rest.delete(path)

        return [Removal(f"the service account {self.email}", remove)]

    def terraform(self) -> str:
        fields = {
            "account_id": self.email.partition("@")[0],
            "display_name": DISPLAY_NAME,
            "description": "Made for hydra-gce by Terraform.",
            "depends_on": [hcl.Ref("google_project_service.iam")],
        }
        return hcl.resource("google_service_account", "vm", fields)

    def find(self) -> dict[str, Any] | None:
        """The account; None where there is none, or the API that would tell is off."""
        from google.api_core.exceptions import NotFound

        try:
            found: dict[str, Any] = self._rest.get(
                f"v1/projects/{self._backend.project}/serviceAccounts/{self.email}"
            )
        except NotFound:
            return None
        except Exception as error:
            if "has not been used in project" in str(error):
                return None
            raise
        return found

    def enabled_apis(self) -> list[str]:
        """The APIs that setup has enabled, as the account that it made says."""
        found = self.find()
        return _enabled_in(found) if found is not None and _is_ours(found) else []

    def _to_note(self, found: dict[str, Any]) -> bool:
        return _is_ours(found) and bool(set(self.enabled) - set(_enabled_in(found)))

    @staticmethod
    def _description(apis: list[str]) -> str:
        short = ", ".join(dict.fromkeys(one.removesuffix(".googleapis.com") for one in apis))
        return MARK + (f"{_ENABLED}{short}" if short else "")

    @property
    def _rest(self) -> Any:
        return self._backend.rest("iam")


class EndsItself(Step):
    """The role of the VMs in the project."""

    title = "role of the VMs in the project"
    why = "a VM without a job deletes itself, also where no launcher is there to do it"

    def __init__(self, backend: Backend, account: Account) -> None:
        self._backend = backend
        self._account = account
        self._role = f"projects/{backend.project}/roles/{ROLE_ID}"

    def missing(self) -> list[str]:
        found, sentences = self._find(), []
        if found is None or found.get("deleted"):
            sentences.append(f"make the role {ROLE_ID}: {', '.join(PERMISSIONS)}")
        elif set(found.get("includedPermissions", [])) != set(PERMISSIONS):
            sentences.append(f"make the role {ROLE_ID} hold just {', '.join(PERMISSIONS)}")
        if not self._is_bound():
            sentences.append(f"give it to {self._account.email}, for VMs named hg-… alone")
        return sentences

    def make(self) -> None:
        patiently(self._make_role)
        policy.grant(self._backend, self._role, self._account.member, CONDITION)

    def _make_role(self) -> None:
        role = {
            "title": "hydra-gce VM",
            "description": f"{MARK} Lets VMs of sweeps end themselves.",
            "includedPermissions": list(PERMISSIONS),
            "stage": "GA",
        }
        found = self._find()
        if found is None:
            body = {"roleId": ROLE_ID, "role": role}
            self._rest.post(f"v1/projects/{self._backend.project}/roles", body)
            return
        if found.get("deleted"):  # its name is taken for as long as it can be brought back
            self._rest.post(f"v1/{self._role}:undelete")
        if found.get("deleted") or set(found.get("includedPermissions", [])) != set(PERMISSIONS):
            self._rest.patch(f"v1/{self._role}", role, updateMask=",".join(role))

    def made(self) -> list[Removal]:
        removals = []
        found = self._find()
        if self._is_bound():
            removals.append(
                Removal(
                    f"the role {ROLE_ID} of {self._account.email}",
                    lambda: policy.revoke(self._backend, self._role, self._account.member),
                )
            )
        if _is_ours(found) and found is not None and not found.get("deleted"):

            def remove() -> None:
                self._rest.delete(f"v1/{self._role}")

            removals.append(Removal(f"the role {ROLE_ID}", remove))
        return removals

    def terraform(self) -> str:
        role = {
            "role_id": ROLE_ID,
            "title": "hydra-gce VM",
            "description": "Lets VMs of hydra-gce sweeps end themselves.",
            "permissions": list(PERMISSIONS),
        }
        member = {
            "project": hcl.Ref("var.project"),
            "role": hcl.Ref("google_project_iam_custom_role.vm.id"),
            "member": hcl.Ref("google_service_account.vm.member"),
            "condition": hcl.Block(CONDITION),
        }
        return "\n".join(
            (
                hcl.resource("google_project_iam_custom_role", "vm", role),
                hcl.resource("google_project_iam_member", "vm", member),
            )
        )

    def _find(self) -> dict[str, Any] | None:
        from google.api_core.exceptions import NotFound

        try:
            found: dict[str, Any] = self._rest.get(f"v1/{self._role}")
        except NotFound:
            return None
        except Exception as error:
            if "has not been used in project" in str(error):
                return None
            raise
        return found

    def _is_bound(self) -> bool:
        try:
            there = policy.project_policy(self._backend)
        except Exception as error:
            if "has not been used in project" in str(error):
                return False
            raise
        return policy.has(there, self._role, self._account.member, CONDITION)

    @property
    def _rest(self) -> Any:
        return self._backend.rest("iam")


def _is_ours(found: dict[str, Any] | None) -> bool:
    return found is not None and str(found.get("description", "")).startswith(MARK)


def _enabled_in(found: dict[str, Any]) -> list[str]:
    named = str(found.get("description", "")).partition(_ENABLED)[2]
    return [f"{one}.googleapis.com" for one in named.split(", ") if one]
