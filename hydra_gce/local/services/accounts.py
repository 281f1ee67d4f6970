"""`iam.googleapis.com`: service accounts, and roles, predefined ones and a project's own.

https://cloud.google.com/iam/docs/reference/rest
"""

from __future__ import annotations

import re

from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.compute.names import project_number, stable_id
from hydra_gce.local.compute.operations import new_id
from hydra_gce.local.home import PROJECT
from hydra_gce.local.services import policies, roles
from hydra_gce.local.services.call import Call, Json, RpcError, etag
from hydra_gce.local.services.service_usage import demand_on
from hydra_gce.local.store import Resource

_ACCOUNTS = "serviceAccounts"
_ROLES = "customRoles"
_ACCOUNT_ID = re.compile(r"[a-z](?:[-a-z0-9]{4,28}[a-z0-9])")
_ROLE_ID = re.compile(r"[a-zA-Z0-9_.]{3,64}")
_LONGEST_DESCRIPTION = 256


def find(cloud: Cloud, email: str) -> Resource | None:
    """A service account, by its address or its unique id; the one that Compute Engine makes is there by itself."""
    found = cloud.store.get(_ACCOUNTS, "", "global", email)
    if found is None and email == cloud.default_account(PROJECT):
        unique = stable_id(PROJECT, "default account")
        body = _account(email, unique, {"displayName": "Compute Engine default service account"})
        return Resource(_ACCOUNTS, "", "global", email, body)
    return None if found is None or found.private.get("deleted") else found


def get(cloud: Cloud, call: Call) -> Json:
    return _found(cloud, call, "iam.serviceAccounts.get").body


def list_(cloud: Cloud, call: Call) -> Json:
    _demand(cloud, call, "iam.serviceAccounts.list")
    stored = [one.name for one in cloud.store.list(_ACCOUNTS)]
    emails = dict.fromkeys([cloud.default_account(PROJECT), *stored])
    return {"accounts": [found.body for email in emails if (found := find(cloud, email)) is not None]}


def create(cloud: Cloud, call: Call) -> Json:
    _demand(cloud, call, "iam.serviceAccounts.create")
    account_id = call.body.get("accountId", "")
    if not _ACCOUNT_ID.fullmatch(account_id):
        raise RpcError(
            400,
            "The account ID does not have a valid format. It must be 6-30 characters long, and match the pattern"
            " [a-z]([-a-z0-9]*[a-z0-9]).",
        )
    email = f"{account_id}@{call.path['project']}.iam.gserviceaccount.com"
    given = call.body.get("serviceAccount", {})
    _check_description(given)
    with cloud.lock:
        if find(cloud, email) is not None:
            raise RpcError(
                409,
                f"Service account {account_id} already exists within project projects/{call.path['project']}.",
            )
        body = _account(email, new_id(cloud.clock(), cloud.rng), given)
        cloud.store.put(Resource(_ACCOUNTS, "", "global", email, body))
    return body


def patch(cloud: Cloud, call: Call) -> Json:
    account = _found(cloud, call, "iam.serviceAccounts.update")
    given = call.body.get("serviceAccount", {})
    _check_description(given)
    masked = [one.strip() for one in call.body.get("updateMask", "").split(",")]
    account.body.update(
        {key: given[key] for key in ("displayName", "description") if key in masked and key in given}
    )
    return _put(cloud, account)


def delete(cloud: Cloud, call: Call) -> Json:
    """Gone, and with it its roles on others: their bindings name it as `deleted:` from now on."""
    account = _found(cloud, call, "iam.serviceAccounts.delete")
    with cloud.lock:
        if account.name == cloud.default_account(PROJECT):
            cloud.store.put(Resource(_ACCOUNTS, "", "global", account.name, account.body, {"deleted": True}))
        else:
            cloud.store.delete(account)
        policies.forget(cloud, f"projects/{PROJECT}/serviceAccounts/{account.name}")
        policies.mark_deleted(cloud, account.name, account.body["uniqueId"])
    return {}


def enable(cloud: Cloud, call: Call) -> Json:
    account = _found(cloud, call, "iam.serviceAccounts.enable")
    account.body.pop("disabled", None)
    _put(cloud, account)
    return {}


def disable(cloud: Cloud, call: Call) -> Json:
    account = _found(cloud, call, "iam.serviceAccounts.disable")
    account.body["disabled"] = True
    _put(cloud, account)
    return {}


def get_policy(cloud: Cloud, call: Call) -> Json:
    account = _found(cloud, call, "iam.serviceAccounts.getIamPolicy")
    return policies.read(cloud, _resource(account.name))


def set_policy(cloud: Cloud, call: Call) -> Json:
    account = _found(cloud, call, "iam.serviceAccounts.setIamPolicy")
    return policies.write(cloud, _resource(account.name), call.body)


def test_permissions(cloud: Cloud, call: Call) -> Json:
    """What the caller may do with the account. Raises 404 where there is none."""
    demand_on(cloud, PROJECT, "iam.googleapis.com")
    account = find(cloud, call.path["account"])
    if account is None:
        raise _no_account(call)
    wanted = call.body.get("permissions", [])
    return policies.test(cloud, call, wanted, f"projects/{PROJECT}", _resource(account.name))


