"""The files of a VM's directory, shared by its client and its hypervisor."""

import os

SPEC = "spec.json"
METADATA = "metadata.json"
IMAGE = "image.json"
GUEST_ATTRIBUTES = "guest-attributes.json"
POWER_ON = "power-on.json"
STATE = "state.json"
EXIT = "exit.json"
LOCK = "lock"
CONTROL = "control"
SERIAL = "serial"
LOG = "hypervisor.log"
DISK = "disk"

METADATA_ADDRESS = "169.254.169.254"
"""Where every VM of Compute Engine finds its metadata server."""


def replace(path: str, content: bytes) -> None:
    """Writes a file so that a reader sees the old one or the new one, never a part."""
    part = f"{path}.{os.getpid()}.part"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
    os.replace(part, path)
