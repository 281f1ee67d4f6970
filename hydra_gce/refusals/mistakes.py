"""What is wrong with the request itself: no other place will take it, and the person is asked."""

from __future__ import annotations

from hydra_gce.refusals.refusal import Reach
from hydra_gce.refusals.row import Row
from hydra_gce.refusals.sources import BULK, CATALOG, CREATION, GLOBAL_ERRORS, SKYPILOT

_NETWORK = (
    "name a network of the project in hydra.launcher.vm.network:"
    " https://console.cloud.google.com/networking/networks/list{in_project}"
)
_ACCOUNT = (
    "name one that exists in hydra.launcher.vm.service_account:"
    " https://console.cloud.google.com/iam-admin/serviceaccounts{in_project}"
)
_PROJECT = "check hydra.launcher.project (a project's id, not its name)"
_IMAGE = "check hydra.launcher.vm.image (a name, a family as project/family, or a full path)"

MISSING = (
    Row(
        CREATION,
        Reach.REQUEST,
        "does not find image {image}",
        _IMAGE,
        says=r"/images/(?:family/)?(?P<image>[^/']+)'"
        r"(?: was not found|\. The referenced image resource cannot be found)",
    ),
    Row(
        CREATION,
        Reach.REQUEST,
        "does not find the image's license {license}",
        _IMAGE,
        says=r"/licenses/(?P<license>[^/']+)' (?:was not found|is not)",
    ),
    Row(
        CATALOG,
        Reach.REQUEST,
        "has no network {network}",
        _NETWORK,
        says=r"/networks/(?P<network>[^/']+)'(?: was not found|\. The referenced network resource cannot be found)",
    ),
    Row(
        CATALOG,
        Reach.REQUEST,
        "has no network {network}",
        _NETWORK,
        says=r"Network '(?P<network>[^']+)' was not found",
    ),
    Row(
        f"{CATALOG}; {SKYPILOT}",
        Reach.REQUEST,
        "has no such network",
        _NETWORK,
        codes=("NETWORK_NOT_FOUND", "VPC_NOT_FOUND"),
    ),
    Row(
        "https://github.com/hashicorp/terraform-provider-google (custom subnet mode)",
        Reach.REQUEST,
        "has a network whose subnetworks must be named",
        "name one in hydra.launcher.vm.subnetwork",
        says="Subnetwork should be specified for custom subnetmode network",
    ),
    Row(
        "https://github.com/GoogleCloudPlatform/terraform-google-managed-instance-group/issues/40",
        Reach.REQUEST,
        "has no service account {account}",
        _ACCOUNT,
        says=r"resource '(?:One of \[)?(?P<account>[^'\]]+)\]?' of type 'serviceAccount' was not found",
    ),
    Row(
        "github.com/ubicloud/ubicloud (GCP VM specs)",
        Reach.REQUEST,
        "does not find an account or key that is named",
        _ACCOUNT,
        codes=("EXTERNAL_RESOURCE_NOT_FOUND",),
    ),
    Row(
        CATALOG,
        Reach.REQUEST,
        "is not found",
        _PROJECT,
        says=r"resource 'projects/[^/']+' was not found|[Ff]ailed to find project|Unknown project",
    ),
    Row(CATALOG, Reach.REQUEST, "is not found", _PROJECT, codes=("PROJECT_NOT_FOUND",)),
)

CONTRADICTIONS = (
    Row(
        SKYPILOT,
        Reach.REQUEST,
        "needs a boot disk of {gb} at least: the image is that large",
        "set hydra.launcher.vm.disk_gb to the image's size or more",
        says=r"disk size cannot be smaller than the image size \((?P<gb>\d+ GB)\)",
    ),
    Row(
        "https://github.com/skypilot-org/skypilot/issues/212",
        Reach.REQUEST,
        "has no machine that takes {parts} together",
        "leave hydra.launcher.vm.machine_type and disk_type out, and the launcher takes what goes with the GPU",
        says=r"\[(?P<parts>[^\]]+)\] features are not compatible",
    ),
    Row(
        "https://github.com/GoogleCloudPlatform/cluster-toolkit/issues/1568",
        Reach.REQUEST,
        "has no machine that takes {parts}",
        "leave hydra.launcher.vm.disk_type out, and the launcher takes one that goes with the machine",
        says=r"\[(?P<parts>[^\]]+)\] features and \[[^\]]*\] InstanceTaxonomies are not compatible",
    ),
    Row(
        "https://cloud.google.com/compute/docs/disks/hyperdisks#machine-type-support",
        Reach.REQUEST,
        "has no {machine} with {disk}",
        "leave hydra.launcher.vm.disk_type out, and the launcher takes one that goes with the machine",
        says=r"(?P<disk>[\w-]+) disk type cannot be used by (?P<machine>[\w-]+)",
    ),
    Row(
        "https://github.com/state-of-the-art/BlendNet/issues/140",
        Reach.REQUEST,
        "has no such machine of that CPU",
        "leave minCpuPlatform out of hydra.launcher.vm.instance",
        says="has a required CPU platform of|minimum CPU platform must match",
    ),
    Row(
        "https://cloud.google.com/compute/docs/instances/about-flex-start-vms",
        Reach.REQUEST,
        "refuses the time in Google's queue",
        "set hydra.launcher.vm.queue_minutes from 1.5 to 120",
        says="requestValidForDuration",
    ),
    Row(
        "https://cloud.google.com/compute/docs/instances/limit-vm-runtime",
        Reach.REQUEST,
        "refuses the VM's longest life",
        "set hydra.launcher.vm.max_run_hours (flex_start: 168 at most)",
        says="maxRunDuration",
    ),
    Row(
        "https://github.com/hashicorp/terraform/issues/23698",
        Reach.REQUEST,
        "is asked for something that another VM uses",
        "look for a disk or an address in hydra.launcher.vm.instance",
        codes=("resourceInUseByAnotherResource", "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE"),
    ),
)

FIELDS = (
    Row(
        CATALOG,
        Reach.REQUEST,
        "refuses field {field}",
        "look at {setting}",
        says=r"(?:Invalid value for|Value for) field '",
    ),
    Row(
        CATALOG,
        Reach.REQUEST,
        "misses field {field}",
        "look at {setting}",
        says=r"Required field '[^']+' not specified",
    ),
    Row(
        CATALOG,
        Reach.REQUEST,
        "refuses the request",
        "look at {setting}",
        codes=("INVALID_FIELD_VALUE", "FIELD_SIZE_TOO_LARGE", "MISSING_REQUIRED_FIELD"),
    ),
    Row(BULK, Reach.REQUEST, "refuses the request", "look at {setting}", codes=("invalid", "INVALID_USAGE")),
    Row(
        GLOBAL_ERRORS,
        Reach.REQUEST,
        "refuses the request",
        "look at {setting}",
        codes=("badRequest", "required", "parseError", "invalidParameter", "INVALID_ARGUMENT"),
    ),
    Row(
        GLOBAL_ERRORS,
        Reach.REQUEST,
        "does not find something that is named",
        "look at hydra.launcher.vm and hydra.launcher.project",
        codes=("notFound", "NOT_FOUND"),
    ),
)

ROWS = (*MISSING, *CONTRADICTIONS, *FIELDS)
