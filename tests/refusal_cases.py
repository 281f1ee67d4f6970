"""Errors that Compute Engine has answered `instances.insert` with, in its words, and what they mean to the launcher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hydra_gce.refusals import Reach

ZONE = "us-central1-a"
_IN_ZONE = f"projects/my-project/zones/{ZONE}"


@dataclass(frozen=True)
class Case:
    """``status`` None: the operation ends with it. ``flags``, of which each that is missing means the contrary:

    q: about a quota; p: it may pass; m: it holds for the provisioning model asked for, not for all.
    """

    code: str
    message: str
    status: int | None
    reach: Reach
    flags: str = ""
    short: str = ""
    advice: str = ""
    details: tuple[dict[str, Any], ...] = ()

    def __str__(self) -> str:
        words = "_".join(self.message.split()[:4])
        return f"{self.code}-{self.status or 'operation'}-{words}"


def _quota(metric: str, limit: float, region: str | None, **more: Any) -> tuple[dict[str, Any], ...]:
    """https://cloud.google.com/compute/docs/reference/rest/v1/instances/insert: QuotaExceededInfo."""
    info = {
        "metricName": f"compute.googleapis.com/{metric}",
        "limitName": f"{metric.upper().replace('_', '-')}-per-project" + ("-region" if region else ""),
        "limit": limit,
        "dimensions": ({"region": region} if region else {"global": "global"}) | more,
    }
    return ({"quotaInfo": info},)


def _reason(reason: str, **metadata: str) -> tuple[dict[str, Any], ...]:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}
    return (info | {"metadata": metadata},)


_A, _Z, _R, _E, _Q = Reach.ATTEMPT, Reach.ZONE, Reach.REGION, Reach.EVERYWHERE, Reach.REQUEST
_STOCK = f"The zone '{_IN_ZONE}' does not have enough resources available to fulfill the request."
_OVER = "Quota '{}' exceeded.  Limit: {} in region us-central1."
_FIELD = "Invalid value for field '{}': '{}'. "

STOCK = (
    Case("ZONE_RESOURCE_POOL_EXHAUSTED", f"{_STOCK}  Try a different zone, or try again later.", None, _Z, "pm",
         "has no {what} left", "vm.zones"),
    Case("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", f"{_STOCK}  '(resource type:compute)'.", None, _Z, "pm",
         "has no {what} left"),
    Case("RESOURCE_POOL_EXHAUSTED", "Resource pool exhausted", None, _Z, "pm", "left"),
    Case("REGION_RESOURCE_POOL_EXHAUSTED", "The region has not enough resources.", None, _R, "pm", "left"),
    Case("insufficientCapacity", "Insufficient capacity", 503, _Z, "pm", "left"),
    Case("backendError", f"{_STOCK}  Try a different zone, or try again later.", 503, _Z, "pm", "left"),
    Case("SOME_NEW_STOCKOUT", "A a2-highgpu-1g VM instance with 1 nvidia-tesla-a100 accelerator(s) is currently"
         f" unavailable in the {ZONE} zone.", None, _Z, "pm", "left"),
    Case("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
         "Waiting for resources. Currently there are not enough resources"
         " available to fulfill the request. Expected time is indefinite.", None, _Z, "pm", "left"),
    Case("LIMIT_EXCEEDED", "Resize request could not provision queued instances in the allocated time.", None, _Z,
         "pm", "queue", "vm.queue_minutes"),
    Case("UNSUPPORTED_OPERATION", "Operation is not supported on the instance", None, _Z, "pm", "took it back"),
    Case("RESOURCE_NOT_FOUND", f"The resource '{_IN_ZONE}/instances/hg-1' was not found", None, _Z, "pm",
         "took the VM"),
    Case("RESOURCE_NOT_FOUND", "", None, _Z, "pm", "{what}"),
    Case("SERVICE_UNAVAILABLE_FOR_LOCATION", f"'compute' in location '{ZONE}' cannot accept requests.", 500, _Z, "p",
         "no requests"),
    Case("OPERATION_STUCK", "Compute Engine has worked on the VM for 600 s and is not done", None, _Z, "p",
         "in the time"),
)  # fmt: skip

