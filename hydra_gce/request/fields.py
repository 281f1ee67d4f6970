"""What of ``vm.*`` cannot be sent, whatever the machine: names, labels, metadata, accounts, times at odds.

Each finding is a sentence without ``hydra.launcher.``: the field, what is wrong, what to write instead.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from hydra_gce.labels import JOB_LABEL, SWEEP_LABEL
from hydra_gce.machines.images import NAME, PROJECT
from hydra_gce.machines.words import one_of
from hydra_gce.request.order import startup_script
from hydra_gce.request.overlay import RESERVED, wrong_fields
from hydra_gce.settings import VM

# https://docs.cloud.google.com/ai-hypercomputer/docs/create/create-vm: 90 seconds to two hours, for up to seven days.
QUEUE_MINUTES = (1.5, 120.0)
FLEX_START_HOURS = 7 * 24.0
# https://docs.cloud.google.com/ai-hypercomputer/docs/create/create-vm (MAX_RUN_DURATION)
FLEX_START_LEAST_HOURS = 1 / 6
# Compute Engine's own bounds of scheduling.maxRunDuration: 30 seconds to 120 days.
RUN_HOURS = (30 / 3600, 120 * 24)

MOST_LABELS = 64
MOST_TAGS = 64
MOST_METADATA_VALUE = 256 << 10
MOST_METADATA = 512 << 10
OURS_IN_METADATA = 4 << 10
"""More than what an order adds, besides the startup script, comes to."""

AUTH = "https://www.googleapis.com/auth/"
_ALL = f"{AUTH}cloud-platform"
_STORAGE = {f"{AUTH}devstorage.read_write", f"{AUTH}devstorage.full_control"}
_COMPUTE = f"{AUTH}compute"

_IS_NAME = re.compile(NAME)
_METADATA_KEY = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_EMAIL = re.compile(r"[^@\s/]+@[^@\s/]+\.[a-z]+")
_URL = r"(?:https://(?:www|compute)\.googleapis\.com/compute/(?:v1|beta|alpha)/)?"
_NETWORK = re.compile(rf"(?:{PROJECT}/)?{NAME}|{_URL}(?:projects/{PROJECT}/)?global/networks/{NAME}")
_SUBNETWORK = re.compile(
    rf"(?:{PROJECT}/)?{NAME}|{_URL}(?:projects/{PROJECT}/)?regions/[-a-z0-9]+/subnetworks/{NAME}"
)
_RESERVATION = re.compile(rf"{NAME}|projects/{PROJECT}/reservations/{NAME}")
# [registry[:port]/]path[:tag][@digest]: https://github.com/distribution/reference
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_CONTAINER = re.compile(
    rf"(?:(?:[a-zA-Z0-9][-a-zA-Z0-9]*)(?:\.[a-zA-Z0-9][-a-zA-Z0-9]*)*(?::[0-9]+)?/)?{_PART}(?:/{_PART})*"
    r"(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)


def wrong(vm: VM) -> Iterator[str]:
    yield from _times(vm)
    yield from _container(vm)
    yield from _places(vm)
    yield from _account(vm)
    yield from _tags(vm)
    yield from _labels(vm)
    yield from _metadata(vm)
    yield from _shielded(vm)
    yield from wrong_fields(vm.instance)


def _times(vm: VM) -> Iterator[str]:
    least, most = RUN_HOURS
    if not least <= vm.max_run_hours <= most:
        yield (
            f"vm.max_run_hours={vm.max_run_hours:g}: Compute Engine takes 30 seconds (0.0084) to 120 days (2880)."
            " Choose a time that no job needs, and that you would pay for."
        )
    elif vm.provisioning == "flex_start" and vm.max_run_hours > FLEX_START_HOURS:
        yield (
            f"vm.max_run_hours={vm.max_run_hours:g}: a flex_start VM runs for seven days at most. The nearest is"
            f" vm.max_run_hours={FLEX_START_HOURS:g}."
        )
    elif vm.provisioning == "flex_start" and vm.max_run_hours < FLEX_START_LEAST_HOURS:
        yield (
            f"vm.max_run_hours={vm.max_run_hours:g}: a flex_start VM is had for 10 minutes at least. The nearest is"
            " vm.max_run_hours=0.167."
        )
    shortest, longest = QUEUE_MINUTES
    if not shortest <= vm.queue_minutes <= longest:
        nearest = shortest if vm.queue_minutes < shortest else longest
        yield (
            f"vm.queue_minutes={vm.queue_minutes:g}: a flex_start request may wait {shortest:g} to {longest:g} minutes."
            f" The nearest is vm.queue_minutes={nearest:g}."
        )
    elif vm.provisioning != "flex_start" and vm.queue_minutes != VM.queue_minutes:
        yield (
            f"vm.queue_minutes={vm.queue_minutes:g}: only flex_start waits in a queue, and vm.provisioning is"
            f" {vm.provisioning}. Say vm.provisioning=flex_start, or leave vm.queue_minutes out"
            " (wait_for_room_minutes is how long the launcher goes on asking)."
        )


def _container(vm: VM) -> Iterator[str]:
    if vm.container is None or _CONTAINER.fullmatch(vm.container):
        return
    bare = re.sub(r"^\w+://", "", vm.container.strip())
    hint = next((f" Did you mean {one}?" for one in (bare, bare.lower()) if _CONTAINER.fullmatch(one)), "")
    yield (
        f"vm.container={vm.container}: no container image's name. Write [registry/]path[:tag], such as"
        f" python:3.11-slim or us-docker.pkg.dev/my-project/images/train:v1.{hint}"
    )


def _places(vm: VM) -> Iterator[str]:
    kinds = (
        (
            "network",
            vm.network,
            _NETWORK,
            "lab, host-project/lab, or projects/host-project/global/networks/lab",
        ),
        (
            "subnetwork",
            vm.subnetwork,
            _SUBNETWORK,
            "lab-west, host-project/lab-west, or projects/host-project/regions/us-west1/subnetworks/lab-west",
        ),
        ("reservation", vm.reservation, _RESERVATION, "mine, or projects/its-project/reservations/mine"),
    )
    for field, value, pattern, example in kinds:
        if value is not None and not pattern.fullmatch(value):
            yield f"vm.{field}={value}: no {field}'s name. Write {example}."


def _account(vm: VM) -> Iterator[str]:
    account = vm.service_account
    if account not in (None, "default") and not _EMAIL.fullmatch(account or ""):
        yield (
            f"vm.service_account={account}: no account's address. Write it whole"
            f" (trainer@my-project.iam.gserviceaccount.com), or null for the project's default account."
        )
    named = [scope for scope in vm.scopes if not scope.startswith(AUTH)]
    for scope in named:
        whole = f"{AUTH}{scope}" if re.fullmatch(r"[a-z.-]+", scope) else _ALL
        yield f"vm.scopes: '{scope}' is no scope of Google's. Write the whole address, such as {whole}."
    scopes = set(vm.scopes)
    if named or _ALL in scopes:
        return
    lacking = [
        name
        for name, has in (("devstorage.read_write", _STORAGE & scopes), ("compute", _COMPUTE in scopes))
        if not has
    ]
    if lacking:
        yield (
            f"vm.scopes: {one_of(lacking)} {'is' if len(lacking) == 1 else 'are'} missing: the VM reads and writes the"
            f" bucket, and deletes itself when it has no more to do. Add {one_of(AUTH + name for name in lacking)},"
            f" or say vm.scopes=[{_ALL}] and let the account's roles decide."
        )


def _tags(vm: VM) -> Iterator[str]:
    if len(vm.tags) > MOST_TAGS:
        yield f"vm.tags: a VM has {MOST_TAGS} network tags at most, not {len(vm.tags)}."
    for tag in vm.tags:
        if not _IS_NAME.fullmatch(tag):
            yield (
                f"vm.tags: '{tag}' is no network tag: a lowercase letter, then up to 62 lowercase letters, digits and"
                f" dashes, no dash at the end.{_did_you_mean(tag)}"
            )


def _labels(vm: VM) -> Iterator[str]:
    most = MOST_LABELS - len((SWEEP_LABEL, JOB_LABEL))
    if len(vm.labels) > most:
        yield f"vm.labels: a VM has {MOST_LABELS} labels at most; {most} of them are yours, not {len(vm.labels)}."
    for key, value in vm.labels.items():
        if key.startswith(RESERVED):
            yield f"vm.labels.{key}: labels that begin with {RESERVED} are the launcher's own. Choose another key."
        elif not (0 < len(key) <= 63 and _is_lower_letter(key[0]) and all(map(_in_label, key))):
            yield (
                f"vm.labels.{key}: a key is a lowercase letter, then up to 62 lowercase letters, digits, _ and -."
                f"{_did_you_mean(key)}"
            )
        if not (len(value) <= 63 and all(map(_in_label, value))):
            yield (
                f"vm.labels.{key}={value}: a value has up to 63 lowercase letters, digits, _ and -."
                f"{_did_you_mean(value)}"
            )


def _in_label(character: str) -> bool:
    """https://cloud.google.com/compute/docs/labeling-resources#requirements: letters of any script, but no capitals."""
    return character in "_-" or character.isdigit() or _is_lower_letter(character)


