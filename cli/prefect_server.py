"""A Prefect server of one's own: in its own folder, on a free port, gone when the block ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

QUIET_SECONDS = 120
"""How long a server that starts may neither write nor compute: a first start migrates its database, which takes 15 s on
two idle cores and minutes on busy ones."""


class PrefectServerError(Exception):
    """The Prefect server did not come up; the message has the end of its log."""


def without_prefect(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without Prefect's settings: no profile, database or key of the user's is used."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith("PREFECT_") or name.startswith("PREFECT_LTX_")
    }


@contextmanager
def prefect_server(home: Path, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """Start a Prefect server with PREFECT_HOME in `home`; gives the API's URL and always stops it again.

    `settings` are Prefect's own, by their names in the environment: another database than SQLite in `home`, say.

    Raises:
        PrefectServerError: it ended, or did not answer in time.
    """
    home.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    log = home / "server.log"
    environ = without_prefect(os.environ) | {
        "PREFECT_HOME": str(home),
        # `--port` alone leaves the UI calling port 4200.
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_UI_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        **(settings or {}),
    }
    with log.open("wb") as sink:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            # Prefect reads .env and prefect.toml in the working directory.
            cwd=home,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(server, f"{url}/health", log)
        yield url
    finally:
        _stop(server)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait(server: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    """Wait until it answers, as long as it gets on: its files grow, or it uses the processor."""
    seen, since = _signs(server.pid, log.parent), time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS:
        if server.poll() is not None:
            raise PrefectServerError(f"The Prefect server ended at its start. It said: {_tail(log)}")
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own loopback URL
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        if (now := _signs(server.pid, log.parent)) != seen:
            seen, since = now, time.monotonic()
    raise PrefectServerError(
        f"The Prefect server has not got on for {QUIET_SECONDS} s and does not answer. It said: {_tail(log)}"
    )


def _signs(pid: int, home: Path) -> tuple[int, int]:
    """What moves while a server starts: the bytes of its files, and, on Linux, its processor time."""
    size = 0
    for file in home.iterdir():
        with suppress(OSError):
            size += file.stat().st_size
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return size, int(fields[11]) + int(fields[12])
    except (OSError, IndexError, ValueError):
        return size, 0


def _stop(server: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGINT, signal.SIGKILL):
        if server.poll() is None:
            os.killpg(server.pid, number)
        try:
            server.wait(timeout=10)
            return
        except subprocess.TimeoutExpired:
            continue


def _tail(log: Path) -> str:
    """The end of a log in one line, without the banner that is drawn with letters."""
    lines = (line.strip() for line in log.read_text(errors="replace").split("\n"))
    words = [line for line in lines if re.search(r"[A-Za-z]{3,}", line)]
    return " / ".join(words)[-400:] or "nothing"