RESERVED = (
    Case("RESERVATION_CAPACITY_EXCEEDED",
         "Specified reservation xyz does not have available resources for the request.", None, _Z, "pm", "used up",
         "vm.reservation"),
    Case("INVALID_USAGE", "Reservation xyz does not have sufficient capacity for the requested resources.", None, _Z,
         "pm", "used up"),
    Case("INVALID_USAGE", "No available resources in specified reservations", None, _Z, "pm", "used up"),
    Case("RESERVATION_NOT_FOUND", "Specified reservation abcd does not exist", None, _Z, "m", "no such reservation",
         "vm.reservation"),
    Case("notFound", f"The resource '{_IN_ZONE}/reservations/mine' was not found", 404, _Z, "m",
         "no such reservation"),
    Case("INVALID_USAGE", "Cannot use reservation, it requires reservation to be in READY state", None, _Z, "pm",
         "ready"),
    Case("invalid",
         "Invalid value for field 'resource.reservationAffinity': '{ }'. Specified reservations [mine] can not"
         " be targeted as specificReservationRequired is not set", 400, _Q, "m", "does not fit", "vm.reservation"),
    Case("INVALID_USAGE", "Zone does not currently have sufficient capacity for the requested resources", None, _Z,
         "pm", "left"),
)  # fmt: skip

OFFERED = (
    Case("invalid", _FIELD.format("resource.machineType", f"zones/{ZONE}/machineTypes/a2-highgpu-1g") +
         f"Machine type with name 'a2-highgpu-1g' does not exist in zone '{ZONE}'.", 400, _Z, "", "does not offer it"),
    Case("notFound", f"The resource '{_IN_ZONE}/acceleratorTypes/nvidia-tesla-p100' was not found", 404, _Z, "",
         "does not offer it"),
    Case("RESOURCE_NOT_FOUND", f"The resource '{_IN_ZONE}/machineTypes/c4-standard-2' was not found", None, _Z, "",
         "does not offer it"),
    Case("badRequest", f'Accelerator type "nvidia-l4" does not exist in zone {ZONE}.', 400, _Z, "",
         "does not offer it"),
    Case("notFound", f"The resource '{_IN_ZONE}/diskTypes/hyperdisk-balanced' was not found", 404, _Z, "",
         "disk type", "vm.disk_type"),
    Case("notFound", f"The resource '{_IN_ZONE}' was not found", 404, _Z, "", "not open to the project"),
    Case("forbidden", f"Location {ZONE} is not found or access is unauthorized.", 403, _Z, "",
         "not open to the project"),
)  # fmt: skip

NETWORKS = (
    Case("IP_SPACE_EXHAUSTED",
         "IP space of 'projects/my-project/regions/us-central1/subnetworks/small' is exhausted.", None, _R, "p",
         "address left in subnetwork small", "vm.subnetwork"),
    Case("IP_SPACE_EXHAUSTED_WITH_DETAILS", "Insufficient free IP addresses in the IP range '10.0.1.0/24'.", None, _R,
         "p", "address left"),
    Case("RESOURCE_POOL_EXHAUSTED", "The global or regional externalIP resource pool is exhausted.", None, _R, "p",
         "external address", "vm.external_ip=false"),
    Case("notFound", "The resource 'projects/my-project/regions/us-central1/subnetworks/mine' was not found", 404, _R,
         "", "no subnetwork mine", "vm.subnetwork"),
    Case("invalid", _FIELD.format("resource.networkInterfaces[0].subnetwork",
         "projects/my-project/regions/us-central1/subnetworks/mine") +
         "The referenced subnetwork resource cannot be found.", 400, _R, "", "no subnetwork mine", "vm.subnetwork"),
    Case("invalid", _FIELD.format("resource.networkInterfaces[0].subnetwork", "regions/europe-west4/subnetworks/mine")
         + "Scope of the specified subnetwork doesn't match the scope of the instance.", 400, _R, "",
         "not where its subnetwork is", "vm.subnetwork"),
    Case("SUBNET_NOT_FOUND_FOR_VPC", "No subnet for the VPC", None, _R, "", "no subnetwork"),
    Case("forbidden", "Required 'compute.subnetworks.use' permission for"
         " 'projects/host/regions/us-central1/subnetworks/shared'", 403, _R, "", "may not use",
         "roles/compute.networkUser"),
    Case("conditionNotMet",
         f"Location ZONE:{ZONE} violates constraint constraints/gcp.resourceLocations on the resource"
         f" {_IN_ZONE}/instances/instance-3.", 412, _Z, "", "policy constraints/gcp.resourceLocations forbids it",
         "vm.regions"),
    Case("CONDITION_NOT_MET",
         "Location REGION:us-central1 violates constraint constraints/gcp.resourceLocations on the" " resource x",
         None, _R, "", "policy constraints/gcp.resourceLocations forbids it"),
)  # fmt: skip

