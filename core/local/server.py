"""Starting and stopping the embedded fal: `with LocalFal() as fal` in this process, or `serve` in one of
its own."""

import contextlib
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import uvicorn

from prefect_ltx.local import store as db
from prefect_ltx.local.app import build_app
from prefect_ltx.local.bill import Bill
from prefect_ltx.local.connection import ReachableProtocol
from prefect_ltx.local.faults import Faults
from prefect_ltx.local.opening import open_site
from prefect_ltx.local.renderer import Renderer
from prefect_ltx.local.requestlog import RequestLog
from prefect_ltx.local.site import Site

_START_SECONDS = 30
_GRACE_SECONDS = 2


class LocalFal:
    """The embedded fal in a thread of this process, for as long as the `with` block lasts.

    Args:
        port: 0 takes any free one.
        data: The folder that remembers everything; without one, a temporary folder that goes at the end.
        faults: What to do wrong from the start, see `prefect_ltx.local.faults`.
        render_seconds: How long each job takes besides rendering.
        renderer: None for ffmpeg, `stored-clip[:PATH]`, `module:object`, or a `Renderer`.
        key: The one key to accept; without it every well-formed key is, and none.
        concurrency: How many jobs run at once.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        data: Path | str | None = None,
        faults: Faults | Mapping[str, Any] | None = None,
        render_seconds: float = 0.0,
        renderer: str | Renderer | None = None,
        key: str | None = None,
        concurrency: int = 2,
        host: str = "127.0.0.1",
    ) -> None:
        """Nothing starts before `start` or `with`."""
        self.faults = faults if isinstance(faults, Faults) else Faults(faults)
        self.url = ""
        self._options = (host, port, render_seconds, renderer, key, concurrency)
        self._data = None if data is None else Path(data)
        self._running: _Running | None = None
        self._bill: Bill | None = None
        self._log = RequestLog()

    @property
    def bill(self) -> Bill:
        """What was charged; it stays readable after the `with` block."""
        if self._bill is None:
            raise RuntimeError("the embedded fal was not started")
        return self._bill

    @property
    def log(self) -> list[tuple[str, str, int]]:
        """(method, path, status) of every request so far; status 0 where no reply was begun."""
        return self._log.entries()

    @property
    def id(self) -> str:
        """By what a client knows this server: it stays with the data folder, whatever the port."""
        return self._site.id

    def headers_of(self, request_id: str) -> dict[str, str]:
        """The headers, in lower case, with which a request was sent; without the key."""
        return self._log.headers_of(request_id)

    def forget_uploads(self) -> int:
        """Delete every upload, as when its lifetime is over; gives how many. What jobs made stays."""
        return self._site.store.call_soon(db.forget_uploads)

    @property
    def data(self) -> Path:
        """The data folder in use."""
        return self._site.data

    @property
    def _site(self) -> Site:
        if self._running is None:
            raise RuntimeError("the embedded fal is not running")
        return self._running.site

    def start(self) -> Self:
        """Start serving; returns once it listens.

        Raises:
            StoreUnusable: the data folder cannot be used, or another server uses it.
            RendererUnusable: the renderer cannot be used.
            OSError: the port is taken.
        """
        host, port, render_seconds, renderer, key, concurrency = self._options
        with contextlib.ExitStack() as undo:
            folder = self._data
            if folder is None:
                temporary = tempfile.TemporaryDirectory(prefix="local-fal-", ignore_cleanup_errors=True)
                folder = Path(undo.enter_context(temporary))
            site = undo.enter_context(
                open_site(folder, self.faults, render_seconds, renderer, key, concurrency, self._log)
            )
            listener = undo.enter_context(contextlib.closing(_listen(host, port)))
            self.url = _url(listener)
            server = _Server(site)
            thread = threading.Thread(target=server.run, args=([listener],), name="local-fal", daemon=True)
            thread.start()
            self._bill = Bill(folder)
            self._running = _Running(site, server, thread, undo.pop_all())
        if not server.up.wait(_START_SECONDS) or not server.started:
            self.stop()
            raise RuntimeError("the embedded fal did not start")
        return self

    def stop(self) -> None:
        """Stop serving. What is unfinished stays in the data folder for the next start."""
        running, self._running = self._running, None
        if running is None:
            return
        running.server.should_exit = True
        running.thread.join()
        self.bill.freeze()
        running.undo.close()

    def __enter__(self) -> Self:
        """`start`."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """`stop`."""
        self.stop()

    def __repr__(self) -> str:
        """Where it listens."""
        return f"LocalFal({self.url or 'not started'})"


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    data: Path,
    faults_file: Path | None = None,
    render_seconds: float = 0.0,
    renderer: str | None = None,
    key: str | None = None,
    concurrency: int = 2,
) -> None:
    """Serve until SIGINT or SIGTERM; prints `ready http://HOST:PORT` and nothing else on standard output.

    Raises:
        StoreUnusable, RendererUnusable, OSError: as `LocalFal.start`.
        ValueError: the faults file is none.
    """
    faults = Faults.load(faults_file) if faults_file is not None else Faults()
    with (
        open_site(data, faults, render_seconds, renderer, key, concurrency, RequestLog()) as site,
        contextlib.closing(_listen(host, port)) as listener,
    ):
        url = _url(listener)
        server = _Server(site, on_ready=lambda: print(f"ready {url}", flush=True))
        with _ends_on_signal(server):
            server.run([listener])


class _Running:
    def __init__(
        self, site: Site, server: "_Server", thread: threading.Thread, undo: contextlib.ExitStack
    ) -> None:
        self.site = site
        self.server = server
        self.thread = thread
        self.undo = undo


class _Server(uvicorn.Server):
    """uvicorn, with word of when it listens, and with waits that end when it stops."""

    def __init__(self, site: Site, on_ready: Callable[[], None] | None = None) -> None:
        self._site = site
        self._app = build_app(site)
        self._on_ready = on_ready
        self.up = threading.Event()
        super().__init__(
            uvicorn.Config(
                self._app,
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
        try:
            super().run(sockets)
        finally:
            self.up.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.up.set()
            if self._on_ready is not None:
                self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._site.closing.set()
        self._app.state.jobs.wake()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # uvicorn would raise the signal again at the end, and a clean stop would look like a crash.
        yield


@contextlib.contextmanager
def _ends_on_signal(server: _Server) -> Generator[None, None, None]:
    def stop(_: int, __: FrameType | None) -> None:
        server.should_exit = True

    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(host: str, port: int) -> socket.socket:
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


def _url(listener: socket.socket) -> str:
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
