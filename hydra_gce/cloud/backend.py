"""Which Compute Engine: Google's, or the embedded one. The only place that knows the difference.

A ``Backend`` is an address with credentials; everything else talks to it through ``google-cloud-compute`` and
``google-cloud-storage``.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra_gce.bucket import Bucket
from hydra_gce.errors import ConfigError, CredentialsError, CredentialsExpired, LocalEngineError
from hydra_gce.home import home

if TYPE_CHECKING:
    from google.cloud import compute_v1, storage

    from hydra_gce.cloud.rest import Rest

LOCAL_PROJECT = "hydra-gce-local"
COMPUTE = "https://compute.googleapis.com"
_CONNECTIONS = 80
BILLING = "https://cloudbilling.googleapis.com"
APIS = "https://{api}.googleapis.com"


@dataclass(frozen=True)
class Backend:
    """``kind`` is "cloud" or "local" and meant for the person's eyes. ``image`` is the image taken if none is named.

    ``billing_endpoint`` is where public prices are asked for; None where there are none. ``apis`` is where Google's
    smaller APIs are (`rest`), ``bucket_endpoint`` where buckets' settings are; None: where the objects are.
    """

    kind: str
    project: str
    compute_endpoint: str
    storage_endpoint: str | None
    credentials: Any
    image: str | None
    billing_endpoint: str | None = None
    apis: str = APIS
    bucket_endpoint: str | None = None

    @cached_property
    def buckets(self) -> storage.Client:
        """For buckets as resources: their place, their settings, who may use them. `storage` is for what is in them."""
        from google.cloud import storage

        if self.bucket_endpoint is None:
            return self.storage
        options = {"api_endpoint": self.bucket_endpoint}
        return storage.Client(project=self.project, credentials=self.credentials, client_options=options)

    @cached_property
    def storage(self) -> storage.Client:
        from google.cloud import storage

        options = {"api_endpoint": self.storage_endpoint} if self.storage_endpoint else None
        return storage.Client(project=self.project, credentials=self.credentials, client_options=options)

    def rest(self, api: str, *, counted: bool = True) -> Rest:
        """One of Google's smaller APIs by its name: "iam", "serviceusage", "cloudresourcemanager", ...

        :param counted: a person's requests are counted on the project's quotas; without it on those of his login.
        """
        from hydra_gce.cloud.rest import Rest

        return Rest(self.apis.format(api=api), self.credentials, self.project if counted else None)

    def _compute(self, client: str) -> Any:
        from google.cloud import compute_v1
        from requests.adapters import HTTPAdapter

        options = {"api_endpoint": self.compute_endpoint}
        made = getattr(compute_v1, client)(credentials=self.credentials, client_options=options)
        # The session keeps ten connections, and many threads ask: each further one would be made anew, with a warning.
        session = made.transport._session
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))
        return made

    @cached_property
    def instances(self) -> compute_v1.InstancesClient:
        return self._compute("InstancesClient")  # type: ignore[no-any-return]

    @cached_property
    def instance_templates(self) -> compute_v1.InstanceTemplatesClient:
        return self._compute("InstanceTemplatesClient")  # type: ignore[no-any-return]

    @cached_property
    def zone_operations(self) -> compute_v1.ZoneOperationsClient:
        return self._compute("ZoneOperationsClient")  # type: ignore[no-any-return]

    @cached_property
    def regions(self) -> compute_v1.RegionsClient:
        return self._compute("RegionsClient")  # type: ignore[no-any-return]

    @cached_property
    def zones(self) -> compute_v1.ZonesClient:
        return self._compute("ZonesClient")  # type: ignore[no-any-return]

    @cached_property
    def projects(self) -> compute_v1.ProjectsClient:
        return self._compute("ProjectsClient")  # type: ignore[no-any-return]

    @cached_property
    def disks(self) -> compute_v1.DisksClient:
        return self._compute("DisksClient")  # type: ignore[no-any-return]

    @cached_property
    def addresses(self) -> compute_v1.AddressesClient:
        return self._compute("AddressesClient")  # type: ignore[no-any-return]

    @cached_property
    def global_addresses(self) -> compute_v1.GlobalAddressesClient:
        return self._compute("GlobalAddressesClient")  # type: ignore[no-any-return]

    @cached_property
    def global_operations(self) -> compute_v1.GlobalOperationsClient:
        return self._compute("GlobalOperationsClient")  # type: ignore[no-any-return]

    @cached_property
    def images(self) -> compute_v1.ImagesClient:
        return self._compute("ImagesClient")  # type: ignore[no-any-return]

    @cached_property
    def machine_types(self) -> compute_v1.MachineTypesClient:
        return self._compute("MachineTypesClient")  # type: ignore[no-any-return]

    @cached_property
    def accelerator_types(self) -> compute_v1.AcceleratorTypesClient:
        return self._compute("AcceleratorTypesClient")  # type: ignore[no-any-return]

    @cached_property
    def firewalls(self) -> compute_v1.FirewallsClient:
        return self._compute("FirewallsClient")  # type: ignore[no-any-return]

    @cached_property
    def networks(self) -> compute_v1.NetworksClient:
        return self._compute("NetworksClient")  # type: ignore[no-any-return]

    @cached_property
    def subnetworks(self) -> compute_v1.SubnetworksClient:
        return self._compute("SubnetworksClient")  # type: ignore[no-any-return]

    @cached_property
    def routers(self) -> compute_v1.RoutersClient:
        return self._compute("RoutersClient")  # type: ignore[no-any-return]

    @cached_property
    def region_operations(self) -> compute_v1.RegionOperationsClient:
        return self._compute("RegionOperationsClient")  # type: ignore[no-any-return]

    def shell(self, instance: str, zone: str, address: bool, command: Sequence[str] = ()) -> list[str]:
        """What opens a shell in a VM, or runs a command there.

        :param address: whether it has one that can be reached from outside; else the way is through IAP.
        """
        if self.kind == "local":
            return [
                sys.executable,
                "-m",
                "hydra_gce.local",
                "shell",
                instance,
                *(["--", *command] if command else []),
            ]
        words = ["gcloud", "compute", "ssh", instance, f"--zone={zone}", f"--project={self.project}"]
        words += [] if address else ["--tunnel-through-iap"]
        return [*words, f"--command={shlex.join(command)}"] if command else words

    def console_page(self, instance: str, zone: str) -> str | None:
        """Google's page of a VM; None where there is none."""
        if self.kind == "local":
            return None
        return f"https://console.cloud.google.com/compute/instancesDetail/zones/{zone}/instances/{instance}?project={self.project}"

    def bucket_page(self, bucket: str, prefix: str) -> str | None:
        """Google's page of what lies below a prefix; None where there is none."""
        if self.kind == "local":
            return None
        return f"https://console.cloud.google.com/storage/browser/{bucket}/{prefix}?project={self.project}"

    @property
    def default_bucket(self) -> str:
        return f"hydra-gce-{self.project}"

    def bucket(self, name: str | None) -> Bucket:
        """The sweep's bucket, made where it does not exist.

        :raises ConfigError: its name is somebody else's.
        :raises CredentialsExpired: nobody is let in with these credentials.
        """
        from google.api_core.exceptions import Conflict, Forbidden, NotFound, Unauthorized
        from google.auth.exceptions import RefreshError

        wanted = name or self.default_bucket
        try:
            try:
                found = self.storage.get_bucket(wanted)
            except NotFound:
                found = self._make_bucket(wanted)
        except (RefreshError, Unauthorized) as error:
            raise CredentialsExpired.of(error) from error
        except (Forbidden, Conflict) as error:
            raise ConfigError(
                f"hydra.launcher.bucket: gs://{wanted} belongs to somebody else, or project {self.project} may not"
                f" read it ({error.message}). Name a bucket of your own: hydra.launcher.bucket=<name>"
            ) from error
        return Bucket(found)

    def _make_bucket(self, name: str) -> Any:
        from google.api_core.exceptions import BadRequest, Conflict

        try:
            return self.storage.create_bucket(name)
        except Conflict:
            return self.storage.get_bucket(name)  # another launch was quicker; or not ours: Forbidden
        except BadRequest as error:
            raise ConfigError(
                f"hydra.launcher.bucket: {name!r} is no bucket name ({error.message})"
            ) from error


