"""HTTP with two manners: a call that may cost money is made once; a call that is free may be made again.

Whether the one POST left is not guessed from the error: httpcore says when it begins to write a request's head
(its `trace` extension), and before that not a byte of it has left this machine.

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

from prefect_ltx.fal._answer import Answer, OnRequestId, head_of
from prefect_ltx.fal.clock import FalClock, Heard, Stopwatch
from prefect_ltx.fal.environment import new_client, tls_context
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
from prefect_ltx.runtime import THIS_MACHINE, Runtime

T = TypeVar("T")
Content = bytes | Callable[[], AsyncIterator[bytes]] | None
"""A body, or what makes a fresh stream of it for every attempt."""

CONNECT_SECONDS: Final = 30.0
_MAX_BODY: Final = 512 * 1024 * 1024
SLOWEST: Final = 1024
"""Bytes per second that a transfer must reach on the average, once it has lasted `PATIENCE` seconds."""
PATIENCE: Final = 300.0
_LASTING: Final = httpx.Timeout(CONNECT_SECONDS, read=600.0)


class Transport:
    """The HTTP side of one `FalClient`."""

    def __init__(
        self,
        key: SecretStr | None,
        hosts: FalHosts,
        *,
        timeout: float,
        rule: RetryRule,
        runtime: Runtime = THIS_MACHINE,
        wire: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`timeout`: seconds for each wait for bytes of a free call; `wire`: in place of the network."""
        self.runtime = runtime
        self._wire = wire
        self.hosts = hosts
        self.rule = rule
        self.clock = FalClock(runtime)
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
        self,
        url: str,
        *,
        content: bytes,
        headers: Mapping[str, str],
        timeout: float,
        on_request_id: OnRequestId | None = None,
    ) -> Reply:
        """Exactly one POST: never repeated, never redirected. `timeout` is for the whole of it, in seconds.

        Raises:
            FalNotSent: not a byte of its head was written to a connection.
            FalSubmitUnknown: it left, and what came back is no answer or only part of one.
        """
        answer = Answer(on_request_id, runtime=self.runtime)
        waits = httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS))
        try:
            async with asyncio.timeout(timeout):
                await self._exchange(self._once_client(), "POST", url, headers, content, waits, answer)
        except Exception as error:
            if answer.surely_not_sent(error):
                raise _not_sent(url, error) from error
            # Whatever else went wrong, the request may have arrived: nothing narrower would be honest.
            partial = answer.reply(complete=False) if answer.status else None
            unknown = unknown_submit(f"the connection failed ({_named(error)})", partial)
            unknown.heard = Heard("between", partial.asked_at) if partial else Heard("nobody")
            raise unknown from error
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
        most: int = _MAX_BODY,
    ) -> T:
        """A call that costs nothing, repeated by the rule until `parse` accepts the answer of at most `most` bytes.

        Raises:
            FalError: what `parse` raised last, or FalUnavailable when there was no answer.
        """
        attempt = 0
        while True:
            attempt += 1
            reply: Reply | None = None
            try:
                reply = await self._attempt(self._free_client(), method, url, headers or {}, content, most)
                return self.judge(reply, parse)
            except FalError as error:
                wait = self.rule.wait(attempt, error, reply, uniform=self.runtime.random.uniform)
                if wait is None:
                    raise
            await asyncio.sleep(wait)

    def judge(self, reply: Reply, parse: Callable[[Reply], T]) -> T:
        """What `parse` makes of `reply`. Its error says who was heard, and fal's own answers set the clock."""
        try:
            value = parse(reply)
        except FalError as error:
            error.heard = reply.heard
            if reply.heard.by == "fal":
                self._hear(reply)
            raise
        self._hear(reply)
        return value

    @contextlib.asynccontextmanager
    async def stream(
        self, url: str, headers: Mapping[str, str], *, lasting: bool = False
    ) -> AsyncIterator[tuple[httpx.Response, Reply]]:
        """One GET whose body the caller reads as it comes, with its head as a `Reply` that has no body yet.

        A `lasting` one is on a connection of its own, takes no other call's place, and may be silent for long.

        Raises:
            FalProtocolError: `url` cannot be called. httpx's own errors pass through.
        """
        client = self._once_client() if lasting else self._free_client()
        timeout = _LASTING if lasting else self._timeout
        began = self._stopwatch()
        try:
            request = client.build_request("GET", url, headers=dict(headers), timeout=timeout)
            with without_queries_in_logs():
                response = await client.send(request, stream=True)
        except (httpx.InvalidURL, ValueError, OverflowError) as error:
            raise _uncallable(url) from error
        try:
            yield response, head_of(response, began, self._stopwatch())
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
        self,
        client: httpx.AsyncClient,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: Content,
        most: int = _MAX_BODY,
    ) -> Reply:
        answer = Answer(runtime=self.runtime)
        body = content() if callable(content) else content
        try:
            await self._exchange(client, method, url, headers, body, self._timeout, answer, most)
        except FalError:
            raise
        except (httpx.InvalidURL, ValueError, OverflowError) as error:
            raise _uncallable(url) from error
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            unavailable = FalUnavailable(f"No answer from {strip_url(url)}: {_named(error)}")
            unavailable.heard = Heard("nobody")
            raise unavailable from error
        return answer.reply(complete=True)

    async def _exchange(
        self,
        client: httpx.AsyncClient,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes] | None,
        timeout: httpx.Timeout,
        answer: Answer,
        most: int = _MAX_BODY,
    ) -> None:
        request = client.build_request(
            method,
            url,
            content=content,
            headers=dict(headers),
            timeout=timeout,
            extensions={"trace": answer.watch},
        )
        answer.began = self._stopwatch()
        with without_queries_in_logs():
            response = await client.send(request, stream=True)
        try:
            answer.head(response)
            clock = asyncio.get_running_loop().time
            began = clock()
            async for chunk in response.aiter_bytes():
                answer.add(chunk)
                if len(answer.body) > most:
                    raise FalProtocolError(f"The answer of {strip_url(url)} is far too large")
                lasted = clock() - began
                if lasted > PATIENCE and len(answer.body) < lasted * SLOWEST:
                    raise FalUnavailable(f"The answer of {strip_url(url)} hardly moves")
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

    def _hear(self, reply: Reply) -> None:
        if reply.clocks is not None:
            self.clock.hear(reply.asked_at, reply.clocks, self._stopwatch())

    def _stopwatch(self) -> Stopwatch:
        return Stopwatch.read(self.runtime)

    def _client(self, limits: httpx.Limits) -> httpx.AsyncClient:
        if self._wire is not None:
            return httpx.AsyncClient(transport=self._wire, timeout=self._timeout, follow_redirects=False)
        if self._tls is None:
            self._tls = tls_context()
        return new_client(self._tls, limits, self._timeout)


def _not_sent(url: str, error: Exception) -> FalNotSent:
    if isinstance(error, FalError):
        # It says more than that there was no connection, such as which setting is wrong.
        not_sent = FalNotSent(error.what, next_step=error.next_step)
    else:
        not_sent = FalNotSent(f"No connection to {strip_url(url)}: {_named(error)}")
    not_sent.heard = Heard("nobody")
    return not_sent


def _uncallable(url: str) -> FalProtocolError:
    return FalProtocolError(f"{strip_url(url)} is not a URL that can be called")


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
