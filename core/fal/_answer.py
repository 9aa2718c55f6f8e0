"""One answer while it arrives: what has come so far is kept, because even a cut one may name a request."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from prefect_ltx.fal.clock import Stopwatch, asked_at
from prefect_ltx.fal.errors import FalError
from prefect_ltx.fal.reply import Reply
from prefect_ltx.runtime import THIS_MACHINE, Runtime

OnRequestId = Callable[[str], None]
"""Called with fal's id of a request as soon as an answer names it."""

_log = logging.getLogger(__name__)


class Answer:
    """What has arrived so far, kept outside the call so that a cut answer can still be read."""

    def __init__(self, on_request_id: OnRequestId | None = None, *, runtime: Runtime = THIS_MACHINE) -> None:
        """Nothing has arrived; the clocks are read."""
        self._runtime = runtime
        self.status = 0
        self.headers = httpx.Headers()
        self.body = bytearray()
        self._watched = self._left = False
        self.began = Stopwatch.read(runtime)
        self._answered = self.began
        self._on_request_id = on_request_id
        self._named = ""

    async def watch(self, event: str, info: Mapping[str, Any]) -> None:
        """httpcore's `trace` extension. Opening a tunnel through a proxy is a request as well (CONNECT), but none
        of ours: ours follows only once the tunnel is open."""
        self._watched = True
        if ".send_" in event and event.endswith(".started"):
            self._left = self._left or getattr(info.get("request"), "method", b"") != b"CONNECT"

    def surely_not_sent(self, error: Exception) -> bool:
        """Whether not a byte of the request's head was written. Where nothing could be watched, only errors from
        before any connection say so."""
        early = isinstance(error, FalError | httpx.PoolTimeout | httpx.InvalidURL | httpx.UnsupportedProtocol)
        return not self._left and not self.status and (self._watched or early)

    def head(self, response: httpx.Response) -> None:
        """The status line and the headers have come."""
        self._answered = Stopwatch.read(self._runtime)
        self.status, self.headers = response.status_code, response.headers
        self._name()

    def add(self, chunk: bytes) -> None:
        """More of the body has come."""
        self.body += chunk
        self._name()

    def reply(self, *, complete: bool) -> Reply:
        """What is known of it by now."""
        return _reply(self.status, self.headers, bytes(self.body), self.began, self._answered, complete)

    def _name(self) -> None:
        """Tell of the request id as soon as one can be read."""
        if self._on_request_id is None:
            return
        found = self.reply(complete=False).request_id
        if found is None or found == self._named:
            return
        self._named = found
        try:
            self._on_request_id(found)
        except Exception:
            # Where it cannot be kept, the answer is still to be read: the id is in the receipt or the error too.
            _log.exception("The id %s of an accepted request could not be kept", found)


def head_of(response: httpx.Response, began: Stopwatch, answered: Stopwatch) -> Reply:
    """The answer before any of its body is read."""
    return _reply(response.status_code, response.headers, b"", began, answered, False)


def _reply(
    status: int, headers: httpx.Headers, body: bytes, began: Stopwatch, answered: Stopwatch, complete: bool
) -> Reply:
    asked = asked_at(headers.get("date"), headers.get("age"), began, answered)
    return Reply(status, headers, body, complete, asked_at=asked, clocks=began)
