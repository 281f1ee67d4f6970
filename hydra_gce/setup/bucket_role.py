"""What the VMs may do in the bucket."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from hydra_gce.doctor.account import OBJECT_ROLE
from hydra_gce.setup import hcl
from hydra_gce.setup.account import Account
from hydra_gce.setup.bucket import ROLE, mark, marked
from hydra_gce.setup.step import LABEL, Removal, Step, patiently

if TYPE_CHECKING:
    from hydra_gce.cloud.backend import Backend

_POLICY_VERSION = 3


class UsesBucket(Step):
    """The role of the VMs in the bucket."""

    title = "role of the VMs in the bucket"
    why = "VMs read code and data there and write what comes of them"

    def __init__(self, backend: Backend, account: Account, name: str) -> None:
        self._backend = backend
        self._account = account
        self._name = name

    def missing(self) -> list[str]:
        if self._is_bound(self._name):
            return []
        return [f"give {OBJECT_ROLE} on gs://{self._name} to {self._account.email}"]

    def make(self) -> None:
        bucket = self._backend.buckets.get_bucket(self._name)
        if not bucket.labels.get(LABEL):
            mark(bucket, [ROLE])
            bucket.patch()

        def once() -> None:
            policy = bucket.get_iam_policy(requested_policy_version=_POLICY_VERSION)
            policy.version = _POLICY_VERSION
            if not _binding(policy, self._account.member):
                policy.bindings.append({"role": OBJECT_ROLE, "members": {self._account.member}})
                bucket.set_iam_policy(policy)

        patiently(once)

    def made(self) -> list[Removal]:
        """In each bucket that setup has made or changed, whatever the settings were."""
        names = dict.fromkeys([self._name, *(one.name for one in marked(self._backend))])
        return [
            Removal(
                f"the role {OBJECT_ROLE} of {self._account.email} on gs://{name}",
                partial(self._unbind, name),
            )
            for name in names
            if self._is_bound(name)
        ]

    def terraform(self) -> str:
        fields = {
            "bucket": hcl.Ref("google_storage_bucket.sweeps.name"),
            "role": OBJECT_ROLE,
            "member": hcl.Ref("google_service_account.vm.member"),
        }
        return hcl.resource("google_storage_bucket_iam_member", "vm", fields)

    def _unbind(self, name: str) -> None:
        bucket = self._backend.buckets.bucket(name)
        policy = bucket.get_iam_policy(requested_policy_version=_POLICY_VERSION)
        policy.version = _POLICY_VERSION
        for binding in _binding(policy, self._account.member):
            binding["members"] = set(binding["members"]) - {self._account.member}
        bucket.set_iam_policy(policy)

    def _is_bound(self, name: str) -> bool:
        from google.api_core.exceptions import Forbidden, NotFound

        try:
            bucket = self._backend.buckets.bucket(name)
            policy = bucket.get_iam_policy(requested_policy_version=_POLICY_VERSION)
        except NotFound:
            return False
        except Forbidden as error:
            if "has not been used in project" in str(error):
                return False
            raise
        return bool(_binding(policy, self._account.member))


def _binding(policy: Any, member: str) -> list[Any]:
    return [
        one
        for one in policy.bindings
        if one["role"] == OBJECT_ROLE and member in one["members"] and not one.get("condition")
    ]
