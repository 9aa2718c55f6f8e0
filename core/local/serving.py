"""One uvicorn server over a site, and `serve`: the embedded fal in a process of its own."""

import contextlib
import functools
import os
import signal
import socket
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import FrameType

import uvicorn

from prefect_ltx.local.app import build_app
from prefect_ltx.local.callers import CallersMiddleware
from prefect_ltx.local.connection import ReachableProtocol
from prefect_ltx.local.faults import Faults
from prefect_ltx.local.opening import open_site
from prefect_ltx.local.outbound import Reach, outbound_client
from prefect_ltx.local.requestlog import RequestLog
from prefect_ltx.local.site import Site

_GRACE_SECONDS = 2


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    data: Path,
    faults_file: Path | None = None,
    render_seconds: float = 0.0,
    renderer: str | None = None,
    key: str | None = None,
    accounts: dict[str, str | None] | None = None,
    concurrency: int = 2,
    allow_hosts: Sequence[str] = (),
    allow_loopback: bool = False,
) -> None:
    """Serve until SIGINT or SIGTERM; prints `ready http://HOST:PORT` and nothing else on standard output.

    `allow_hosts` and `allow_loopback` are those of `LocalFal`.

    Raises:
        StoreUnusable, RendererUnusable, OSError: as `LocalFal.start`.
        ValueError: the faults file cannot be read.
    """
    faults = Faults.load(faults_file) if faults_file is not None else Faults()
    with (
        open_site(
            data,
            faults,
            render_seconds,
            renderer,
            key,
            concurrency,
            RequestLog(),
            accounts,
            outbound=functools.partial(outbound_client, Reach(allow_loopback=allow_loopback)),
        ) as site,
        contextlib.closing(listen(host, port)) as listener,
    ):
        url = url_of(listener)
        server = SiteServer(site, (host, *allow_hosts), on_ready=lambda: print(f"ready {url}", flush=True))
        with _ends_on_signal(server):
            server.run([listener])


class SiteServer(uvicorn.Server):
    """uvicorn, with word of when it listens, and with waits that end when it stops."""

    def __init__(self, site: Site, hosts: Sequence[str], on_ready: Callable[[], None] | None = None) -> None:
        """`hosts` are names that it answers to besides loopback and fal's own; `on_ready` is called once it listens.

        `up` is set then, or when it cannot.
        """
        self._site = site
        self._app = build_app(site)
        self._on_ready = on_ready
        self.up = threading.Event()
        super().__init__(
            uvicorn.Config(
                CallersMiddleware(self._app, hosts),
                http=ReachableProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,  # ours is fal's clock, see OriginMiddleware
                timeout_keep_alive=30,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn."""
        try:
            super().run(sockets)
        finally:
            self.up.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn."""
        await super().startup(sockets)
        if self.started:
            self.up.set()
            if self._on_ready is not None:
                self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn."""
        self._site.closing.set()
        self._app.state.jobs.wake()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """uvicorn."""
        # uvicorn would raise the signal again at the end, and a clean stop would look like a crash.
        yield


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes any free one.

    Raises:
        OSError: the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only then; without it every reply takes 40 ms more.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            # A server that was killed a moment ago has left connections; the port is free all the same.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


def url_of(listener: socket.socket) -> str:
    """The base URL of what listens here."""
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def _ends_on_signal(server: SiteServer) -> Generator[None, None, None]:
    def stop(_: int, __: FrameType | None) -> None:
        server.should_exit = True

    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
