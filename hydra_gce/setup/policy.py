"""One binding more, or one less, in an IAM policy: read, changed and written back, again if somebody was quicker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hydra_gce.setup.step import patiently

if TYPE_CHECKING:
    from hydra_gce.cloud.backend import Backend

VERSION = 3
"""The oldest that has conditions: https://cloud.google.com/iam/docs/policies#versions"""


def project_policy(backend: Backend) -> dict[str, Any]:
    """The project's, conditions included."""
    asked = backend.rest("cloudresourcemanager")
    options = {"options": {"requestedPolicyVersion": VERSION}}
    return asked.post(f"v3/projects/{backend.project}:getIamPolicy", options)


def has(policy: dict[str, Any], role: str, member: str, condition: dict[str, str] | None = None) -> bool:
    return any(_same(one, role, condition) and member in one["members"] for one in policy.get("bindings", []))


def grant(backend: Backend, role: str, member: str, condition: dict[str, str] | None = None) -> None:
    """Gives a member a role on the project."""

    def once() -> None:
        policy = project_policy(backend)
        if has(policy, role, member, condition):
            return
        bindings = policy.setdefault("bindings", [])
        binding = next((one for one in bindings if _same(one, role, condition)), None)
        if binding is None:
            binding = {"role": role, "members": [], **({"condition": condition} if condition else {})}
            bindings.append(binding)
        binding["members"].append(member)
        _write(backend, policy)

    patiently(once)


def revoke(backend: Backend, role: str, member: str) -> None:
    """Takes a role on the project from a member, with whatever condition he has it."""

    def once() -> None:
        policy = project_policy(backend)
        before = policy.get("bindings", [])
        after = [
            {**one, "members": [each for each in one["members"] if each != member]}
            if one["role"] == role
            else one
            for one in before
        ]
        if after != before:
            _write(backend, {**policy, "bindings": [one for one in after if one["members"]]})

    patiently(once)


def _write(backend: Backend, policy: dict[str, Any]) -> None:
    body = {"policy": {**policy, "version": VERSION}}
    backend.rest("cloudresourcemanager").post(f"v3/projects/{backend.project}:setIamPolicy", body)


def _same(binding: dict[str, Any], role: str, condition: dict[str, str] | None) -> bool:
    there = binding.get("condition") or {}
    return binding["role"] == role and there.get("expression") == (condition or {}).get("expression")
