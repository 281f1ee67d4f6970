"""All that can be set under ``hydra.launcher``, with its meaning beside it.

Plain dataclasses, no checks: ``hydra_gce.validation`` reads them before anything is started. Annotations are types that
nobody need evaluate, and methods that nobody calls are not made.
"""

from dataclasses import dataclass, field
from typing import Any, cast


@dataclass(eq=False, repr=False, match_args=False)
class VM:
    """The machine that a point of the sweep gets."""

    # A GPU as people call it: T4, L4, A100, A100-80GB, H100, H200, B200, V100, P100, P4. null: CPU only.
    gpu: str | None = None
    # How many of them in one VM. null: one, or as many as the machine type brings.
    gpu_count: int | None = None
    # Any Compute Engine machine type, custom ones too. null: chosen for the GPU, e2-standard-2 without one.
    machine_type: str | None = None
    # standard | spot | spot_else_standard | flex_start | reservation. A spot VM costs a fraction and may be taken
    # back; its job goes on in another one. flex_start waits in Google's queue for capacity.
    provisioning: str = "standard"
    # Where it may go; wildcards allowed ("us-central1-*"). Both empty: wherever it is cheapest.
    zones: list[str] = field(default_factory=list)
    regions: list[str] = field(default_factory=list)
    # For how many minutes a flex_start request may wait in Google's queue, from 1.5 to 120.
    queue_minutes: float = 120.0
    # An image of the project's by name, a family as "project/family", or a full path ("projects/…/images/…").
    # null: Debian 12, or a Deep Learning VM image where there is a GPU.
    image: str | None = None
    # A container image ("python:3.11-slim", "us-docker.pkg.dev/…"): the program runs in it. The VM needs Docker.
    container: str | None = None
    # The boot disk. disk_type null: pd-balanced, or hyperdisk-balanced where the machine takes nothing else.
    disk_gb: int = 50
    disk_type: str | None = None
    # Local SSDs of 375 GB to attach, for machine types that take a choice of them; they are gone with the VM.
    local_ssds: int = 0
    # Network and subnetwork by name; null: "default".
    network: str | None = None
    subnetwork: str | None = None
    # false: no address on the internet; the VM then needs Cloud NAT for its packages.
    external_ip: bool = True
    # The account that the VM acts as. null: the project's default Compute Engine account.
    service_account: str | None = None
    # What that account may be used for, besides what its roles allow.
    scopes: list[str] = field(default_factory=lambda: ["https://www.googleapis.com/auth/cloud-platform"])
    # Network tags, labels and metadata to add.
    tags: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    # A reservation of yours to use, by name.
    reservation: str | None = None
    # Shielded VM: boot signed code only; a virtual trusted platform module; comparison with a known good boot.
    secure_boot: bool = False
    vtpm: bool = True
    integrity_monitoring: bool = True
    # Compute Engine deletes the VM after so many hours, whatever happens to us.
    max_run_hours: float = 24.0
    # Fields of Compute Engine's Instance in its own words (camelCase), laid over what the launcher asks for.
    instance: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False, repr=False, match_args=False)
class Env:
    """The Python environment on the VM."""

    # "3.11". null: that of the laptop.
    python: str | None = None
    # A requirements file, relative to the code's root. null: found (requirements.lock, uv.lock, requirements.txt,
    # pyproject.toml). "none": only what the launcher itself needs.
    requirements: str | None = None
    # Extras of the project to install.
    extras: list[str] = field(default_factory=list)
    # Debian packages, and shell commands run as root, before Python packages are installed.
    apt: list[str] = field(default_factory=list)
    setup: list[str] = field(default_factory=list)
    # Names of environment variables that are handed over as they are on the laptop; encrypted in the bucket.
    pass_variables: list[str] = field(default_factory=list)


@dataclass(eq=False, repr=False, match_args=False)
class Code:
    """What of the project goes along."""

    # null: the top of the git repository, or the program's directory without one.
    root: str | None = None
    # Patterns as in .gitignore: include wins over git's ignores, exclude wins over all.
    include: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)
    # A snapshot above this is an error that names its largest files.
    max_mb: int = 500


