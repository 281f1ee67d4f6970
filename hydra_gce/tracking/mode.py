"""Which way a sweep's MLflow records take: straight to the server, or through the bucket."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote, urlsplit

from hydra_gce.errors import ConfigError

URI = "MLFLOW_TRACKING_URI"
_USERNAME = "MLFLOW_TRACKING_USERNAME"
_PASSWORD = "MLFLOW_TRACKING_PASSWORD"
CREDENTIALS = (
    _USERNAME,
    _PASSWORD,
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_TRACKING_AUTH",
    "MLFLOW_WORKSPACE",
)
"""What MLflow's own client reads beside the address: https://mlflow.org/docs/latest/self-hosting/security/"""

_DIRECT = "hydra.launcher.tracking.mode=direct"
_OTHERWISE = "mode=relay carries the records through the bucket"


class Mode(str, Enum):
    """``RELAY``: programs on VMs write a journal, which is played into the store from here. ``DIRECT``: they talk to
    the server. ``DURABLE``: they write a journal, which their VM plays into the server. ``NONE``: nothing is recorded.
    """

    DIRECT = "direct"
    DURABLE = "durable"
    RELAY = "relay"
    NONE = "none"


@dataclass(frozen=True)
class Way:
    """``why`` is for the person: one line, empty where there is nothing to say. ``variables`` are for the programs."""

    mode: Mode
    why: str = ""
    variables: Mapping[str, str] | None = None


def choose(
    wanted: str,
    environ: Mapping[str, str],
    embedded: bool,
    durable: bool = False,
    addresses: Callable[[str], list[str]] | None = None,
) -> Way:
    """:param wanted: ``hydra.launcher.tracking.mode``.
    :param embedded: VMs are processes of this machine, which see of the world what VMs of a cloud would see.
    :param durable: a server that is down must not hold up or end a program.
    :param addresses: of a host's name; the system's resolver if None.
    :raises ConfigError: direct is wanted, and no VM can reach that store.
    """
    if wanted == "none":
        return Way(Mode.NONE)
    if wanted == "relay":
        return Way(Mode.RELAY)
    uri = environ.get(URI, "")
    straight = Mode.DURABLE if durable else Mode.DIRECT
    never, perhaps_not = _obstacles(uri, addresses or _resolve)
    if wanted == "direct":
        if never:
            raise ConfigError(f"hydra.launcher.tracking.mode=direct: {never}; {_OTHERWISE}.")
        return Way(straight, variables=_handed_over(environ))
    if never or perhaps_not or embedded:
        # A store of this machine is what most have, and needs no words.
        why = (
            f"MLflow: {perhaps_not}: records go through the bucket (if VMs reach it: {_DIRECT})"
            if perhaps_not
            else ""
        )
        return Way(Mode.RELAY, why)
    return Way(straight, f"MLflow: VMs log to {urlsplit(uri).hostname} themselves", _handed_over(environ))


def server_named(environ: Mapping[str, str]) -> str | None:
    """The tracking server that the environment names, without whoever logs in; None where it names a store of this
    machine, or none.
    """
    uri = environ.get(URI, "")
    if not uri.startswith(("http://", "https://")):
        return None
    address = urlsplit(uri)
    return address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()


def _handed_over(environ: Mapping[str, str]) -> dict[str, str]:
    """A user and a password within the address are handed over beside it, and win as they do there: MLflow prints the
    address into the program's log.
    """
    variables = {name: environ[name] for name in (URI, *CREDENTIALS) if environ.get(name)}
    address = urlsplit(variables[URI])
    if address.username and address.password:
        server = address.netloc.rpartition("@")[2]
        variables[URI] = address._replace(netloc=server).geturl()
        variables[_USERNAME] = unquote(address.username)
        variables[_PASSWORD] = unquote(address.password)
    return variables


def _obstacles(uri: str, addresses: Callable[[str], list[str]]) -> tuple[str, str]:
    """Why no VM can reach the store, and why it is likely that none can; half a sentence, or nothing."""
    if not uri:
        return f"{URI} is not set, so the store is one of this machine", ""
    if not uri.startswith(("http://", "https://")):
        return f"{URI} names no server ({uri.partition(':')[0]})", ""
    host = urlsplit(uri).hostname or ""
    found = [ipaddress.ip_address(address) for address in addresses(host)]
    if host.endswith("localhost") or any(address.is_loopback for address in found):
        return f"{host} is this machine itself", ""
    if not found:
        return "", f"{host} has no address here"
    private = next((address for address in found if not address.is_global), None)
    return "", f"{host} has an address of a private network ({private})" if private else ""


def _resolve(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(info[4][0]).partition("%")[0] for info in found]
