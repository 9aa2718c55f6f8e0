"""Submit, status, result, cancel, synchronous run: the calls about one generation (fal-protocol §1)."""

import json
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import replace
from typing import Final, NoReturn
from urllib.parse import urlencode

import httpx

from prefect_ltx.fal._answer import OnRequestId
from prefect_ltx.fal.addresses import RequestUrls, endpoint_path
from prefect_ltx.fal.clock import Heard
from prefect_ltx.fal.errors import (
    FalError,
    FalNotFound,
    FalRequestInvalid,
    FalResultNotReady,
    FalUnavailable,
)
from prefect_ltx.fal.reply import Reply
from prefect_ltx.fal.transport import Transport
from prefect_ltx.fal.verdicts import (
    ResultDoubtful,
    cancel_outcome,
    generation_result,
    queue_status,
    refusal,
    run_result,
    submitted_id,
)
from prefect_ltx.fal.wire import CancelOutcome, GenerationResult, QueueStatus, SubmitReceipt

MIN_START_TIMEOUT: Final = 1.0
"""fal takes more than 0.1 s, both official clients insist on more than 1 s (fal-protocol §3.1)."""

_LONGEST_ERROR: Final = 1 << 20
DISABLE_FALLBACK: Final = "x-app-fal-disable-fallback"

_TAG_KEY: Final = re.compile(r"[a-z0-9._-]{1,64}")
_TAG_VALUE: Final = re.compile(r"[ -+\--~]{1,256}")  # printable ASCII without the comma
_MAX_TAGS: Final = 10
_MAX_TAG_BYTES: Final = 1024


class Queue:
    """The queue and the synchronous route of one fal."""

    def __init__(self, transport: Transport, *, submit_timeout: float) -> None:
        """`submit_timeout`: seconds for the whole submit, its answer included."""
        self._http = transport
        self._submit_timeout = submit_timeout

    async def submit(
        self,
        endpoint: str,
        body: Mapping[str, object],
        *,
        webhook_url: str | None,
        headers: Mapping[str, str],
        on_request_id: OnRequestId | None = None,
    ) -> SubmitReceipt:
        """One POST; see `FalClient.submit`."""
        hosts = self._http.hosts
        url = f"{hosts.queue}/{endpoint_path(endpoint)}"
        all_headers = self._json_headers(url) | dict(headers)
        content = wire_bytes(body)
        query = "?" + urlencode({"fal_webhook": webhook_url}) if webhook_url else ""
        reply = await self._http.post_once(
            url + query,
            content=content,
            headers=all_headers,
            timeout=self._submit_timeout,
            on_request_id=on_request_id,
        )
        request_id = self._http.judge(reply, submitted_id)
        urls = RequestUrls.chosen(hosts, endpoint, request_id, reply.data)
        return urls.receipt(request_id, reply.data.get("queue_position"))

    async def run(self, endpoint: str, body: Mapping[str, object], *, timeout: float) -> GenerationResult:
        """One POST to the synchronous route; see `FalClient.run`."""
        url = f"{self._http.hosts.run}/{endpoint_path(endpoint)}"
        headers = self._json_headers(url) | submit_headers(None, None, None, False)
        reply = await self._http.post_once(url, content=wire_bytes(body), headers=headers, timeout=timeout)
        return self._http.judge(reply, run_result)

    async def status(self, urls: RequestUrls, request_id: str, *, logs: bool) -> QueueStatus:
        """Where the request stands."""
        url = _with_query(urls.status, logs="1" if logs else "0")
        return await self._http.free(
            "GET", url, lambda reply: queue_status(reply, request_id), headers=self._http.key_header(url)
        )

    async def stream_status(
        self, urls: RequestUrls, request_id: str, *, logs: bool
    ) -> AsyncGenerator[QueueStatus]:
        """The status as server-sent events, up to and with COMPLETED (fal-protocol §1.5)."""
        path, _, query = urls.status.partition("?")
        url = _with_query(f"{path}/stream{'?' + query if query else ''}", logs="1" if logs else "0")
        headers = self._http.key_header(url) | {"Accept": "application/json, text/event-stream"}
        try:
            async with self._http.stream(url, headers, lasting=True) as (response, head):
                if "text/event-stream" not in response.headers.get("content-type", ""):
                    whole = replace(head, body=await _beginning(response), complete=True)
                    self._http.judge(whole, lambda reply: _no_stream(reply, request_id))
                async for event in _events(response):
                    answer = replace(head, body=event, complete=True)
                    status = self._http.judge(answer, lambda reply: queue_status(reply, request_id))
                    yield status
                    if status.status == "COMPLETED":
                        return
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            raise FalUnavailable(
                f"The status stream of {request_id} broke: {type(error).__name__}"
            ) from error
        raise FalUnavailable(f"The status stream of {request_id} ended before it was COMPLETED")

    async def result(self, urls: RequestUrls, request_id: str) -> GenerationResult:
        """The finished generation; an error that may be this call's own is checked against the status."""
        url = urls.response
        try:
            return await self._http.free(
                "GET",
                url,
                lambda reply: generation_result(reply, request_id),
                headers=self._http.key_header(url),
            )
        except ResultDoubtful as doubt:
            raise await self._believe(doubt, urls, request_id) from None

    async def cancel(self, urls: RequestUrls, request_id: str) -> CancelOutcome:
        """One PUT; asking again is harmless."""
        headers = self._http.key_header(urls.cancel)
        reply = await self._http.write_free("PUT", urls.cancel, headers=headers, content=b"")
        return self._http.judge(reply, lambda answer: cancel_outcome(answer, request_id))

    async def _believe(self, doubt: ResultDoubtful, urls: RequestUrls, request_id: str) -> FalError:
        """The error to raise for a doubtful answer of the result route, once the status has been read."""
        try:
            status = await self.status(urls, request_id, logs=False)
        except FalNotFound as not_found:
            gone = f"fal does not know the request {request_id} (any more)"
            return _as_heard(
                FalNotFound(gone, request_id=request_id, status=404, free_call=True), not_found.heard
            )
        if status.status != "COMPLETED":
            not_ready = FalResultNotReady("The generation has not finished", request_id=request_id)
            return _as_heard(not_ready, status.heard)
        # A 4xx about a finished request is its outcome. A 5xx is only where the status says that it failed.
        if (doubt.status or 0) < 500 or status.error or status.error_type:
            return _as_heard(doubt.if_finished, doubt.heard)
        return _as_heard(FalUnavailable(doubt.what, request_id=request_id, status=doubt.status), doubt.heard)

    def _json_headers(self, url: str) -> dict[str, str]:
        return self._http.key_header(url) | {"Content-Type": "application/json", "Accept": "application/json"}


