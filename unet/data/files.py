"""Files below a folder, on a disk or behind an address such as gs://, which TensorFlow reads."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

REMOTE_THREADS = 32
"""Requests under way at once: each waits for the network, not for the processor."""


class FileFacts(NamedTuple):
    """What tells whether a file is still the one that it was."""

    size: int
    mtime_ns: int


def is_remote(address: str) -> bool:
    """Whether only TensorFlow can open it."""
    return "://" in address


def join(folder: str, name: str) -> str:
    """The address of what is called `name` below `folder`."""
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else str(Path(folder) / name)


def absolute(address: str) -> str:
    """The same from every working directory."""
    return address if is_remote(address) else os.path.abspath(address)


def is_folder(address: str) -> bool:
    """Raises: OSError: it is behind a network that does not answer."""
    if not is_remote(address):
        return Path(address).is_dir()
    import tensorflow as tf

    try:  # isdir would say no where the network does not answer
        return bool(tf.io.gfile.stat(address.rstrip("/")).is_directory)
    except tf.errors.NotFoundError:
        return False
    except tf.errors.OpError as error:
        raise _plain(error) from None


def files_below(folder: str) -> Iterator[str]:
    """All files below a folder, as paths from there with `/`. Hidden ones are left out.

    Raises:
        OSError: a folder cannot be listed.
    """
    yield from _remote_files(folder) if is_remote(folder) else _local_files(folder)


def facts_of(addresses: Iterable[str]) -> list[FileFacts]:
    """Sizes and times, in the same order.

    Raises:
        OSError: one is not there any more, or may not be looked at.
    """
    addresses = list(addresses)
    if not any(map(is_remote, addresses)):
        stats = map(os.stat, addresses)
        return [FileFacts(found.st_size, found.st_mtime_ns) for found in stats]
    with ThreadPoolExecutor(REMOTE_THREADS) as pool:
        return list(pool.map(_remote_facts, addresses))


def read_bytes(address: str, offset: int = 0, count: int = -1) -> bytes:
    """The whole file, or `count` bytes of it.

    Raises:
        OSError: it cannot be read; says why, without the name.
    """
    if not is_remote(address):
        try:
            with open(address, "rb") as file:
                file.seek(offset)
                return file.read(count)
        except OSError as error:
            raise OSError(error.strerror or str(error)) from None
    import tensorflow as tf

    try:
        with tf.io.gfile.GFile(address, "rb") as file:
            file.seek(offset)
            return bytes(file.read(count))
    except tf.errors.OpError as error:
        raise _plain(error) from None


def _local_files(folder: str, below: str = "", seen: frozenset[str] = frozenset()) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in seen:  # a link to a folder above
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _local_files(entry.path, f"{below}{entry.name}/", seen | {real})
            else:
                yield below + entry.name


def _remote_files(folder: str, below: str = "") -> Iterator[str]:
    import tensorflow as tf

    try:
        for name in tf.io.gfile.listdir(folder):
            address = join(folder, name.rstrip("/"))
            if name.startswith("."):
                continue
            # Cloud Storage marks folders with a slash. Elsewhere it takes a question, for which a name with an
            # ending is not worth the time.
            if name.endswith("/") or ("." not in name and tf.io.gfile.isdir(address)):
                yield from _remote_files(address, f"{below}{name.rstrip('/')}/")
            else:
                yield below + name
    except tf.errors.OpError as error:
        raise _plain(error) from None


def _remote_facts(address: str) -> FileFacts:
    import tensorflow as tf

    try:
        found = tf.io.gfile.stat(address)
    except tf.errors.OpError as error:
        raise _plain(error) from None
    return FileFacts(int(found.length), int(found.mtime_nsec))


def _plain(error: Exception) -> OSError:
    """TensorFlow's error without its class and its stack."""
    message = str(getattr(error, "message", error)).strip().split("\n")[0]
    return OSError(message or "it is not there")
