"""Starting a guest: from the hypervisor's fork to the first process, with namespaces or without."""

from __future__ import annotations

import os
import signal
import socket
import sys

from hydra_gce.local.vm import init, kernel, layout, network, processes, proxy, root
from hydra_gce.local.vm.limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAMESPACES = (
    kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET | kernel.CLONE_NEWUTS | kernel.CLONE_NEWIPC
)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")


class Plan:
    """All that a boot needs: the machine's directory and spec, its image, this machine's way out, the metadata."""

    def __init__(
        self,
        directory: str,
        spec: dict[str, Any],
        image: dict[str, list[str]],
        host: dict[str, str],
        tree: dict[str, Any],
    ) -> None:
        self.directory, self.spec, self.image, self.host, self.tree = directory, spec, image, host, tree
        self.disk = f"{directory}/{layout.DISK}"

    def path(self) -> str:
        return ":".join([_PATH, *self.image["path"]])


class StartError(Exception):
    """The guest could not be started in this kind of isolation."""


class Started:
    """A guest that runs: the hypervisor's child, the guest's first process, the connection to it, and the sockets
    on which its metadata server, its proxy (none without namespaces) and its services are awaited."""

    def __init__(
        self,
        child: int,
        first: int,
        control: socket.socket,
        metadata: socket.socket,
        proxy_listener: socket.socket | None,
        services: list[socket.socket],
        environment: dict[str, str],
    ) -> None:
        self.child, self.first, self.control, self.metadata = child, first, control, metadata
        self.proxy, self.services, self.environment = proxy_listener, services, environment


def service_addresses(services: dict[str, str]) -> list[tuple[str, int]]:
    """Host and port of each service on this machine's loopback, which the guest is to reach at the same address."""
    found: dict[int, str] = {}
    for url in services.values():
        authority = url.partition("://")[2].partition("/")[0]
        host, _, port = authority.rpartition(":")
        if port.isdigit() and (host == "localhost" or host.startswith("127.")):
            found.setdefault(int(port), host)
    return [(host, port) for port, host in found.items()]


def start_in_namespaces(plan: Plan, limits: Limits, console: int) -> Started:
    """Starts the guest in mount, process, network, host name and IPC namespaces of its own."""
    environment = _environment(plan, home="/root", prefix="", temporary="/tmp", path=plan.path())
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        _contain(plan, limits, console, theirs, environment)
    theirs.close()
    descriptors: list[int] = []
    first, ready = 0, False
    while not (first and ready):
        message, received, _, _ = socket.recv_fds(ours, 4096, 64)
        descriptors += received
        word, _, rest = message.decode().strip().partition(" ")
        if word == "pid":
            first = int(rest)
        elif word == "ready":
            ready = True
        elif word != "sockets":
            ours.close()
            processes.end_descendants()
            raise StartError(rest or "the guest ended while it was being set up")
    metadata, proxy_listener, *services = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    environment.update(_way_out(proxy_listener.getsockname()[1]))
    return Started(child, first, ours, metadata, proxy_listener, services, environment)


def start_by_environment(plan: Plan, limits: Limits, console: int) -> Started:
    """Starts the guest as a plain process tree that finds its own directories by environment variables."""
    metadata = network.listen("127.0.0.1", 0)
    address = f"127.0.0.1:{metadata.getsockname()[1]}"
    disk = plan.disk
    environment = {
        **plan.host,
        **_environment(
            plan,
            home=f"{disk}/root",
            prefix=disk,
            temporary=f"{disk}/tmp",
            path=f"{disk}/usr/local/sbin:{disk}/usr/local/bin:{plan.path()}",
        ),
        "TMPDIR": f"{disk}/tmp",
        "GCE_METADATA_HOST": address,
        "GCE_METADATA_IP": address,
        processes.MARK: plan.directory,
    }
    root.prepare_boot(disk, f"{disk}/run/initctl")
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            kernel.adopt_orphans()
            kernel.die_with_parent(signal.SIGTERM)
            limits.join()
            _take_console(console, theirs)
            signal.signal(signal.SIGTERM, _end_all)
            guest = init.Guest(
                hostname=plan.spec["name"],
                environment=environment,
                tree=plan.tree,
                initctl=f"{disk}/run/initctl",
                temporary=f"{disk}/tmp",
                home=disk,
                grace_s=plan.spec["shutdown_grace_s"],
                namespaced=False,
                panics=plan.spec["panics"],
                disk_in_memory=False,
            )
            os._exit(init.run(guest, theirs))
        finally:
            _report()
    theirs.close()
    if not ours.recv(4096).startswith(b"ready"):
        raise StartError("the guest's first process ended at once; its serial console may say why")
    return Started(child, child, ours, metadata, None, [], environment)