QUOTAS = (
    Case("QUOTA_EXCEEDED", _OVER.format("NVIDIA_T4_GPUS", "1.0"), None, _R, "qpm",
         "quota NVIDIA_T4_GPUS is used up (limit 1)",
         "ask for more of NVIDIA_T4_GPUS in us-central1: https://console", _quota("nvidia_t4_gpus", 1.0,
         "us-central1")),
    Case("quotaExceeded", _OVER.format("CPUS", "24.0"), 403, _R, "qpm", "quota CPUS is used up (limit 24)"),
    Case("QUOTA_EXCEEDED", _OVER.format("NVIDIA_A100_GPUS", "0.0"), None, _R, "qm", "quota NVIDIA_A100_GPUS is 0"),
    Case("QUOTA_EXCEEDED", _OVER.format("PREEMPTIBLE_NVIDIA_T4_GPUS", "0.0"), None, _R, "qm",
         "quota PREEMPTIBLE_NVIDIA_T4_GPUS is 0", "vm.provisioning=standard"),
    Case("QUOTA_EXCEEDED", "Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: 1.0 globally.", None, _E, "qp",
         "quota GPUS_ALL_REGIONS is used up (limit 1)", "GPUS_ALL_REGIONS", _quota("gpus_all_regions", 1.0, None)),
    Case("QUOTA_EXCEEDED", "Quota 'CPUS_ALL_REGIONS' exceeded.  Limit: 12.0 globally.", None, _E, "qp",
         "CPUS_ALL_REGIONS"),
    Case("QUOTA_EXCEEDED", _OVER.format("IN_USE_ADDRESSES", "8.0"), None, _R, "qp",
         "quota IN_USE_ADDRESSES is used up", "vm.external_ip=false"),
    Case("QUOTA_EXCEEDED", _OVER.format("SSD_TOTAL_GB", "500.0"), None, _R, "qp", "(limit 500)", "vm.disk_gb"),
    Case("QUOTA_EXCEEDED", _OVER.format("DISKS_TOTAL_GB", "2048.0"), None, _R, "qp", "(limit 2048)", "vm.disk_gb"),
    Case("QUOTA_EXCEEDED",
         "Instance 'x' creation failed: Quota 'INSTANCES' exceeded.  Limit: 8.0 in zone us-central1-a", None, _Z,
         "qp", "quota INSTANCES"),
    Case("QUOTA_EXCEEDED", _OVER.format("GPUS_PER_GPU_FAMILY", "0.0"), None, _R, "qm",
         "quota GPUS_PER_GPU_FAMILY for NVIDIA_H100 is 0", "GPUS_PER_GPU_FAMILY for NVIDIA_H100",
         _quota("gpus_per_gpu_family", 0.0, "us-central1", gpu_family="NVIDIA_H100")),
    Case("QUOTA_EXCEEDED", "Quota exceeded.", None, _R, "qp", "quota SSD_TOTAL_GB is used up (limit 500)", "",
         _quota("ssd_total_storage", 500.0, "us-central1")),
    Case("QUOTA_EXCEEDED", "", None, _R, "qp", "a quota is used up", "ask for more of it"),
)  # fmt: skip

