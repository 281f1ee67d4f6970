"""Where errors, their wording and their reach are known from, as far as more than one row names it."""

from __future__ import annotations

# Google's own list of reasons with HTTP status and wording.
CATALOG = "https://cloud.google.com/compute/docs/reference/rest/v1/errors"
STOCK = "https://cloud.google.com/compute/docs/troubleshooting/troubleshooting-resource-availability"
CREATION = "https://cloud.google.com/compute/docs/troubleshooting/troubleshooting-vm-creation"
BULK = "https://cloud.google.com/compute/docs/troubleshooting/troubleshooting-bulk-vm-creation"
RESERVATIONS = "https://cloud.google.com/compute/docs/instances/reservations-consume"
LOCATIONS = "https://cloud.google.com/resource-manager/docs/organization-policy/defining-locations"
POLICIES = "https://cloud.google.com/organization-policy/reference/org-policy-constraints"
ACCOUNTS = "https://cloud.google.com/compute/docs/access/create-enable-service-accounts-for-instances"
COMPUTE_SCHEMA = "googleapiclient/discovery_cache/documents/compute.v1.json"
# Reasons that any Google API has.
REASONS = "https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto"
CORE_ERRORS = "https://cloud.google.com/apis/design/errors"
GLOBAL_ERRORS = "https://cloud.google.com/resource-manager/docs/core_errors"
# What other provisioners learnt.
SKYPILOT = "github.com/skypilot-org/skypilot sky/backends/cloud_vm_ray_backend.py, _gcp_handler"
AUTOSCALER = "github.com/kubernetes/autoscaler cluster-autoscaler/cloudprovider/gce/autoscaling_gce_client.go"
TERRAFORM = "github.com/hashicorp/terraform-provider-google google/transport/error_retry_predicates.go"
