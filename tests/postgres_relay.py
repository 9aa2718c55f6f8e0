"""A wire between a client and the tests' PostgreSQL that can be cut, held, or made to lose one reply."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


class Relay:
    """Listens on a port of this machine and carries bytes to the server's socket and back."""

    def __init__(self, server: Path) -> None:
        self.lose_commits = 0
        """How many COMMITs reach the server from now on without their reply coming back."""
        self.swallow_commits = 0
        """How many COMMITs from now on do not even reach the server."""
        self.silent = threading.Event()
        """While set, nothing is carried in either direction, and nothing is closed."""
        self.connections = 0
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._server))
            lost = threading.Event()
            for source, target, is_client in ((client, server, True), (server, client, False)):
                threading.Thread(
                    target=self._carry, args=(source, target, is_client, lost), daemon=True
                ).start()

    def _carry(
        self, source: socket.socket, target: socket.socket, is_client: bool, lost: threading.Event
    ) -> None:
        try:
            while data := source.recv(65536):
                while self.silent.is_set():
                    threading.Event().wait(0.05)
                if is_client and re.search(rb"COMMIT", data):
                    if self.swallow_commits:
                        self.swallow_commits -= 1
                        break
                    if self.lose_commits:
                        self.lose_commits -= 1
                        lost.set()
                if not is_client and lost.is_set():
                    break
                target.sendall(data)
        except OSError:
            pass
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        source.close()  # the other direction's thread closes the other one


@contextmanager
def relay_to(url: str) -> Iterator[tuple[Relay, str]]:
    """A relay in front of `postgresql://user@/database?host=/socket/folder&…`, and the URL through it."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    relay = Relay(Path(query["host"][0]) / ".s.PGSQL.5432")
    options = f"?options={query['options'][0]}" if "options" in query else ""
    user = parts.netloc.rpartition("@")[0]
    try:
        yield relay, f"postgresql://{user}@127.0.0.1:{relay.port}{parts.path}{options}"
    finally:
        relay.silent.clear()
        relay.close()