POLICIES = (
    Case("conditionNotMet",
         "Constraint constraints/compute.vmExternalIpAccess violated for project 123456789. Add instance"
         f" {_IN_ZONE}/instances/x to the constraint to use external IP with it.", 412, _Q, "",
         "policy constraints/compute.vmExternalIpAccess forbids it", "vm.external_ip=false"),
    Case("CONDITION_NOT_MET",
         "Instance 'x' creation failed: Constraint constraints/compute.vmExternalIpAccess violated for"
         " project 1234567890.", None, _Q, "", "vmExternalIpAccess", "vm.external_ip=false"),
    Case("CONDITION_NOT_MET",
         "Constraint constraints/compute.trustedImageProjects violated for project my-project. Use of"
         " images from project debian-cloud is prohibited.", None, _Q, "", "trustedImageProjects", "vm.image"),
    Case("conditionNotMet",
         "Constraint constraints/compute.requireShieldedVm violated for project projects/my-project. The"
         " boot disk's 'initialize_params.source_image' field specifies a non-Shielded image: x.", 412, _Q, "",
         "requireShieldedVm", "vm.image"),
    Case("conditionNotMet", "Constraint constraints/compute.restrictSharedVpcSubnetworks violated for project 1.",
         412, _Q, "", "restrictSharedVpcSubnetworks", "vm.subnetwork"),
    Case("conditionNotMet", "Constraint constraints/compute.requireOsLogin violated for project 1.", 412, _Q, "",
         "requireOsLogin", "enable-oslogin"),
    Case("conditionNotMet",
         'Operation denied by custom org policies: ["customConstraints/custom.onlyE2": "E2 only."]', 412, _Q, "",
         "policy customConstraints/custom.onlyE2 forbids it", "orgpolicies"),
    Case("conditionNotMet", "Constraint constraints/compute.somethingNew violated for project 1.", 412, _Q, "",
         "policy constraints/compute.somethingNew forbids it", "orgpolicies"),
    Case("CONDITION_NOT_MET", "It must not be.", None, _Q, "", "policy", "orgpolicies"),
)  # fmt: skip

RIGHTS = (
    Case("accessNotConfigured",
         "Access Not Configured. Compute Engine API has not been used in project my-project before or"
         " it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/", 403, _E, "",
         "API switched off",
         "https://console.cloud.google.com/apis/library/compute.googleapis.com?project=my-project"),
    Case("forbidden", "The service is off.", 403, _E, "", "API switched off", "enable the Compute Engine API",
         _reason("SERVICE_DISABLED", consumer="projects/my-project", service="compute.googleapis.com")),
    Case("inactiveBillingState",
         "Project my-project cannot accept requests to insert while in an inactive billing state."
         "  Billing state may take several minutes to update.", 403, _E, "", "no billing account", "linkedaccount"),
    Case("forbidden",
         "This API method requires billing to be enabled. Please enable billing on project #my-project by"
         " visiting https://console.developers.google.com/billing/enable?project=my-project then retry.", 403, _E, "",
         "no billing account", "linkedaccount?project=my-project"),
    Case("forbidden", "The billing is off.", 403, _E, "", "no billing account", "", _reason("BILLING_DISABLED")),
    Case("forbidden", "It is suspended.", 403, _E, "", "suspended", "", _reason("CONSUMER_SUSPENDED")),
    Case("forbidden", "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: x.", 403,
         _E, "", "VPC Service Controls"),
    Case("forbidden", f"Required 'compute.instances.create' permission for '{_IN_ZONE}/instances/x'", 403, _E, "",
         "does not give you compute.instances.create", "roles/compute.instanceAdmin.v1"),
    Case("forbidden",
         "Permission 'compute.disks.create' denied on resource 'projects/my-project' (or it may not exist).", 403, _E,
         "", "compute.disks.create", "roles/compute.instanceAdmin.v1"),
    Case("PERMISSIONS_ERROR", "Instance 'x' creation failed: Required 'compute.images.useReadOnly' permission for"
         " 'projects/other/global/images/theirs' (when acting as '1@cloudservices.gserviceaccount.com').", None, _E,
         "", "use the image", "roles/compute.imageUser"),
    Case("forbidden", "Required 'compute.instances.setServiceAccount' permission for 'x'", 403, _E, "",
         "service account", "roles/iam.serviceAccountUser"),
    Case("forbidden", "Forbidden", 403, _E, "", "make VMs", "roles/compute.instanceAdmin.v1"),
    Case("IAM_PERMISSION_DENIED", "", None, _E, "", "make VMs", "roles/"),
    Case("PERMISSION_DENIED", "Denied", None, _E, "", "make VMs", "roles/"),
    Case("SERVICE_ACCOUNT_ACCESS_DENIED", "The user does not have access to service account"
         " '1-compute@developer.gserviceaccount.com'.  User: 'a@b.org'.  Ask a project owner to grant you the"
         " iam.serviceAccountUser role on the service account", None, _E, "", "1-compute@developer",
         "roles/iam.serviceAccountUser"),
    Case("SERVICE_ACCOUNT_ACCESS_DENIED", "", None, _E, "", "service account", "roles/iam.serviceAccountUser"),
    Case("authError", "Invalid Credentials", 401, _E, "", "credentials", "gcloud auth application-default login"),
    Case("required", "Login Required.", 401, _E, "", "credentials", "gcloud auth application-default login"),
    Case("insufficientPermissions", "Request had insufficient authentication scopes.", 403, _E, "", "scopes",
         "cloud-platform"),
)  # fmt: skip

