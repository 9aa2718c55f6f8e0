"""HTTP with two manners: a call that may cost money is made once; a call that is free may be made again.

The key is added per request, only where `FalHosts.may_receive_key` allows it, and no redirect is followed
with it. The two httpx clients are made when first used, because each costs 45 ms.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final, TypeVar

import httpx
from pydantic import SecretStr

from prefect_ltx.fal.errors import (
    FalError,
    FalHostRefused,
    FalNotSent,
    FalProtocolError,
    FalRequestInvalid,
    FalUnavailable,
)
from prefect_ltx.fal.hosts import FalHosts
from prefect_ltx.fal.quiet import without_queries_in_logs
from prefect_ltx.fal.reply import Reply
from prefect_ltx.fal.retry import RetryRule
from prefect_ltx.fal.safe_text import strip_url
from prefect_ltx.fal.verdicts import unknown_submit

T = TypeVar("T")
Content = bytes | Callable[[], AsyncIterator[bytes]] | None
"""A body, or what makes a fresh stream of it for every attempt."""

CONNECT_SECONDS: Final = 30.0
_MAX_BODY: Final = 512 * 1024 * 1024

# These are raised before a connection exists, or by a proxy that refused to open one (CONNECT), so not a byte
# of the request has left. Read in httpcore 1.0.9: ConnectError and ConnectTimeout come from connect_tcp and
# start_tls only, ProxyError from the CONNECT or SOCKS handshake, PoolTimeout from waiting for a connection.
_NEVER_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
)


class Transport:
    """The HTTP side of one `FalClient`."""

    def __init__(self, key: SecretStr | None, hosts: FalHosts, *, timeout: float, rule: RetryRule) -> None:
        """`timeout`: seconds for each wait for bytes of a free call."""
        self.hosts = hosts
        self.rule = rule
        self._key = key
        self._timeout = httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tls: ssl.SSLContext | None = None
        self._free: httpx.AsyncClient | None = None
        self._once: httpx.AsyncClient | None = None

    def key_header(self, url: str) -> dict[str, str]:
        """The Authorization header for `url`; empty without a key.

        Raises:
            FalHostRefused: when `url` must not receive the key.
        """
        if not self.hosts.may_receive_key(url):
            raise FalHostRefused(
                f"{strip_url(url)} is not one of fal's hosts in use, so the key was not sent"
            )
        return {"Authorization": f"Key {self._key.get_secret_value()}"} if self._key else {}

    async def post_once(
        self, url: str, *, content: bytes, headers: Mapping[str, str], timeout: float
    ) -> Reply:
        """Exactly one POST: never repeated, never redirected. `timeout` is for the whole of it, in seconds.

        Raises:
            FalNotSent: no connection was made.
            FalSubmitUnknown: it left, and what came back is no answer or only part of one.
        """
        answer = _Answer()
        # A third: TCP and TLS then time out before the whole does, and it is clear that nothing was sent.
        waits = httpx.Timeout(timeout, connect=min(timeout / 3, CONNECT_SECONDS))
        try:
            async with asyncio.timeout(timeout):
                await self._exchange(self._once_client(), "POST", url, headers, content, waits, answer)
        except _NEVER_SENT as error:
            raise FalNotSent(f"No connection to {strip_url(url)}: {_named(error)}") from error
        except Exception as error:
            # Whatever else went wrong, the request may have arrived: nothing narrower would be honest.
            partial = answer.reply(complete=False) if answer.status else None
            raise unknown_submit(f"the connection failed ({_named(error)})", partial) from error
        return answer.reply(complete=True)

    async def write_free(
        self, method: str, url: str, *, headers: Mapping[str, str], content: Content = None
    ) -> Reply:
        """One attempt of a write that costs nothing, on a connection of its own: a cancel, an upload.

        Raises:
            FalUnavailable: there is no answer.
        """
        return await self._attempt(self._once_client(), method, url, headers, content)

    async def free(
        self,
        method: str,
        url: str,
        parse: Callable[[Reply], T],
        *,
        headers: Mapping[str, str] | None = None,
        content: Content = None,
    ) -> T:
        """A call that costs nothing, repeated by the rule until `parse` accepts the answer.

        Raises:
            FalError: what `parse` raised last, or FalUnavailable when there was no answer.
        """
        attempt = 0
        while True:
            attempt += 1
            reply: Reply | None = None
            try:
                reply = await self._attempt(self._free_client(), method, url, headers or {}, content)
                return parse(reply)
            except FalError as error:
                wait = self.rule.wait(attempt, error, reply)
                if wait is None:
                    raise
            await asyncio.sleep(wait)

    @contextlib.asynccontextmanager
    async def stream(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
        """One GET whose body the caller reads as it comes; httpx's own errors pass through."""
        client = self._free_client()
        request = client.build_request("GET", url, headers=dict(headers))
        with without_queries_in_logs():
            response = await client.send(request, stream=True)
        try:
            yield response
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close both clients. The transport can be used again afterwards."""
        clients = (self._free, self._once)
        self._free = self._once = None
        for client in clients:
            if client is not None:
                await client.aclose()

    async def _attempt(
        self, client: httpx.AsyncClient, method: str, url: str, headers: Mapping[str, str], content: Content
    ) -> Reply:
        answer = _Answer()
        body = content() if callable(content) else content
        try:
            await self._exchange(client, method, url, headers, body, self._timeout, answer)
        except httpx.InvalidURL:
            raise FalProtocolError(f"{strip_url(url)} is not a URL that can be called") from None
        except httpx.HTTPError as error:
            raise FalUnavailable(f"No answer from {strip_url(url)}: {_named(error)}") from error
        return answer.reply(complete=True)

    async def _exchange(
        self,
        client: httpx.AsyncClient,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes] | None,
        timeout: httpx.Timeout,
        answer: "_Answer",
    ) -> None:
        request = client.build_request(method, url, content=content, headers=dict(headers), timeout=timeout)
        with without_queries_in_logs():
            response = await client.send(request, stream=True)
        try:
            answer.status, answer.headers = response.status_code, response.headers
            async for chunk in response.aiter_bytes():
                answer.body += chunk
                if len(answer.body) > _MAX_BODY:
                    raise FalProtocolError(f"The answer of {strip_url(url)} is far too large")
        finally:
            await response.aclose()

    def _free_client(self) -> httpx.AsyncClient:
        self._follow_the_loop()
        if self._free is None:
            # Few are kept: httpcore asks the socket of every idle one, at every request and every answer.
            self._free = self._client(httpx.Limits(max_connections=32, max_keepalive_connections=6))
        return self._free

    def _once_client(self) -> httpx.AsyncClient:
        # No connection is kept, so none can be stale. (httpcore 1.0.9 would not repeat a request on a stale
        # one either: its pool goes round again on ConnectionNotAvailable only, which HTTP/1.1 raises before
        # the first byte is written. But the one POST would then be UNKNOWN for nothing.)
        self._follow_the_loop()
        if self._once is None:
            self._once = self._client(httpx.Limits(max_connections=None, max_keepalive_connections=0))
        return self._once

    def _follow_the_loop(self) -> None:
        # Connections belong to the event loop that opened them; Prefect runs more than one in a process.
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._free = self._once = None
            self._loop = loop

    def _client(self, limits: httpx.Limits) -> httpx.AsyncClient:
        # An AsyncClient's own transport is made with retries=0. A proxy from the environment is honoured, as
        # by the official client, but never for this machine's own addresses.
        if self._tls is None:
            self._tls = httpx.create_ssl_context()
        direct: dict[str, httpx.AsyncBaseTransport | None] = {
            f"all://{host}": None for host in ("localhost", "127.0.0.1", "[::1]")
        }
        return httpx.AsyncClient(
            verify=self._tls, limits=limits, timeout=self._timeout, mounts=direct, follow_redirects=False
        )


class _Answer:
    """What has arrived so far, kept outside the call so that a cut answer can still be read."""

    def __init__(self) -> None:
        self.status = 0
        self.headers = httpx.Headers()
        self.body = bytearray()

    def reply(self, *, complete: bool) -> Reply:
        return Reply(self.status, self.headers, bytes(self.body), complete)


def check_key(key: str | SecretStr | None) -> SecretStr | None:
    """`key` as a secret.

    Raises:
        FalRequestInvalid: when it is empty or cannot stand in a header; the message does not repeat it.
    """
    if key is None:
        return None
    text = key.get_secret_value() if isinstance(key, SecretStr) else key
    if not text.strip():
        raise FalRequestInvalid("The fal key is empty", next_step="Set FAL_KEY to '<key_id>:<key_secret>'")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise FalRequestInvalid(
            "The fal key has a space, a line break or another character that no key has",
            next_step="Set FAL_KEY to exactly '<key_id>:<key_secret>', without a line break at its end",
        )
    return SecretStr(text)


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
