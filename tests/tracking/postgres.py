"""A PostgreSQL of the tests' own: a cluster in a directory, which is gone with it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from tests.patience import wait_until

PASSWORD = "pl/nted p@ss:word"


def programs() -> Path | None:
    """Where ``initdb`` and ``postgres`` are: on the path, or where Debian has them; None where they are not."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    debians = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return debians[-1].parent if debians else None


class Cluster:
    """Answers at an address of this machine, with a password. ``postgres`` never runs as root."""

    def __init__(self, programs: Path, directory: Path) -> None:
        self._programs = programs
        self._directory = directory
        self._owner = _somebody_else() if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._make()

    def uri(self, database: str) -> str:
        return f"postgresql://ada:{quote(PASSWORD, safe='')}@127.0.0.1:{self._port}/{database}"

    def create(self, database: str, like: str = "template1") -> str:
        """Its address; ``like`` is the database that it begins as a copy of."""
        engine = create_engine(self.uri("postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:  # CREATE DATABASE is no part of a transaction
            connection.execute(text(f'CREATE DATABASE "{database}" TEMPLATE "{like}"'))
        return self.uri(database)

    def start(self) -> None:
        # Nobody pulls the plug in a test.
        settings = (
            "fsync=off",
            "full_page_writes=off",
            "unix_socket_directories=",
            "listen_addresses=127.0.0.1",
        )
        command = [
            str(self._programs / "postgres"),
            "-D",
            str(self._directory / "data"),
            "-p",
            str(self._port),
        ]
        command += [word for setting in settings for word in ("-c", setting)]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._directory, user=self._owner
            )
        wait_until(self._answers, "PostgreSQL answers")

    def stop(self) -> None:
        """At once: who is connected is not waited for."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
            self._process = None

    def _make(self) -> None:
        words = self._directory / "password"
        words.write_text(PASSWORD)
        if self._owner is not None:
            for path in (self._directory, words):
                shutil.chown(path, self._owner)
        subprocess.run(
            [
                *(str(self._programs / "initdb"), "-D", str(self._directory / "data"), "--no-sync"),
                *("-U", "ada", "--auth=scram-sha-256", f"--pwfile={words}", "--encoding=UTF8"),
            ],
            check=True,
            capture_output=True,
            cwd=self._directory,
            user=self._owner,
        )

    def _answers(self) -> bool:
        try:
            create_engine(self.uri("postgres"), poolclass=NullPool).connect().close()
        except OperationalError:
            return False
        return True


def _somebody_else() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)
