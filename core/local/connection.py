"""Broken connections: a reset connection, silence, a body that ends too early (fal-protocol §8.2 lists
what clients make of them). ASGI has no word for these, so they act on the connection's transport."""

import asyncio
import socket
import struct
from asyncio import Transport
from typing import Any, cast

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_transports: dict[tuple[Any, Any], Transport] = {}
"""Open connections by their two ends: two servers in one process may see the same client port."""


class ReachableProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, with every open connection's transport to be found by its ends."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """asyncio."""
        super().connection_made(transport)
        _transports[self.client, self.server] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio."""
        _transports.pop((self.client, self.server), None)
        super().connection_lost(exc)


class ResetReply(Response):
    """No reply: the connection is reset (TCP RST), so the client cannot know whether the request was
    taken."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        transport = _transports[scope["client"], scope["server"]]
        reset_linger = struct.pack("ii", 1, 0)
        cast(socket.socket, transport.get_extra_info("socket")).setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, reset_linger
        )
        transport.abort()
        await _until_disconnect(receive)


class SilentReply(Response):
    """No reply for `seconds`, then a closed connection; ends earlier when the client hangs up or we stop."""

    def __init__(self, seconds: float, closing: asyncio.Event) -> None:
        """`closing` is set when the server stops."""
        super().__init__()
        self._seconds = seconds
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        waits = {asyncio.create_task(_until_disconnect(receive)), asyncio.create_task(self._closing.wait())}
        _, pending = await asyncio.wait(waits, timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await close_connection(scope, receive)


class CutReply(Response):
    """A reply whose Content-Length promises the whole body and whose connection closes half-way through
    it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        await close_connection(scope, receive)


async def close_connection(scope: Scope, receive: Receive) -> None:
    """Close the connection after what was written so far, though the reply is not complete."""
    if transport := _transports.get((scope["client"], scope["server"])):
        transport.close()
        await _until_disconnect(receive)


async def read_to_its_end(receive: Receive) -> None:
    """Read a request that nobody has read yet: a client that still writes would see another error, by chance."""
    while (message := await receive())["type"] == "http.request" and message.get("more_body"):
        pass


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
