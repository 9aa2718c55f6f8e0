"""Starting and stopping the embedded fal in this process: `with LocalFal() as fal`."""

import contextlib
import functools
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prefect_ltx.local import store as db
from prefect_ltx.local.bill import Bill
from prefect_ltx.local.faults import Faults
from prefect_ltx.local.opening import open_site
from prefect_ltx.local.outbound import Reach, outbound_client
from prefect_ltx.local.renderer import Renderer
from prefect_ltx.local.requestlog import RequestLog
from prefect_ltx.local.serving import SiteServer, listen, url_of
from prefect_ltx.local.site import Site

_START_SECONDS = 30
_LOOK_SECONDS = 0.02


class LocalFal:
    """The embedded fal in a thread of this process, for as long as the `with` block lasts.

    Args:
        port: 0 takes any free one.
        data: The folder that remembers everything; without one, a temporary folder that goes at the end.
        faults: What to do wrong from the start, see `prefect_ltx.local.faults`.
        render_seconds: How long each job takes besides rendering.
        renderer: None for ffmpeg, `stored-clip[:PATH]`, `module:object`, or a `Renderer`.
        key: The one key to accept; without it every well-formed key is, and none.
        accounts: Key id to account, where it is not the key's id: two keys of one account, as after a rotation.
            None is a revoked key. The attribute of this name may be changed while it runs.
        concurrency: How many jobs run at once.
        host: The address to listen on.
        allow_hosts: Names under which it answers, and whose pages may read it, besides loopback and fal's own.
        allow_loopback: Whether media and webhooks may be on this machine, other than its own files. Code that starts
            it in its own process has its media and receivers there; `prefect-ltx local-fal` calls none unless told to.
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
        accounts: Mapping[str, str | None] | None = None,
        concurrency: int = 2,
        host: str = "127.0.0.1",
        allow_hosts: Sequence[str] = (),
        allow_loopback: bool = True,
    ) -> None:
        """Nothing starts before `start` or `with`."""
        self.faults = faults if isinstance(faults, Faults) else Faults(faults)
        self.accounts: dict[str, str | None] = dict(accounts or {})
        self.url = ""
        self._options = (host, render_seconds, renderer, key, concurrency)
        self._hosts = (host, *allow_hosts)
        self._reach = Reach(allow_loopback=allow_loopback)
        self._port = port
        self._data = None if data is None else Path(data)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
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

    def wait_until_idle(self, seconds: float = 60.0) -> None:
        """Return once no request is queued or running.

        Raises:
            TimeoutError: some still are, after `seconds`.
        """
        until = time.monotonic() + seconds
        while unfinished := self._site.store.call_soon(db.unfinished):
            if time.monotonic() > until:
                raise TimeoutError(f"{len(unfinished)} requests are not done after {seconds:g} s")
            time.sleep(_LOOK_SECONDS)

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
        try:
            self._serve(self._port)
        except BaseException:
            self._drop_temporary()
            raise
        return self

    def stop(self) -> None:
        """Stop serving. What is unfinished stays in the data folder for the next start."""
        self._end()
        if self._bill is not None:
            self._bill.freeze()
        self._drop_temporary()

    def restart(self, *, port: int = 0) -> Self:
        """Stop, and serve again from the same data folder: on another port than before, or on `port`.

        What is switched on, the accounts and the log go on, and what was unfinished is taken up again.

        Raises:
            OSError: the port is taken; then it is stopped.
        """
        self._end()
        try:
            self._serve(port, but_not=self.url)
        except BaseException:
            self.stop()
            raise
        return self

    def _serve(self, port: int, *, but_not: str = "") -> None:
        host, render_seconds, renderer, key, concurrency = self._options
        if self._data is None and self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="local-fal-", ignore_cleanup_errors=True)
        folder = self._data or Path(self._temporary.name if self._temporary else "")
        with contextlib.ExitStack() as undo:
            site = undo.enter_context(
                open_site(
                    folder,
                    self.faults,
                    render_seconds,
                    renderer,
                    key,
                    concurrency,
                    self._log,
                    self.accounts,
                    outbound=functools.partial(outbound_client, self._reach),
                )
            )
            listener = undo.enter_context(contextlib.closing(listen(host, port)))
            if url_of(listener) == but_not and not port:
                # The first is still bound, so the second gets another port.
                listener = undo.enter_context(contextlib.closing(listen(host, port)))
            self.url = url_of(listener)
            server = SiteServer(site, self._hosts)
            thread = threading.Thread(target=server.run, args=([listener],), name="local-fal", daemon=True)
            thread.start()
            self._bill = Bill(folder)
            self._running = _Running(site, server, thread, undo.pop_all())
        if not server.up.wait(_START_SECONDS) or not server.started:
            self.stop()
            raise RuntimeError("the embedded fal did not start")

    def _end(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.server.should_exit = True
            running.thread.join()
            running.undo.close()

    def _drop_temporary(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

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


class _Running:
    def __init__(
        self, site: Site, server: SiteServer, thread: threading.Thread, undo: contextlib.ExitStack
    ) -> None:
        self.site = site
        self.server = server
        self.thread = thread
        self.undo = undo
