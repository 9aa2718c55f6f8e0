"""Which connections the receiver keeps: those that speak, and as many as it has places for.

A webhook's sender speaks at once. So the head of a request has seconds to come, the whole exchange has a limit too, and
where all places are taken the connection that has kept us waiting longest gives its place to the newcomer: idle ones,
half heads, half bodies and unread answers alike. A request that has come whole is never closed for another.

The framing of a request that two readers may understand differently is refused, before anything acts on it (RFC 9112
§6.1 and §6.3: a message with both Content-Length and Transfer-Encoding is how requests are smuggled).
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final, Literal

import h11
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from prefect_ltx.receiver.sparing_log import SparingLog

HEAD_SECONDS: Final = 5.0
"""From the connection's beginning, or the first byte of a further request, to the end of its head."""
IDLE_SECONDS: Final = 15.0
"""Between two requests on one connection."""
EXCHANGE_SECONDS: Final = 45.0
"""From the end of a head to the last byte of the answer; what we do in between takes less than 30 s."""
MOST_CONNECTIONS: Final = 4096
_RESERVED_FILES: Final = 256
"""Files that are not connections: the ledger, fal's, and those accepted before the oldest is closed."""

Phase = Literal["new", "idle", "head", "exchange"]
_LIMITS: Final[dict[Phase, float]] = {
    "new": HEAD_SECONDS,
    "idle": IDLE_SECONDS,
    "head": HEAD_SECONDS,
    "exchange": EXCHANGE_SECONDS,
}


def places() -> int:
    """How many connections this process can hold, after it has raised its own limit of open files as far as it may."""
    try:
        import resource
    except ImportError:
        return MOST_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MOST_CONNECTIONS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(16, min(MOST_CONNECTIONS, soft - _RESERVED_FILES))


class Connections:
    """All connections of one receiver, those that keep us waiting in the order in which they began to."""

    def __init__(self, most: int, log: SparingLog) -> None:
        """Hold at most `most`."""
        self._most, self.log = most, log
        self._open: set[ImpatientProtocol] = set()
        self._strangers: dict[ImpatientProtocol, None] = {}
        self._known: dict[ImpatientProtocol, None] = {}

    def opened(self, connection: "ImpatientProtocol") -> None:
        """Take a newcomer in; where all places are taken, somebody who waits for nothing goes."""
        self._open.add(connection)
        self.waits(connection)
        if len(self._open) > self._most:
            self.log.warning(
                "full",
                "All %s connections are taken: the one that has been silent longest is closed",
                self._most,
            )
            # Who has been answered before goes later; but half of the places are always for newcomers.
            crowd = (
                self._strangers if len(self._strangers) > self._most // 2 or not self._known else self._known
            )
            next(iter(crowd)).drop()

    def waits(self, connection: "ImpatientProtocol") -> None:
        """It is the sender's turn; keeps its place in the order where it was so already."""
        (self._known if connection.answered else self._strangers).setdefault(connection)

    def works(self, connection: "ImpatientProtocol") -> None:
        """It is our turn."""
        self._strangers.pop(connection, None)
        self._known.pop(connection, None)

    def closed(self, connection: "ImpatientProtocol") -> None:
        """It has ended; again has no effect."""
        self._open.discard(connection)
        self.works(connection)


class ImpatientProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with a limit on each phase of a connection."""

    def __init__(self, *arguments: Any, places: Connections, **named: Any) -> None:
        """`places` is shared by the connections of a server."""
        super().__init__(*arguments, **named)
        # uvicorn's own would write a line for each connection that does not speak HTTP.
        self.logger = places.log.logger
        self._places = places
        self.answered = False
        self._phase: Phase = "new"
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """asyncio."""
        super().connection_made(transport)
        self._enter("new")
        self._places.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio."""
        self._stop_timer()
        self._places.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """asyncio."""
        if self._phase == "idle":
            self._enter("head")
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """uvicorn."""
        self._places.works(self)
        self.answered = True
        self._phase = "idle"  # what follows may be a request that has come already
        super().on_response_complete()
        if not self.transport.is_closing() and self.cycle.response_complete:
            self._enter("idle")
        self._look()

    def send_400_response(self, msg: str) -> None:
        """uvicorn; what cannot be answered any more is closed."""
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            self.drop()

    def drop(self) -> None:
        """Close it now; what has not been sent is lost."""
        self._stop_timer()
        self._places.closed(self)
        if self.transport is not None:
            self.transport.abort()

    def pause_writing(self) -> None:
        """asyncio; the answer is not read: it is the sender who keeps us waiting."""
        super().pause_writing()
        self._places.waits(self)

    def _look(self) -> None:
        """Whose turn is it after what has just happened?"""
        if self.transport.is_closing():
            return
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy and self._phase != "exchange":
            self._enter("exchange")
        if busy and not self.cycle.more_body and not self.flow.write_paused:
            self._places.works(self)
        else:
            self._places.waits(self)

    def _enter(self, phase: Phase) -> None:
        self._stop_timer()
        self._phase = phase
        self._timer = self.loop.call_later(_LIMITS[phase], self.drop)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class UnambiguousFraming:
    """Refuses what two readers may frame differently, with 400 and the connection's end, on every route."""

    def __init__(self, app: ASGIApp, refused: Callable[[int, str], None]) -> None:
        """`refused` counts it."""
        self._app, self._refused = app, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and (why := _ambiguous(scope)):
            self._refused(400, why)
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 400, "headers": headers})
            await send({"type": "http.response.body", "body": why.encode()})
            return
        await self._app(scope, receive, send)


def _ambiguous(scope: Scope) -> str:
    names = [name.lower() for name, _ in scope["headers"]]
    if b"transfer-encoding" not in names:
        return "more than one Content-Length" if names.count(b"content-length") > 1 else ""
    if b"content-length" in names:
        return "both Content-Length and Transfer-Encoding"
    return "Transfer-Encoding in HTTP/1.0" if scope["http_version"] == "1.0" else ""
