"""What the project or the person may not do: API off, no billing, no permission, no login, a policy."""

from __future__ import annotations

from hydra_gce.refusals.refusal import Reach
from hydra_gce.refusals.row import Row
from hydra_gce.refusals.sources import ACCOUNTS, AUTOSCALER, CATALOG, CORE_ERRORS, POLICIES, REASONS

_ENABLE = "enable the Compute Engine API: https://console.cloud.google.com/apis/library/compute.googleapis.com{in_project}"
_BILLING = (
    "link a billing account to the project, then wait a few minutes:"
    " https://console.cloud.google.com/billing/linkedaccount{in_project}"
)
_LOGIN = "run: gcloud auth application-default login"
_GRANT = "ask for {role} ({permission}): https://console.cloud.google.com/iam-admin/iam{in_project}"
_ACT_AS = (
    "ask for roles/iam.serviceAccountUser on the account of hydra.launcher.vm.service_account:"
    " https://console.cloud.google.com/iam-admin/serviceaccounts{in_project}"
)
_POLICY = "have the policy changed: https://console.cloud.google.com/iam-admin/orgpolicies{in_project}"

PROJECT = (
    Row(
        "https://github.com/hashicorp/terraform/issues/19912",
        Reach.EVERYWHERE,
        "has the Compute Engine API switched off",
        _ENABLE,
        says=r"API has not been used in project|API \(?.*is not enabled for your project",
    ),
    Row(
        REASONS,
        Reach.EVERYWHERE,
        "has the Compute Engine API switched off",
        _ENABLE,
        codes=("accessNotConfigured", "SERVICE_DISABLED", "API_DISABLED"),
    ),
    Row(
        "https://github.com/GoogleCloudPlatform/ipython-soccer-predictions/issues/7",
        Reach.EVERYWHERE,
        "has no billing account",
        _BILLING,
        says=r"inactive billing state|billing disabled|requires billing to be enabled|Billing account for project",
    ),
    Row(
        REASONS,
        Reach.EVERYWHERE,
        "has no billing account",
        _BILLING,
        codes=(
            "inactiveBillingState",
            "billingNotEnabled",
            "BILLING_DISABLED",
            "UREQ_PROJECT_BILLING_NOT_FOUND",
        ),
    ),
    Row(
        REASONS,
        Reach.EVERYWHERE,
        "is suspended by Google, or not yours to use",
        "look at the project's state: https://console.cloud.google.com/home/dashboard{in_project}",
        codes=("CONSUMER_SUSPENDED", "CONSUMER_INVALID", "USER_PROJECT_DENIED", "projectSuspended"),
    ),
    Row(
        REASONS,
        Reach.EVERYWHERE,
        "is closed to this network by VPC Service Controls",
        "send the request from inside the perimeter, or ask its administrator",
        codes=("SECURITY_POLICY_VIOLATED", "vpcServiceControls"),
    ),
    Row(
        REASONS,
        Reach.EVERYWHERE,
        "is closed to this network by VPC Service Controls",
        "send the request from inside the perimeter, or ask its administrator",
        says="prohibited by organization's policy|vpcServiceControlsUniqueIdentifier",
    ),
)

