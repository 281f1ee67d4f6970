"""The guest's network: its loopback, the addresses that answer there, and the way from there to this machine."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_SIOCSIFADDR = 0x8916
_SIOCSIFNETMASK = 0x891C
_IFF_UP = 0x1
_PIECE = 1 << 18


def raise_loopback(address: str) -> None:
    """Brings lo of the calling process's network namespace up and gives it this address as well."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        answer = fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sH22x", b"lo", 0))
        flags = struct.unpack("16sH22x", answer)[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))
        for request, value in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, "255.255.255.255")):
            parameters = struct.pack("16sHH4s16x", b"lo:0", socket.AF_INET, 0, socket.inet_aton(value))
            fcntl.ioctl(control, request, parameters)


def listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(128)
    return listener


def serve(listener: socket.socket, answer: Callable[[socket.socket], None], name: str) -> None:
    """Answers each connection in a thread of its own, in the background, as long as the process lives."""

    def connection(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):  # the other side went away, which ends a connection
            answer(client)

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=connection, args=(client,), name=name, daemon=True).start()

    threading.Thread(target=accept, name=name, daemon=True).start()


def forward(client: socket.socket, host: str, port: int) -> None:
    """Connects the guest's connection to an address of this machine until one side closes."""
    with socket.create_connection((host, port), timeout=30) as server:
        server.settimeout(None)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        join(client, server)


def join(client: socket.socket, server: socket.socket) -> None:
    """Carries bytes both ways until both directions have ended."""
    back = threading.Thread(target=_carry, args=(server, client), daemon=True)
    back.start()
    _carry(client, server)
    back.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(_PIECE):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, target):
            with contextlib.suppress(OSError):  # it is closed already
                end.shutdown(socket.SHUT_RDWR)