MISTAKES = (
    Case("notFound", "The resource 'projects/my-project/global/images/mine' was not found", 404, _Q, "", "image mine",
         "vm.image"),
    Case("invalid", _FIELD.format("resource.disks[0].initializeParams.sourceImage", "global/images/family/mine") +
         "The referenced image resource cannot be found.", 400, _Q, "", "image mine", "vm.image"),
    Case("RESOURCE_NOT_FOUND", "The resource 'projects/my-project/global/networks/lab' was not found", None, _Q, "",
         "network lab", "vm.network"),
    Case("invalid", _FIELD.format("resource.networkInterfaces[0].network", "global/networks/default") +
         "The referenced network resource cannot be found.", 400, _Q, "", "network default", "vm.network"),
    Case("NETWORK_NOT_FOUND", "Network 'lab' was not found in project 'my-project' in scope 'global'.", None, _Q, "",
         "network lab", "vm.network"),
    Case("VPC_NOT_FOUND", "No VPC with name lab is found.", None, _Q, "", "no such network", "vm.network"),
    Case("invalid",
         "Invalid value for field 'resource.networkInterfaces[0]': '{ \"network\": \"global/networks/x\"...'."
         " Subnetwork should be specified for custom subnetmode network", 400, _Q, "", "subnetworks", "vm.subnetwork"),
    Case("EXTERNAL_RESOURCE_NOT_FOUND",
         "The resource 'bot@my-project.iam.gserviceaccount.com' of type 'serviceAccount' was" " not found.", None, _Q,
         "", "bot@my-project", "vm.service_account"),
    Case("EXTERNAL_RESOURCE_NOT_FOUND", "", None, _Q, "", "does not find", "vm.service_account"),
    Case("notFound", "The resource 'projects/my-projekt' was not found", 404, _Q, "", "not found",
         "hydra.launcher.project"),
    Case("notFound", "The resource 'projects/cloud/global/licenses/x' was not found", 404, _Q, "", "license x",
         "vm.image"),
    Case("invalid", _FIELD.format("resource.disks[0].initializeParams.diskSizeGb", "20") +
         "Requested disk size cannot be smaller than the image size (50 GB)", 400, _Q, "", "50 GB", "vm.disk_gb"),
    Case("badRequest", "[nvidia-tesla-a100, n1-highmem-8] features are not compatible for creating instance.", 400,
         _Q, "", "nvidia-tesla-a100, n1-highmem-8", "vm.machine_type"),
    Case("INVALID_USAGE", "[pd-standard] features and [instance_type: VIRTUAL_MACHINE\nfamily: COMPUTE_OPTIMIZED\n]"
         " InstanceTaxonomies are not compatible for creating instance.", None, _Q, "", "pd-standard", "vm.disk_type"),
    Case("UNSUPPORTED_OPERATION", "pd-balanced disk type cannot be used by c4a-standard-8 machine type.", None, _Q,
         "", "c4a-standard-8 with pd-balanced", "vm.disk_type"),
    Case("badRequest",
         "The selected machine type (n2-highcpu-4) has a required CPU platform of cascadelake. The minimum CPU"
         " platform must match this, but was skylake.", 400, _Q, "", "CPU", "minCpuPlatform"),
    Case("invalid", _FIELD.format("resource.params.requestValidForDuration", "5s"), 400, _Q, "", "queue",
         "vm.queue_minutes"),
    Case("invalid", _FIELD.format("resource.scheduling.maxRunDuration", "9999999s"), 400, _Q, "", "life",
         "vm.max_run_hours"),
    Case("resourceInUseByAnotherResource", f"The disk resource '{_IN_ZONE}/disks/d' is already being used by"
         f" '{_IN_ZONE}/instances/i'", 400, _Q, "", "another VM", "vm.instance"),
    Case("invalid", _FIELD.format("resource.labels", "Ä") + "Label keys must match", 400, _Q, "",
         "field resource.labels", "hydra.launcher.vm.labels"),
    Case("required", "Required field 'resource.disks[0].type' not specified", 400, _Q, "", "misses field",
         "vm.instance"),
    Case("INVALID_FIELD_VALUE", "", None, _Q, "", "refuses the request", "vm.instance"),
    Case("badRequest", "Bad Request", 400, _Q, "", "refuses the request"),
    Case("notFound", "The resource 'projects/my-project/global/snapshots/s' was not found", 404, _Q, "",
         "does not find"),
)  # fmt: skip

