"""Permissions by name, and the predefined roles that hold them: the part of Google's that sweeps come into touch with.

https://cloud.google.com/iam/docs/roles-permissions
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache

_VERBS = {
    "cloudquotas.quotas": "get update",
    "compute.acceleratorTypes": "get list",
    "compute.addresses": "create delete get list setLabels use",
    "compute.diskTypes": "get list",
    "compute.disks": "create delete get list resize setLabels use useReadOnly",
    "compute.firewalls": "create delete get list update",
    "compute.globalAddresses": "create delete get list setLabels use",
    "compute.globalOperations": "delete get list",
    "compute.images": "create delete get getFromFamily list setLabels useReadOnly",
    "compute.instanceTemplates": "create delete get list useReadOnly",
    "compute.instances": "create delete get getSerialPortOutput list osAdminLogin osLogin reset "
    "setDeletionProtection setDiskAutoDelete setLabels setMachineType setMetadata setScheduling setServiceAccount "
    "setTags simulateMaintenanceEvent start stop update use",
    "compute.machineTypes": "get list",
    "compute.networks": "create delete get list updatePolicy use useExternalIp",
    "compute.projects": "get setCommonInstanceMetadata",
    "compute.regionOperations": "delete get list",
    "compute.regions": "get list",
    "compute.routers": "create delete get list update use",
    "compute.subnetworks": "create delete get list use useExternalIp",
    "compute.zoneOperations": "delete get list",
    "compute.zones": "get list",
    "iam.roles": "create delete get list undelete update",
    "iam.serviceAccounts": "actAs create delete disable enable get getAccessToken getIamPolicy list setIamPolicy "
    "update",
    "iap.tunnelInstances": "accessViaIAP getIamPolicy setIamPolicy",
    "logging.logEntries": "create list",
    "resourcemanager.projects": "get getIamPolicy setIamPolicy",
    "serviceusage.quotas": "get update",
    "serviceusage.services": "disable enable get list use",
    "storage.buckets": "create delete get getIamPolicy list setIamPolicy update",
    "storage.multipartUploads": "abort create list listParts",
    "storage.objects": "create delete get getIamPolicy list setIamPolicy update",
}

_INSTANCE_ADMIN = (
    "compute.instances.*", "compute.disks.*", "compute.instanceTemplates.*", "compute.images.get*",
    "compute.images.list", "compute.images.useReadOnly", "compute.machineTypes.*", "compute.diskTypes.*",
    "compute.acceleratorTypes.*", "compute.networks.get", "compute.networks.list", "compute.networks.use*",
    "compute.subnetworks.get", "compute.subnetworks.list", "compute.subnetworks.use*", "compute.projects.get",
    "compute.regions.*", "compute.zones.*", "compute.*Operations.get", "compute.*Operations.list",
    "compute.addresses.get", "compute.addresses.list", "compute.addresses.use", "resourcemanager.projects.get",
    "serviceusage.quotas.get", "serviceusage.services.get", "serviceusage.services.list",
)  # fmt: skip
_VIEWER = ("*.get", "*.list", "compute.images.getFromFamily", "compute.instances.getSerialPortOutput")
_OWNERS_ONLY = (
    "iam.roles.*", "iam.serviceAccounts.setIamPolicy", "iap.*", "resourcemanager.projects.setIamPolicy",
    "storage.*etIamPolicy", "storage.objects.*", "storage.buckets.get", "storage.buckets.update",
)  # fmt: skip
_OBJECT_USER = (
    "storage.objects.create", "storage.objects.delete", "storage.objects.get", "storage.objects.list",
    "storage.objects.update", "storage.multipartUploads.*", "resourcemanager.projects.get",
)  # fmt: skip

# Title, the permissions that it includes, and those that it leaves out of them.
_ROLES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "roles/owner": ("Owner", ("*",), ("storage.objects.*", "storage.buckets.get", "storage.buckets.update")),
    "roles/editor": ("Editor", ("*",), _OWNERS_ONLY),
    "roles/viewer": ("Viewer", _VIEWER, ("storage.objects.*", "storage.buckets.get")),
    "roles/browser": ("Browser", ("resourcemanager.projects.get*",), ()),
    "roles/compute.admin": (
        "Compute Admin",
        ("compute.*", "resourcemanager.projects.get", "serviceusage.*.get", "serviceusage.services.list"),
        (),
    ),
    "roles/compute.instanceAdmin.v1": ("Compute Instance Admin (v1)", _INSTANCE_ADMIN, ()),
    "roles/compute.networkAdmin": (
        "Compute Network Admin",
        ("compute.addresses.*", "compute.globalAddresses.*", "compute.networks.*", "compute.routers.*",
         "compute.subnetworks.*", "compute.firewalls.get", "compute.firewalls.list", "compute.*.get",
         "compute.*Operations.list", "resourcemanager.projects.get"),
        (),
    ),
    "roles/compute.securityAdmin": (
        "Compute Security Admin",
        ("compute.firewalls.*", "compute.networks.get", "compute.networks.list", "compute.networks.updatePolicy",
         "compute.globalOperations.get", "compute.globalOperations.list", "resourcemanager.projects.get"),
        (),
    ),
    "roles/compute.viewer": (
        "Compute Viewer",
        ("compute.*.get", "compute.*.list", "compute.images.getFromFamily", "compute.instances.getSerialPortOutput",
         "resourcemanager.projects.get"),
        (),
    ),
    "roles/compute.osLogin": ("Compute OS Login", ("compute.instances.osLogin", "compute.instances.get"), ()),
    "roles/iam.roleAdmin": ("Role Administrator", ("iam.roles.*", "resourcemanager.projects.get*"), ()),
    "roles/iam.serviceAccountAdmin": (
        "Service Account Admin",
        ("iam.serviceAccounts.*", "resourcemanager.projects.get"),
        ("iam.serviceAccounts.actAs", "iam.serviceAccounts.getAccessToken"),
    ),
    "roles/iam.serviceAccountUser": (
        "Service Account User",
        ("iam.serviceAccounts.actAs", "iam.serviceAccounts.get", "iam.serviceAccounts.list",
         "resourcemanager.projects.get"),
        (),
    ),
    "roles/iap.tunnelResourceAccessor": (
        "IAP-secured Tunnel User", ("iap.tunnelInstances.accessViaIAP",), ()
    ),
    "roles/logging.logWriter": ("Logs Writer", ("logging.logEntries.create",), ()),
    "roles/resourcemanager.projectIamAdmin": (
        "Project IAM Admin", ("resourcemanager.projects.*", "iam.roles.get", "iam.roles.list"), ()
    ),
    "roles/serviceusage.serviceUsageAdmin": (
        "Service Usage Admin", ("serviceusage.*",), ()
    ),
    "roles/serviceusage.serviceUsageConsumer": (
        "Service Usage Consumer",
        ("serviceusage.quotas.get", "serviceusage.services.get", "serviceusage.services.list",
         "serviceusage.services.use"),
        (),
    ),
    "roles/serviceusage.serviceUsageViewer": (
        "Service Usage Viewer",
        ("serviceusage.quotas.get", "serviceusage.services.get", "serviceusage.services.list"),
        (),
    ),
    "roles/storage.admin": ("Storage Admin", ("storage.*", "resourcemanager.projects.get"), ()),
    "roles/storage.legacyBucketOwner": (
        "Storage Legacy Bucket Owner",
        ("storage.buckets.get*", "storage.buckets.setIamPolicy", "storage.buckets.update", "storage.multipartUploads.*",
         "storage.objects.create", "storage.objects.delete", "storage.objects.list"),
        (),
    ),
    "roles/storage.legacyBucketReader": (
        "Storage Legacy Bucket Reader",
        ("storage.buckets.get", "storage.multipartUploads.list", "storage.objects.list"),
        (),
    ),
    "roles/storage.legacyObjectOwner": (
        "Storage Legacy Object Owner",
        ("storage.objects.get*", "storage.objects.setIamPolicy", "storage.objects.update"),
        (),
    ),
    "roles/storage.legacyObjectReader": ("Storage Legacy Object Reader", ("storage.objects.get",), ()),
    "roles/storage.objectAdmin": (
        "Storage Object Admin",
        ("storage.objects.*", "storage.multipartUploads.*", "resourcemanager.projects.get"),
        (),
    ),
    "roles/storage.objectUser": ("Storage Object User", _OBJECT_USER, ()),
    "roles/storage.objectViewer": (
        "Storage Object Viewer",
        ("storage.objects.get", "storage.objects.list", "resourcemanager.projects.get"),
        (),
    ),
}  # fmt: skip


@cache
def permissions() -> frozenset[str]:
    """Every permission that is known here."""
    return frozenset(f"{resource}.{verb}" for resource, verbs in _VERBS.items() for verb in verbs.split())


@cache
def predefined() -> dict[str, tuple[str, frozenset[str]]]:
    """Title and permissions of each predefined role."""
    return {
        name: (
            title,
            frozenset(one for one in permissions() if _any(one, included) and not _any(one, left_out)),
        )
        for name, (title, included, left_out) in _ROLES.items()
    }


def _any(permission: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(permission, pattern) for pattern in patterns)
