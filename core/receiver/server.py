"""The receiver in a process of its own, until it is told to stop."""

import asyncio
import contextlib
import functools
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn

from prefect_ltx.archive import Archive
from prefect_ltx.fal import FalClient
from prefect_ltx.generation.services import Services, client_from
from prefect_ltx.ledger import AsyncLedger
from prefect_ltx.receiver.announcer import Announcer, Tell
from prefect_ltx.receiver.app import DEFAULT_MAX_BYTES, Receiver, build_app
from prefect_ltx.receiver.connections import Connections, ImpatientProtocol, places
from prefect_ltx.receiver.keys import FLOOR_SECONDS, KeyRing
from prefect_ltx.receiver.recorder import Recorder
from prefect_ltx.settings import Settings

BACKLOG: Final = 2048
_AT_ONCE: Final = 64
"""Connections that are accepted before those that they drive out are closed."""


async def serve(
    settings: Settings,
    tell: Tell,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    max_bytes: int = DEFAULT_MAX_BYTES,
    key_floor: float = FLOOR_SECONDS,
    again_after: float = 900.0,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; `on_ready` is told the URL once it listens.

    Args:
        settings: which fal, key and ledger.
        tell: what is called with each generation that ended.
        host: the address to listen on; TLS is a reverse proxy's work.
        port: 0 takes any free one.
        max_bytes: the largest body that is read.
        key_floor: the least seconds between two questions for fal's keys.
        again_after: seconds until a generation that nobody collected is told again.
        on_ready: called with `http://HOST:PORT`.

    Raises:
        SettingsError: no fal is configured.
        LedgerError: the ledger cannot be opened.
        OSError: the port is taken.
    """
    settings.require_fal()
    # fal waits 15 s for an answer: what is asked meanwhile has to come sooner.
    hosts = client_from(settings).hosts
    client = FalClient(settings.fal_key, hosts=hosts, timeout=4, read_attempts=2)
    ledger = await AsyncLedger.open(settings.ledger_url, lease_seconds=settings.lease_seconds)
    services = Services.of(settings, client, ledger, Archive(settings.archive_location), ())
    await services.begin()  # from here on the ledger takes deliveries about this account's rows only
    announcer = Announcer(ledger, tell, again_after=again_after)
    recorder = Recorder(ledger, announcer.recorded)

    async def fetch() -> list[dict[str, object]]:
        return await client.webhook_keys(refresh=True)

    receiver = Receiver(
        client,
        KeyRing(fetch, floor=key_floor),
        recorder,
        user_id=settings.fal_user_id,
        max_bytes=max_bytes,
        identify=services.begin,
    )
    app = build_app(receiver, recorder, announcer, on_close=services.aclose)
    with contextlib.closing(_listen(host, port)) as listener:
        url = _url(listener)
        server = _Server(
            uvicorn.Config(
                app,
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="warning",
                access_log=False,  # its lines would hold the path of every delivery
                proxy_headers=False,
                server_header=False,
                http=functools.partial(  # type: ignore[arg-type]  # a protocol's factory
                    ImpatientProtocol, places=Connections(places(), receiver.log)
                ),
                backlog=_AT_ONCE,
                timeout_keep_alive=60,  # ImpatientProtocol's limits end it earlier
                timeout_graceful_shutdown=15,
            ),
            None if on_ready is None else lambda: on_ready(url),
        )
        await server.serve([listener])
    if not server.started:
        raise RuntimeError("the receiver did not start")


class _Server(uvicorn.Server):
    """uvicorn, with word of when it listens."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            # asyncio accepts as many in one go as it lets queue; the queue itself may be longer.
            each.listen(BACKLOG)
        if self.started and self._on_ready is not None:
            self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise the signal again at the end, and a clean stop would look like a crash.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        self.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only then; without it every reply takes 40 ms more.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