PASSING = (
    Case("rateLimitExceeded", "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute' of service"
         " 'compute.googleapis.com' for consumer 'project_number:1'.", 403, _A, "p", "too many requests"),
    Case("rateLimitExceeded", "Rate Limit Exceeded", 429, _A, "p", "too many requests"),
    Case("userRateLimitExceeded", "User Rate Limit Exceeded", 403, _A, "p", "too many requests"),
    Case("quotaExceeded",
         "Quota exceeded for quota group 'ReadGroup' and limit 'Read requests per 100 seconds' of service"
         " 'compute.googleapis.com'", 403, _A, "p", "too many requests"),
    Case("forbidden", "Too fast.", 403, _A, "p", "too many requests", "", _reason("RATE_LIMIT_EXCEEDED")),
    Case("RATE_LIMIT_EXCEEDED", "", None, _A, "p", "too many requests"),
    Case("RESOURCE_OPERATION_RATE_EXCEEDED", "Operation rate exceeded", None, _A, "p", "too many requests"),
    Case("backendError", "Code: '5565A2157AA41.A2D664D.AD06091F'", 503, _A, "p", "Google's side"),
    Case("internalError", "Internal error", 500, _A, "p", "Google's side"),
    Case("INTERNAL_ERROR", "Internal error. Please try again or contact Google Support. (Code: '-42')", None, _A, "p",
         "Google's side"),
    Case("deadlineExceeded", "The request took too long.", 504, _A, "p", "too long"),
    Case("OPERATION_TIMEOUT", "The operation timed out.", None, _A, "p", "too long"),
    Case("resourceNotReady", "The resource 'projects/p/global/images/i' is not ready", 400, _A, "p", "not ready"),
    Case("RESOURCE_NOT_READY", "The resource 'projects/p/regions/r/subnetworks/s' is not ready", None, _A, "p",
         "not ready"),
    Case("RESOURCE_ALREADY_EXISTS", "The resource 'projects/p/zones/z/instances/i' already exists", None, _A, "p",
         "VM of this name"),
)  # fmt: skip

UNKNOWN = (
    Case("SOMETHING_NEW", "Nobody knows it. Nor this.", None, _Z, "m", "says SOMETHING_NEW: Nobody knows it"),
    Case("somethingNew", "Nobody {knows} it.", 400, _Q, "", "says somethingNew: Nobody (knows) it"),
    Case("somethingNew", "Nobody knows it.", 418, _Q, "", "Nobody knows it"),
    Case("somethingNew", "Slow down", 429, _A, "p", "Slow down"),
    Case("somethingNew", "Too late", 408, _A, "p", "Too late"),
    Case("somethingNew", "Nobody knows it.", 500, _A, "p", "Nobody knows it"),
    Case("somethingNew", "Nobody knows it.", 502, _A, "p", "Nobody knows it"),
    Case("somethingNew", "Nobody knows it.", 503, _A, "p", "Nobody knows it"),
)  # fmt: skip

KNOWN = (*STOCK, *RESERVED, *OFFERED, *NETWORKS, *QUOTAS, *POLICIES, *RIGHTS, *MISTAKES, *PASSING)