def _is_lower_letter(character: str) -> bool:
    return unicodedata.category(character) in ("Ll", "Lo")


def _metadata(vm: VM) -> Iterator[str]:
    """https://cloud.google.com/compute/docs/metadata/setting-custom-metadata#limitations"""
    for key, value in vm.metadata.items():
        if key.startswith(RESERVED):
            yield f"vm.metadata.{key}: keys that begin with {RESERVED} are the launcher's own. Choose another key."
        elif key == "startup-script":
            yield (
                "vm.metadata.startup-script: the launcher's own startup script brings up the job."
                " Commands to run before it go into env.setup, Debian packages into env.apt."
            )
        elif not _METADATA_KEY.fullmatch(key):
            yield f"vm.metadata.{key}: a key has up to 128 letters (a-z, A-Z), digits, _ and -."
        if len(value.encode()) > MOST_METADATA_VALUE:
            yield (
                f"vm.metadata.{key}: {len(value.encode()):,} bytes; a value has {MOST_METADATA_VALUE:,} at most."
                " Send a file with data=[…] instead."
            )
    left = MOST_METADATA - OURS_IN_METADATA - len(startup_script().encode())
    total = sum(len(key) + len(value.encode()) for key, value in vm.metadata.items())
    if total > left:
        yield (
            f"vm.metadata: {total:,} bytes in all; {left:,} are left beside the launcher's own."
            " Send a file with data=[…] instead."
        )


def _shielded(vm: VM) -> Iterator[str]:
    if vm.integrity_monitoring and not vm.vtpm:
        yield (
            "vm.vtpm=false: integrity monitoring compares what the virtual TPM has measured. Say"
            " vm.integrity_monitoring=false too, or leave vm.vtpm out."
        )
    gpu = vm.gpu or re.match(r"(?:a\d+x?|g[2-9])-", vm.machine_type or "")
    if vm.secure_boot and gpu and vm.image is None:
        # Learnt by others too: https://github.com/hail-is/hail/pull/15071
        yield (
            "vm.secure_boot=true: the default image for GPUs has an NVIDIA driver without a signature, and Secure Boot"
            " does not load it. Say vm.secure_boot=false, or vm.image=<an image whose driver is signed>."
        )


def _did_you_mean(text: str) -> str:
    """The nearest that is allowed both as a tag and in a label."""
    near = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].rstrip("-")
    near = re.sub(r"^[^a-z]+", "", near)
    return f" Did you mean {near}?" if near else ""