def get_role(cloud: Cloud, call: Call) -> Json:
    """A predefined role, which everybody may read."""
    name = f"roles/{call.path['role']}"
    if name not in roles.predefined():
        raise RpcError(404, f"The role named {name} was not found.")
    title, permissions = roles.predefined()[name]
    body = {"name": name, "title": title, "stage": "GA", "etag": "AA=="}
    return {**body, "includedPermissions": sorted(permissions)}


def get_custom_role(cloud: Cloud, call: Call) -> Json:
    return _custom_role(cloud, call, "iam.roles.get").body


def list_custom_roles(cloud: Cloud, call: Call) -> Json:
    _demand(cloud, call, "iam.roles.list")
    with_deleted = call.one("showDeleted") == "true"
    found = [one.body for one in cloud.store.list(_ROLES) if with_deleted or not one.body.get("deleted")]
    if call.one("view") != "FULL":
        found = [{key: value for key, value in one.items() if key != "includedPermissions"} for one in found]
    return {"roles": found} if found else {}


def create_role(cloud: Cloud, call: Call) -> Json:
    _demand(cloud, call, "iam.roles.create")
    role_id, given = call.body.get("roleId", ""), call.body.get("role", {})
    if not _ROLE_ID.fullmatch(role_id):
        raise RpcError(400, f'The role_id must match the regular expression "{_ROLE_ID.pattern}".')
    _check_permissions(given)
    name = f"projects/{call.path['project']}/roles/{role_id}"
    with cloud.lock:
        before = cloud.store.get(_ROLES, "", "global", name)
        if before is not None and before.body.get("deleted"):
            raise RpcError(
                400,
                f"You can't create a role with role_id ({role_id}) where there is an existing role with that"
                " role_id in a deleted state.",
                status="FAILED_PRECONDITION",
            )
        if before is not None:
            raise RpcError(409, f"A role named {role_id} in {name.rsplit('/', 2)[0]} already exists.")
        return _put_role(cloud, Resource(_ROLES, "", "global", name, {"name": name, **given}))


def patch_role(cloud: Cloud, call: Call) -> Json:
    role = _custom_role(cloud, call, "iam.roles.update")
    mask = [one for one in call.one("updateMask").split(",") if one] or list(call.body)
    _check_permissions(call.body)
    role.body.update(
        {key: call.body[key] for key in mask if key in call.body and key not in ("name", "etag")}
    )
    return _put_role(cloud, role)


def delete_role(cloud: Cloud, call: Call) -> Json:
    """Deleted, and kept for a week: its name cannot be taken meanwhile, but it can be brought back."""
    role = _custom_role(cloud, call, "iam.roles.delete")
    role.body["deleted"] = True
    return _put_role(cloud, role)


def undelete_role(cloud: Cloud, call: Call) -> Json:
    role = _custom_role(cloud, call, "iam.roles.undelete")
    role.body.pop("deleted", None)
    return _put_role(cloud, role)


def _account(email: str, unique: str, given: Json) -> Json:
    return {
        "name": f"projects/{PROJECT}/serviceAccounts/{email}",
        "projectId": PROJECT,
        "uniqueId": unique,
        "email": email,
        **{key: given[key] for key in ("displayName", "description") if given.get(key)},
        "etag": "MDEwMjE5MjA=",
        "oauth2ClientId": unique,
    }


def _found(cloud: Cloud, call: Call, permission: str) -> Resource:
    demand_on(cloud, PROJECT, "iam.googleapis.com")
    email = call.path["account"]
    what = f"//iam.googleapis.com/projects/{call.path['project']}/serviceAccounts/{email}"
    policies.demand(cloud, call, permission, what, f"projects/{PROJECT}", _resource(email))
    account = find(cloud, email)
    if account is None:
        raise _no_account(call)
    return account


def _no_account(call: Call) -> RpcError:
    return RpcError(404, f"Unknown service account {call.path['account']}.")


def _custom_role(cloud: Cloud, call: Call, permission: str) -> Resource:
    _demand(cloud, call, permission)
    name = f"projects/{call.path['project']}/roles/{call.path['role']}"
    role = cloud.store.get(_ROLES, "", "global", name)
    if role is None:
        raise RpcError(404, f"The role named {name} was not found.")
    return role


def _put(cloud: Cloud, account: Resource) -> Json:
    with cloud.lock:
        cloud.store.put(account)
    return account.body


def _put_role(cloud: Cloud, role: Resource) -> Json:
    role.body.pop("etag", None)
    role.body["etag"] = etag(role.body)
    with cloud.lock:
        cloud.store.put(role)
    return role.body


def _resource(email: str) -> str:
    return f"projects/{PROJECT}/serviceAccounts/{email}"


def _demand(cloud: Cloud, call: Call, permission: str) -> None:
    demand_on(cloud, PROJECT, "iam.googleapis.com")
    project = call.path["project"]
    project = PROJECT if project == project_number(PROJECT) else project
    what = f"//cloudresourcemanager.googleapis.com/projects/{project}"
    policies.demand(cloud, call, permission, what, f"projects/{project}")


def _check_description(given: Json) -> None:
    if len(given.get("description", "")) > _LONGEST_DESCRIPTION:
        raise RpcError(400, f"The description must be at most {_LONGEST_DESCRIPTION} characters long.")


def _check_permissions(given: Json) -> None:
    for one in given.get("includedPermissions", []):
        if one not in roles.permissions():
            raise RpcError(400, f"Permission {one} is not valid.")