@dataclass(eq=False, repr=False, match_args=False)
class Tracking:
    """MLflow."""

    # How records get into the MLflow that MLFLOW_TRACKING_URI names here. relay: through the bucket, played in by the
    # launcher. direct: VMs talk to that server themselves, with the credentials of this shell. auto: direct where a
    # VM can reach it, else relay. none: nothing is recorded.
    mode: str = "auto"
    # With direct: programs write to their VM's disk, and the VM sends it on: a server that is down costs nothing but
    # delay.
    durable: bool = False
    # Experiment for programs that do not choose one. null: MLFLOW_EXPERIMENT_NAME, or MLflow's default.
    experiment: str | None = None
    # Records programs that never call MLflow, too: their config as params, what they return as metrics, and
    # their output directory and log as artifacts.
    capture: bool = False
    # MLflow's system metrics of the VM in each run that a program starts: processor, memory, disk, network, GPUs.
    system_metrics: bool = True


@dataclass(eq=False, repr=False, match_args=False)
class Settings:
    """``hydra.launcher.*``."""

    # auto: cloud where a project is given or found with Google's default credentials, local otherwise.
    # cloud: Compute Engine. local: the embedded Compute Engine, on this machine, free of charge.
    backend: str = "auto"
    # The Google Cloud project. null: GOOGLE_CLOUD_PROJECT, or that of the default credentials.
    project: str | None = None
    # The bucket that everything travels through. null: hydra-gce-<project>, made where it does not exist.
    bucket: str | None = None
    vm: VM = field(default_factory=VM)
    env: Env = field(default_factory=Env)
    code: Code = field(default_factory=Code)
    # Files and folders outside the code to send along; on the VM they lie at the same path.
    data: list[str] = field(default_factory=list)
    tracking: Tracking = field(default_factory=Tracking)
    # At most so many VMs at once. null: one for each point.
    max_vms: int | None = None
    # How long a VM that has run out of jobs waits for another before it deletes itself: one of this batch of points, or
    # of the sweeper's next. What waits costs as what works.
    keep_warm_s: float = 0.0
    # For how many minutes to go on asking where no place has a VM and none of the sweep's runs.
    wait_for_room_minutes: float = 10.0
    # No VM is started that could take the sweep past so many US dollars. null: no limit.
    budget_usd: float | None = None
    # wait: a VM counts with all that it can cost until its max_run_hours are over; jobs wait until that fits.
    # end: a VM counts with what it has cost; when the budget is reached, those that run save their work and end.
    on_budget: str = "wait"
    # How many hours a point is thought to take, for the estimate. null: the estimate is by the hour.
    expected_hours: float | None = None
    # Prints each request as it would be sent and the plan with its price, and starts nothing.
    dry_run: bool = False
    # How often a job is begun whose VM gets lost: hung, deleted, broken. A preemption does not count.
    max_attempts: int = 10
    # How often a job is begun again whose own program failed: an exception, an exit code, out of memory, a signal. It
    # goes on from what it saved in its output directory.
    retries: int = 0
    # When a job fails for good: continue with the others, or stop (cancel them).
    on_failure: str = "continue"
    # What a sweeper gets for a job that failed or was cancelled: error (the exception) or nan.
    failed_value: str = "error"
    # Seconds between SIGTERM and SIGKILL when a VM is taken back: the program's time to save.
    preempt_grace_s: float = 15.0
    # A VM that has not been heard of for so long is replaced.
    heartbeat_timeout_s: float = 180.0
    # A VM that has not started its agent after so long is replaced: it makes its Python environment in that time.
    boot_timeout_s: float = 1500.0
    # Points that an earlier sweep has completed with the same config, code and data are taken from there, the others
    # run as its jobs. null: the sweep that was launched in the same hydra.sweep.dir, if any. last, or a sweep's name:
    # that one. never: all points run.
    resume: str | None = None
    # Where the code or data changed since points were completed: ask, rerun (also where nobody can be asked), keep.
    on_changed: str = "ask"
    # false: print the sweep's name and leave as soon as each VM that there is room for is asked for. A process in the
    # background goes on watching; `hydra-gce attach` comes back.
    wait: bool = True
    # Ctrl-C or SIGTERM where nobody can be asked: cancel (all jobs) or detach (they go on).
    on_interrupt: str = "cancel"


@dataclass(eq=False, repr=False, match_args=False)
class GCELauncherConf(Settings):
    """What Hydra composes as ``hydra.launcher``."""

    _target_: str = "hydra_plugins.hydra_gce_launcher.launcher.GCELauncher"


def settings_from(values: Any) -> Settings:
    """``values``: a mapping or a config, nested as the fields are.

    :raises OmegaConfBaseException: there is no such field, or it cannot hold that.
    """
    from omegaconf import OmegaConf

    merged = OmegaConf.merge(OmegaConf.structured(Settings), OmegaConf.create(values))
    return cast(Settings, OmegaConf.to_object(merged))