def wire_bytes(body: Mapping[str, object]) -> bytes:
    """`body` as the JSON that is sent.

    Raises:
        FalRequestInvalid: when it is not plain JSON (NaN and infinity are not).
    """
    try:
        return json.dumps(dict(body), allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise FalRequestInvalid(f"The request is not plain JSON: {error}") from None


def submit_headers(
    start_timeout: float | None,
    priority: str | None,
    tags: Mapping[str, str] | None,
    no_server_retry: bool,
    allow_fallback: bool = False,
) -> dict[str, str]:
    """fal's own request headers of a submit (fal-protocol §3.1).

    Unless `allow_fallback`, fal may not route the request to an equivalent endpoint, whose price is another.

    Raises:
        FalRequestInvalid: for a value that fal would ignore in silence or refuse.
    """
    headers = {} if allow_fallback else {DISABLE_FALLBACK: "true"}
    if start_timeout is not None:
        if not MIN_START_TIMEOUT < start_timeout < math.inf:
            raise FalRequestInvalid(f"start_timeout must be more than {MIN_START_TIMEOUT:g} s")
        # The documented name, and the older one that today's official clients send.
        headers["X-Fal-Request-Start-Timeout"] = headers["X-Fal-Request-Timeout"] = _plain_number(
            start_timeout
        )
    if priority is not None:
        if priority not in ("normal", "low"):
            raise FalRequestInvalid(f"priority must be normal or low, not {priority!r}")
        headers["X-Fal-Queue-Priority"] = priority
    if tags:
        headers["X-Fal-Tags"] = _tags(tags)
    if no_server_retry:
        headers["X-Fal-No-Retry"] = "1"
    return headers


async def _beginning(response: httpx.Response) -> bytes:
    """As much of the body as any error of fal's has."""
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _LONGEST_ERROR:
            break
    return body


def _no_stream(reply: Reply, request_id: str) -> NoReturn:
    """Raise what an answer means that is no event stream."""
    if reply.ok:
        raise reply.unreadable(f"is no status stream of {request_id}")
    raise refusal(reply, f"request {request_id}")


def _as_heard(error: FalError, heard: Heard | None) -> FalError:
    error.heard = heard
    return error


def _plain_number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _tags(tags: Mapping[str, str]) -> str:
    text = ",".join(f"{key}={value}" for key, value in tags.items())
    good = all(
        _TAG_KEY.fullmatch(key) and not key.startswith("fal.") and _TAG_VALUE.fullmatch(value)
        for key, value in tags.items()
    )
    if not good or len(tags) > _MAX_TAGS or len(text) > _MAX_TAG_BYTES:
        raise FalRequestInvalid(
            "fal drops tags in silence unless they are at most 10 with keys of [a-z0-9._-] (64, not 'fal.…') "
            "and values of printable ASCII without a comma (256), 1024 bytes in all"
        )
    return text


def _with_query(url: str, **query: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"


async def _events(response: httpx.Response) -> AsyncIterator[bytes]:
    """The `data:` of every server-sent event."""
    data: list[str] = []
    async for line in response.aiter_lines():
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield "\n".join(data).encode()
            data.clear()
    if data:
        yield "\n".join(data).encode()