def connect(kind: str, project: str | None, environ: Mapping[str, str] = os.environ) -> Backend:
    """The backend that ``hydra.launcher.backend`` and ``hydra.launcher.project`` ask for.

    :raises CredentialsError: the cloud is asked for, and there are no credentials or no project.
    :raises LocalEngineError: the embedded Compute Engine did not start.
    """
    if kind_of(kind, project, environ) == "local":
        return _local(environ)
    return _cloud(_named(project, environ))


def kind_of(kind: str, project: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """Which of "cloud" and "local" `connect` takes; nothing is started and no network asked."""
    named = _named(project, environ)
    if kind == "auto":
        nothing_found = not named and not _has_credentials(environ)
        return "local" if named == LOCAL_PROJECT or nothing_found else "cloud"
    return kind


def local_is_empty(kind: str, project: str | None, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether `connect` would start an embedded Compute Engine that has never run: nothing lies in it."""
    return kind_of(kind, project, environ) == "local" and not (home() / "local").exists()


def _named(project: str | None, environ: Mapping[str, str]) -> str | None:
    return project or environ.get("GOOGLE_CLOUD_PROJECT") or environ.get("CLOUDSDK_CORE_PROJECT")


def _has_credentials(environ: Mapping[str, str]) -> bool:
    """Whether Google's default credentials would find something, without asking the network as they do."""
    if environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return True
    config = environ.get("CLOUDSDK_CONFIG") or os.path.join(os.path.expanduser("~"), ".config", "gcloud")
    if (Path(config) / "application_default_credentials.json").exists():
        return True
    # On a Compute Engine VM the metadata server has credentials.
    product = Path("/sys/class/dmi/id/product_name")
    return product.exists() and product.read_text().strip() in ("Google", "Google Compute Engine")


def _cloud(project: str | None) -> Backend:
    from google.auth.exceptions import DefaultCredentialsError

    from hydra_gce.cloud import credentials as defaults

    try:
        credentials, found = defaults.found()
    except DefaultCredentialsError as error:
        raise CredentialsError(
            "hydra.launcher.backend: Google Cloud needs credentials and there are none that work here"
            f" ({str(error).splitlines()[0]}). Run: gcloud auth application-default login."
            " Or try it without an account: hydra.launcher.backend=local"
        ) from error
    if not (project or found):
        raise CredentialsError(
            "hydra.launcher.project: there are credentials, but no project. Set hydra.launcher.project=<project id>,"
            " or GOOGLE_CLOUD_PROJECT, or run: gcloud config set project <project id>"
        )
    return Backend(
        "cloud",
        str(project or found),
        COMPUTE,
        None,
        defaults.Lasting(credentials),
        image=None,
        billing_endpoint=BILLING,
    )


def _local(environ: Mapping[str, str]) -> Backend:
    from google.auth.credentials import AnonymousCredentials

    service = ensure_local(environ)
    return Backend(
        kind="local",
        project=service["project"],
        compute_endpoint=service["compute"],
        storage_endpoint=service["storage"],
        credentials=AnonymousCredentials(),
        image=service["image"],
        apis=f"{service['compute']}/{{api}}",
        bucket_endpoint=service["compute"],
    )


def ensure_local(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Starts the embedded Compute Engine unless it runs; its addresses, and the image that carries this Python."""
    command = [sys.executable, "-m", "hydra_gce.local", "ensure", "--python", sys.executable]
    done = subprocess.run(
        command, capture_output=True, text=True, env=dict(environ), timeout=120, check=False
    )
    if done.returncode != 0:
        raise LocalEngineError(
            f"The embedded Compute Engine did not start: {done.stderr.strip() or done.stdout.strip()}"
        )
    service: dict[str, str] = json.loads(done.stdout.strip().splitlines()[-1])
    return service