def _contain(
    plan: Plan, limits: Limits, console: int, control: socket.socket, environment: dict[str, str]
) -> None:
    """In the hypervisor's child: makes the namespaces, starts the first process in them, and waits for its end."""
    hypervisor = os.getppid()
    code = 1
    try:
        limits.join()
        _take_console(console, control)
        _unshare()
        kernel.die_with_parent(signal.SIGKILL)
        if os.getppid() != hypervisor:
            os._exit(1)
        network.raise_loopback(layout.METADATA_ADDRESS)
        inside = _listeners(plan)
        environment.update(_way_out(inside[1].getsockname()[1]))
        socket.send_fds(control, [b"sockets"], [listener.fileno() for listener in inside])
        pid = os.fork()
        if pid == 0:
            _become_first(plan, control, environment)
        for listener in inside:
            listener.close()
        control.sendall(f"pid {pid}".encode())
        control.close()
        _, status = os.waitpid(pid, 0)
        code = 1 if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
    except OSError as error:
        control.sendall(f"error {error}".encode())
    finally:
        _report()
        os._exit(code)


def _become_first(plan: Plan, control: socket.socket, environment: dict[str, str]) -> None:
    code = 1
    try:
        kernel.die_with_parent(signal.SIGKILL)
        os.closerange(3, control.fileno())
        os.closerange(control.fileno() + 1, 1024)
        if plan.spec["disk_in_memory"]:
            root.hold_in_memory(plan.disk, plan.spec["memory_bytes"] // 2)
        root.prepare_boot(plan.disk, "/run/initctl")
        root.enter(plan.disk, plan.image)
        socket.sethostname(plan.spec["name"])
        guest = init.Guest(
            hostname=plan.spec["name"],
            environment=environment,
            tree=plan.tree,
            initctl="/run/initctl",
            temporary="/tmp",
            home="/",
            grace_s=plan.spec["shutdown_grace_s"],
            namespaced=True,
            panics=plan.spec["panics"],
            disk_in_memory=plan.spec["disk_in_memory"],
        )
        code = init.run(guest, control)
    except OSError as error:
        control.sendall(f"error {error}".encode())
    finally:
        _report()
        os._exit(code)


def _unshare() -> None:
    """Namespaces by root's right, or else inside a user namespace where this user is root."""
    try:
        kernel.unshare(_NAMESPACES)
    except PermissionError:
        user, group = os.geteuid(), os.getegid()
        kernel.unshare(kernel.CLONE_NEWUSER | _NAMESPACES)
        for file, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            with open(f"/proc/self/{file}", "w", encoding="ascii") as settings:
                settings.write(text)


def _listeners(plan: Plan) -> list[socket.socket]:
    services = [network.listen("127.0.0.1", port) for _, port in service_addresses(plan.spec["services"])]
    try:
        way_out = network.listen("127.0.0.1", proxy.PORT)
    except OSError:  # a service has that port
        way_out = network.listen("127.0.0.1", 0)
    return [network.listen(layout.METADATA_ADDRESS, 80), way_out, *services]


def _way_out(port: int) -> dict[str, str]:
    address = f"http://127.0.0.1:{port}"
    direct = f"{layout.METADATA_ADDRESS},metadata.google.internal,metadata,127.0.0.1,localhost,::1"
    return {
        "HTTP_PROXY": address,
        "HTTPS_PROXY": address,
        "NO_PROXY": direct,
        "http_proxy": address,
        "https_proxy": address,
        "no_proxy": direct,
    }


def _environment(plan: Plan, *, home: str, prefix: str, temporary: str, path: str) -> dict[str, str]:
    """The guest's environment, from scratch: nothing of this machine's but where its certificates lie."""
    return {
        **{name: plan.host[name] for name in _CERTIFICATES if name in plan.host},
        "PATH": path,
        "HOME": home,
        "USER": "root",
        "LOGNAME": "root",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "HYDRA_GCE_PREFIX": f"{prefix}/opt/hydra-gce",
        **plan.spec["services"],
    }


def _take_console(console: int, control: socket.socket) -> None:
    """The calling process keeps the console, the control connection, and nothing else of the hypervisor's."""
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(console, 1)
    os.dup2(console, 2)
    os.closerange(3, control.fileno())
    os.closerange(control.fileno() + 1, 1024)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _end_all(number: int, frame: object) -> None:
    processes.end_descendants()
    os._exit(1)


def _report() -> None:
    """An error that nobody expected: its traceback goes to the console, and the process ends."""
    if sys.exc_info()[0] is not None:
        sys.__excepthook__(
            *sys.exc_info()
        )  # written in C: nothing can be imported any more in the guest's root
        sys.stderr.flush()
        os._exit(1)