PEOPLE = (
    Row(
        # The person may make VMs, but none that act as this account.
        ACCOUNTS,
        Reach.EVERYWHERE,
        "does not let you use service account {account}",
        _ACT_AS,
        says=r"does not have access to service account '(?P<account>[^']+)'",
    ),
    Row(
        ACCOUNTS,
        Reach.EVERYWHERE,
        "does not let you use the VM's service account",
        _ACT_AS,
        codes=("SERVICE_ACCOUNT_ACCESS_DENIED",),
    ),
    Row(
        ACCOUNTS,
        Reach.EVERYWHERE,
        "does not let you use the VM's service account",
        _ACT_AS,
        says=r"'(?:iam\.serviceAccounts\.actAs|compute\.instances\.setServiceAccount)'",
    ),
    Row(
        # Whoever took this for passing asked for ever: https://github.com/skypilot-org/skypilot/issues/4329
        "https://cloud.google.com/compute/docs/images/managing-access-custom-images",
        Reach.EVERYWHERE,
        "does not let you use the image",
        "ask for {role} ({permission}), or name another image in hydra.launcher.vm.image",
        says=r"'compute\.images\.useReadOnly'",
    ),
    Row(
        CATALOG,
        Reach.EVERYWHERE,
        "does not give you {permission}",
        _GRANT,
        says=r"Required '[\w.]+' permission|Permission '[\w.]+' denied on resource",
    ),
    Row(
        REASONS,
        Reach.EVERYWHERE,
        "does not let you make VMs",
        _GRANT,
        codes=("IAM_PERMISSION_DENIED", "PERMISSION_DENIED", "accessDenied", "ACCESS_DENIED"),
    ),
    Row(
        f"{CATALOG}; {AUTOSCALER}",
        Reach.EVERYWHERE,
        "does not let you make VMs",
        _GRANT,
        codes=("PERMISSIONS_ERROR",),
    ),
    Row(CORE_ERRORS, Reach.EVERYWHERE, "does not let you make VMs", _GRANT, codes=("forbidden",)),
    Row(
        REASONS,
        Reach.EVERYWHERE,
        "does not take credentials of so few scopes",
        f"{_LOGIN} (on a VM: give it the scope cloud-platform)",
        codes=("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "insufficientPermissions"),
    ),
    Row(
        REASONS,
        Reach.EVERYWHERE,
        "does not take the credentials",
        _LOGIN,
        codes=(
            "authError",
            "UNAUTHENTICATED",
            "ACCESS_TOKEN_EXPIRED",
            "ACCESS_TOKEN_TYPE_UNSUPPORTED",
            "ACCOUNT_STATE_INVALID",
            "CREDENTIALS_MISSING",
        ),
    ),
    Row(CORE_ERRORS, Reach.EVERYWHERE, "does not take the credentials", _LOGIN, status=401),
)

FORBIDDEN = (
    Row(
        "https://cloud.google.com/compute/docs/ip-addresses/configure-static-external-ip-address#disableexternalip",
        Reach.REQUEST,
        "policy {constraint} forbids it",
        "set hydra.launcher.vm.external_ip=false (the VM then needs Cloud NAT), or have the policy changed:"
        " https://console.cloud.google.com/iam-admin/orgpolicies/compute-vmExternalIpAccess{in_project}",
        says=r"constraints/compute\.(?:managed\.)?vmExternalIpAccess",
    ),
    Row(
        "https://cloud.google.com/compute/docs/images/restricting-image-access",
        Reach.REQUEST,
        "policy {constraint} forbids it",
        "name an image of an allowed project in hydra.launcher.vm.image, or have the policy changed:"
        " https://console.cloud.google.com/iam-admin/orgpolicies/compute-trustedImageProjects{in_project}",
        says=r"constraints/compute\.trustedImageProjects",
    ),
    Row(
        "https://github.com/fortinet/fortigate-terraform-deploy/issues/34",
        Reach.REQUEST,
        "policy {constraint} forbids it",
        "name an image with Shielded VM support in hydra.launcher.vm.image, and leave hydra.launcher.vm.vtpm and"
        " hydra.launcher.vm.integrity_monitoring on",
        says=r"constraints/compute\.requireShieldedVm",
    ),
    Row(
        POLICIES,
        Reach.REQUEST,
        "policy {constraint} forbids it",
        "name an allowed subnetwork in hydra.launcher.vm.subnetwork",
        says=r"constraints/compute\.restrictSharedVpcSubnetworks",
    ),
    Row(
        POLICIES,
        Reach.REQUEST,
        "policy {constraint} forbids it",
        "set hydra.launcher.vm.metadata.enable-oslogin=true, which the policy asks for",
        says=r"constraints/compute\.requireOsLogin",
    ),
    Row(
        "https://cloud.google.com/compute/docs/access/custom-constraints",
        Reach.REQUEST,
        "policy {constraint} forbids it",
        _POLICY,
        says=r"custom(?:C|c)onstraints/|custom org policies",
    ),
    Row(POLICIES, Reach.REQUEST, "policy {constraint} forbids it", _POLICY, says=r"constraints/[\w.]+"),
    Row(
        POLICIES,
        Reach.REQUEST,
        "is kept from it by a policy of the organisation",
        _POLICY,
        codes=("conditionNotMet", "CONDITION_NOT_MET"),
    ),
)

ROWS = (*PROJECT, *FORBIDDEN, *PEOPLE)
