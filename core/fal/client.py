"""`FalClient`: every call to fal that this package makes, under one account.

What may cost money (`submit`, `run`) is sent exactly once by everything below it. What is free is retried.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
from pydantic import SecretStr

from prefect_ltx.fal._answer import OnRequestId
from prefect_ltx.fal._growing_file import Copy, OnProgress
from prefect_ltx.fal.addresses import RequestUrls
from prefect_ltx.fal.blob import Blob
from prefect_ltx.fal.clock import FalClock
from prefect_ltx.fal.download import download
from prefect_ltx.fal.errors import FalRequestInvalid
from prefect_ltx.fal.hosts import FalHosts
from prefect_ltx.fal.platform_api import Platform
from prefect_ltx.fal.presence import is_there
from prefect_ltx.fal.queue_api import Queue, submit_headers
from prefect_ltx.fal.retry import RetryRule
from prefect_ltx.fal.service import Service
from prefect_ltx.fal.storage import Storage
from prefect_ltx.fal.transport import Transport, check_key
from prefect_ltx.fal.well_known import WellKnown
from prefect_ltx.fal.wire import (
    BillingEvent,
    CancelOutcome,
    Downloaded,
    GenerationResult,
    ListedRequest,
    Listing,
    ModelPrice,
    QueueStatus,
    SubmitReceipt,
)
from prefect_ltx.runtime import THIS_MACHINE, Runtime


class FalClient:
    """fal, for one account. An async context manager; use it in one event loop at a time.

    `status`, `result`, `cancel` and `stream_status` take the `receipt` of the submit where it is known: its
    URLs are then used. Without it they are rebuilt from the endpoint, as after a crash.
    """

    def __init__(
        self,
        key: str | SecretStr | None = None,
        *,
        hosts: FalHosts | None = None,
        base_url: str | None = None,
        timeout: float = 120.0,
        submit_timeout: float = 180.0,
        read_attempts: int = 4,
        read_backoff: float = 0.5,
        runtime: Runtime = THIS_MACHINE,
        wire: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Nothing is sent yet.

        `hosts` or `base_url` (one origin for everything) say which fal; neither means the real one. `timeout`
        is seconds per wait for bytes of a free call, `submit_timeout` seconds for a whole submit with its
        answer, `read_attempts` and `read_backoff` (seconds, doubling, full jitter) rule the retries of free
        calls. `runtime` is whose clocks and chance are used, `wire` an httpx transport in place of the network.

        Raises:
            FalRequestInvalid: for a key that no header can carry, or both `hosts` and `base_url`.
        """
        if hosts is not None and base_url is not None:
            raise FalRequestInvalid("Give either hosts or base_url, not both")
        self.hosts: Final = hosts or (FalHosts.from_base_url(base_url) if base_url else FalHosts.default())
        secret = check_key(key)
        key_id = secret.get_secret_value().partition(":")[0] if secret else ""
        self.account: Final = self.hosts.fingerprint(key_id)
        """16 hex digits that stand for the account: where it is and which key, never the secret itself."""
        rule = RetryRule(attempts=max(read_attempts, 1), base=read_backoff)
        self._http = Transport(secret, self.hosts, timeout=timeout, rule=rule, runtime=runtime, wire=wire)
        self._queue = Queue(self._http, submit_timeout=submit_timeout)
        self._storage = Storage(self._http)
        self._platform = Platform(self._http)
        self._well_known = WellKnown(self._http)

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def __repr__(self) -> str:
        """Without the key."""
        return f"FalClient(queue={self.hosts.queue!r}, account={self.account!r})"

    async def submit(
        self,
        endpoint: str,
        body: Mapping[str, object],
        *,
        webhook_url: str | None = None,
        start_timeout: float | None = None,
        priority: str | None = None,
        tags: Mapping[str, str] | None = None,
        no_server_retry: bool = False,
        allow_fallback: bool = False,
        on_request_id: OnRequestId | None = None,
    ) -> SubmitReceipt:
        """Queue one generation: exactly one POST, whatever happens (fal-protocol §1.2, §8.4).

        `start_timeout`: seconds until fal must have begun; `priority`: "normal" or "low"; `tags` appear in
        fal's billing; `no_server_retry` keeps fal itself from queueing it again after a failure of its own;
        `allow_fallback` lets fal route it to an equivalent endpoint, at that one's price.

        `on_request_id` is called as soon as any answer names a request id, a refused or broken one included, so
        that it can be kept before anything else goes wrong. It is a word to ask fal about, not yet an acceptance;
        what it raises is logged and changes nothing.

        Raises:
            FalNotSent: not a byte of the request left. Nothing runs; it may be sent again.
            FalSubmitUnknown: it may run. Never send it again; `.request_id` is set where the answer named it.
            FalRequestInvalid: nothing was sent. Any other FalError: fal refused it; nothing runs, not billed.
            If the task is cancelled while it waits, treat that as FalSubmitUnknown.
        """
        headers = submit_headers(start_timeout, priority, tags, no_server_retry, allow_fallback)
        return await self._queue.submit(
            endpoint, body, webhook_url=webhook_url, headers=headers, on_request_id=on_request_id
        )

    async def run(
        self, endpoint: str, body: Mapping[str, object], *, timeout: float = 3600.0
    ) -> GenerationResult:
        """One generation by the synchronous route: one POST, the answer is the result (fal-protocol §1.1).

        A result whose answer is lost cannot be fetched again; prefer `submit`.

        Raises:
            As for `submit`; FalValidationError, FalGenerationFailed, FalGenerationCancelled when it ran.
        """
        return await self._queue.run(endpoint, body, timeout=timeout)

    async def status(
        self, endpoint: str, request_id: str, *, logs: bool = True, receipt: SubmitReceipt | None = None
    ) -> QueueStatus:
        """Where a request stands.

        Raises:
            FalNotFound, FalUnavailable (after retries), FalAuthenticationError, FalProtocolError.
        """
        return await self._queue.status(self._urls(endpoint, request_id, receipt), request_id, logs=logs)

    def stream_status(
        self, endpoint: str, request_id: str, *, logs: bool = True, receipt: SubmitReceipt | None = None
    ) -> AsyncGenerator[QueueStatus]:
        """Its status whenever it changes, up to and with COMPLETED (fal-protocol §1.5). Each keeps a connection of
        its own, for as long as it lasts.

        Raises:
            FalUnavailable: the stream broke or ended too early; go on with `status`.
        """
        return self._queue.stream_status(self._urls(endpoint, request_id, receipt), request_id, logs=logs)

    async def result(
        self, endpoint: str, request_id: str, *, receipt: SubmitReceipt | None = None
    ) -> GenerationResult:
        """The video of a finished request (fal-protocol §1.6).

        Raises:
            FalResultNotReady: not finished. FalUnavailable: try again; it says nothing about the generation.
            FalGenerationFailed, FalValidationError, FalGenerationCancelled: how the generation ended.
            FalResultExpired: finished, and fal has it no more. FalNotFound: fal does not know the request.
        """
        return await self._queue.result(self._urls(endpoint, request_id, receipt), request_id)

    async def cancel(
        self, endpoint: str, request_id: str, *, receipt: SubmitReceipt | None = None
    ) -> CancelOutcome:
        """Ask fal to stop a request: one PUT, and asking again is harmless (fal-protocol §1.7).

        Raises:
            FalUnavailable: there was no answer; ask again.
        """
        return await self._queue.cancel(self._urls(endpoint, request_id, receipt), request_id)

    async def upload(self, data: bytes | Path, *, content_type: str, file_name: str) -> str:
        """The URL of an uploaded input file, from memory or from disk; over 100 MiB in parts.

        Raises:
            FalRequestInvalid: unreadable or empty. FalUploadError: it did not get there; nothing is billed.
        """
        return await self._storage.upload(Blob(data), content_type=content_type, file_name=file_name)

    def list_requests(
        self,
        endpoint: str,
        *,
        start: datetime,
        end: datetime | None = None,
        request_id: str | None = None,
        expand_payloads: bool = True,
    ) -> AsyncIterator[ListedRequest]:
        """fal's own list of the account's requests to `endpoint`, from `start` to before `end` (§7.3).

        Raises:
            FalPermissionDenied: the key may not list. FalProtocolError: an entry cannot be read, so that it
            cannot be mistaken for an absent one.
        """
        return self._platform.list_requests(
            endpoint, start=start, end=end, request_id=request_id, expand_payloads=expand_payloads
        )

    async def listing(
        self,
        endpoint: str,
        *,
        start: datetime,
        request_id: str | None = None,
        expand_payloads: bool = True,
    ) -> Listing:
        """The same as one value, with what it takes to conclude something from it; up to now, whatever now is.

        An entry that cannot be read makes it incomplete and is in `unreadable`. Endpoints are spelt as fal does.

        Raises:
            FalPermissionDenied: the key may not list. FalUnavailable, FalGateway: some page could not be had.
        """
        return await self._platform.listing(
            endpoint, start=start, request_id=request_id, expand_payloads=expand_payloads
        )

    async def prices(self, endpoints: Iterable[str]) -> dict[str, ModelPrice]:
        """What this account pays per unit, by endpoint id (fal-protocol §7.1)."""
        return await self._platform.prices(endpoints)

    async def billing_events(
        self,
        *,
        request_ids: Sequence[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> list[BillingEvent]:
        """What fal billed, for these requests or in this window (fal-protocol §7.2; an admin key).

        `request_ids` without a `start` are looked for in the last 89 days, the longest window that fal takes.

        Raises:
            FalPermissionDenied, FalAuthenticationError: a plain key may not read this.
        """
        return await self._platform.billing_events(request_ids, start, end)

    async def download(
        self,
        url: str,
        path: Path | str,
        *,
        on_progress: OnProgress | None = None,
        expected_size: int | None = None,
        copy: Copy | None = None,
    ) -> Downloaded:
        """`url` (http, https or a data URI) as the file `path`, atomically; the key never goes along.

        `on_progress` gets (bytes so far, bytes in all or None). `expected_size` is what fal's result said: where a
        whole file contradicts it, that is one of the `oddities`. `copy` gets the same bytes in the same pass.

        Raises:
            FalDownloadError: `.gone` where the server says that the file no longer exists, `.heard` who said so.
            FalGateway: a page came in place of the file. Nothing is left behind under `path` either way.
        """
        return await download(
            self._http, url, Path(path), on_progress=on_progress, expected_size=expected_size, copy=copy
        )

    async def has_file(self, url: str) -> bool:
        """Whether `url` gives out its file now, asked without the key; False where that cannot be known."""
        return await is_there(self._http, url)

    async def identify(self) -> Service:
        """Which service this is, by its own word and without the key; asked once, fal itself not at all.

        Raises:
            FalUnavailable: it does not answer, or only a gateway in front of it does.
        """
        return await self._well_known.service()

    async def whoami(self) -> str | None:
        """The account's user name at fal; None where the key may not ask (fal-protocol §7.2).

        Raises:
            FalUnavailable, FalProtocolError: fal did not say.
        """
        return await self._platform.user_name()

    async def webhook_keys(self, *, refresh: bool = False) -> list[dict[str, Any]]:
        """fal's public keys for `verify_webhook`, kept for at most 24 hours (fal-protocol §4)."""
        return await self._well_known.webhook_keys(refresh=refresh)

    @property
    def clock(self) -> FalClock:
        """What this client knows of fal's clock, from every answer that fal itself wrote."""
        return self._http.clock

    def _urls(self, endpoint: str, request_id: str, receipt: SubmitReceipt | None) -> RequestUrls:
        named = receipt.model_dump() if receipt is not None and receipt.request_id == request_id else {}
        return RequestUrls.chosen(self.hosts, endpoint, request_id, named)
