"""The receiver as a web application: everything cheap is refused first, and 2xx means that it is on the disk.

| answer | when | what fal does |
|---|---|---|
| 200 | recorded, recorded before, or a request that this ledger does not know or another account has | nothing more |
| 400, 401, 403, 404, 405, 413, 415 | not fal's, not ours, or not a webhook | tries again, in vain |
| 408, 503 | the body did not come, keys or ledger cannot be had now | tries again, and gets through |
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from prefect_ltx.fal import (
    FalClient,
    FalError,
    FalNotFound,
    FalUnavailable,
    VerifiedWebhook,
    WebhookError,
    WebhookHeaderMissing,
    WebhookKeysUnusable,
    WebhookMalformed,
    WebhookSignatureInvalid,
    WebhookWrongUser,
    verify_webhook,
)
from prefect_ltx.fal.webhooks import (
    REQUEST_ID_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    USER_ID_HEADER,
)
from prefect_ltx.generation.options import NONCE, PATH
from prefect_ltx.ledger import Delivery, LedgerError, Receipt
from prefect_ltx.receiver.announcer import Announcer
from prefect_ltx.receiver.connections import UnambiguousFraming
from prefect_ltx.receiver.keys import KeyRing, KeysUnavailable
from prefect_ltx.receiver.meaning import delivery_of
from prefect_ltx.receiver.recorder import Recorder, RecorderBusy
from prefect_ltx.receiver.sparing_log import SparingLog

DEFAULT_MAX_BYTES: Final = 1024 * 1024
BODY_SECONDS: Final = 10.0
_SMALL_BODY: Final = 64 * 1024
"""fal's bodies are a few kilobytes."""
_MOST_HELD: Final = 64 * 1024 * 1024
"""Bytes of bodies in memory at which only small ones are still taken."""
_HEADERS: Final = (REQUEST_ID_HEADER, USER_ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER)
_IDENTIFY_SECONDS: Final = 30.0

logger = logging.getLogger("prefect_ltx.receiver")


class Refused(Exception):
    """A delivery that is not taken. `close`: the rest of its body is not read."""

    def __init__(self, status: int, why: str, *, close: bool = False) -> None:
        self.status, self.why, self.close = status, why, close
        super().__init__(why)


class Receiver:
    """Takes deliveries: reads, verifies, records. One for one ledger and one fal."""

    def __init__(
        self,
        client: FalClient,
        keys: KeyRing,
        recorder: Recorder,
        *,
        user_id: str | None,
        max_bytes: int = DEFAULT_MAX_BYTES,
        identify: Callable[[], Awaitable[None]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`user_id`: the account as fal's webhooks name it; without one it is learned from the first known request.

        `identify` finds out again whose account this is: fal may have been down when the receiver started.
        `clock` gives Unix seconds.
        """
        self._clock = clock
        self._identify, self._identified = identify, asyncio.get_running_loop().time()
        self._client, self._keys, self._recorder = client, keys, recorder
        self._user_id, self._max_bytes = user_id, max_bytes
        self._learned: str | None = None
        self.counts: Counter[str] = Counter()
        self._held = 0
        self.log = SparingLog(logger)

    async def warm_up(self) -> None:
        """Fetch the keys before anybody waits for them; where that fails, the first delivery asks again."""
        with suppress(KeysUnavailable):
            await self._keys.current()

    async def take(self, request: Request, nonce: str) -> Response:
        """The answer to one POST."""
        try:
            self._check_head(request, nonce)
            body = await self._body(request)
            webhook = await self._verified(request.headers, body)
            receipt = await self._recorded(webhook, nonce)
        except Refused as refused:
            return self._refusal(refused)
        except Exception as error:
            # Never a traceback: it comes again, and meanwhile polling finds the result.
            self.log.warning("unexpected", "A delivery met an unexpected %s: %s", type(error).__name__, error)
            return self._refusal(Refused(503, "it cannot be taken now"))
        return self._taken(webhook, receipt)

    def _refusal(self, refused: Refused) -> Response:
        self.refused(refused.status, refused.why)
        headers = {"Connection": "close"} if refused.close else {}
        if refused.status == 503:
            headers["Retry-After"] = "5"
        return JSONResponse({"detail": refused.why}, refused.status, headers)

    def _taken(self, webhook: VerifiedWebhook, receipt: Receipt) -> Response:
        self.counts[receipt.outcome] += 1
        if receipt.outcome == "unknown":
            self.log.warning(
                "unknown",
                "Request %s is signed by fal and unknown to this ledger: nothing was changed. If it is of this "
                "account, `prefect-ltx sweep` reports it as an orphan.",
                webhook.request_id,
            )
        elif receipt.outcome == "another account" and receipt.generation is not None:
            self.log.warning(
                "another account",
                "Request %s is of generation %s, which belongs to another account: nothing was changed",
                webhook.request_id,
                receipt.generation.id,
            )
        elif receipt.outcome == "recorded" and receipt.generation is not None:
            row = receipt.generation
            logger.info(
                "Request %s: %s, generation %s is %s", row.request_id, webhook.status, row.id, row.state
            )
        return JSONResponse({"outcome": receipt.outcome})

    @property
    def health(self) -> dict[str, Any]:
        """Whether the ledger took the last delivery, and how many came to which end."""
        ledger = "ok" if self._recorder.ledger_answers else "unavailable"
        return {"status": "ok", "ledger": ledger, "deliveries": dict(sorted(self.counts.items()))}

    def _check_head(self, request: Request, nonce: str) -> None:
        if not NONCE.fullmatch(nonce):
            raise Refused(404, "no such receiver", close=True)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" or request.headers.get("content-encoding", "identity") != "identity":
            raise Refused(415, "a webhook is application/json, not compressed", close=True)
        for name in _HEADERS:
            if not request.headers.get(name):
                raise Refused(400, f"the {name} header is missing", close=True)
        length = request.headers.get("content-length", "0")
        if not (length.isascii() and length.isdecimal()) or int(length[:12]) > self._max_bytes:
            raise self._too_large()

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for part in request.stream():
                    body += part
                    self._held += len(part)
                    if len(body) > self._max_bytes:
                        raise self._too_large()
                    if self._held > _MOST_HELD and len(body) > _SMALL_BODY:
                        raise Refused(503, "too many large bodies at once", close=True)
        except TimeoutError:
            raise Refused(408, "the body did not come", close=True) from None
        except ClientDisconnect:
            raise Refused(408, "the connection ended within the body", close=True) from None
        finally:
            self._held -= len(body)
        return bytes(body)

    def _too_large(self) -> Refused:
        return Refused(413, f"a webhook has {self._max_bytes} bytes at most", close=True)

    async def _verified(self, headers: Mapping[str, str], body: bytes) -> VerifiedWebhook:
        try:
            keys = await self._keys.current()
            try:
                return verify_webhook(headers, body, keys, user_id=self._user_id, now=self._clock())
            except (WebhookSignatureInvalid, WebhookKeysUnusable):
                # fal may have begun to sign with another key.
                newer = await self._keys.newer_than(keys)
                if newer is None:
                    raise
                return verify_webhook(headers, body, newer, user_id=self._user_id, now=self._clock())
        except KeysUnavailable as error:
            raise Refused(503, str(error)) from None
        except WebhookKeysUnusable as error:
            raise Refused(503, error.what) from None
        except (WebhookHeaderMissing, WebhookMalformed) as error:
            raise Refused(400, error.what) from None
        except WebhookWrongUser as error:
            raise Refused(403, error.what) from None
        except WebhookError as error:
            raise Refused(401, error.what) from None

    async def _recorded(self, webhook: VerifiedWebhook, nonce: str) -> Receipt:
        delivery = delivery_of(webhook, nonce, self.log)
        receipt = await self._write(delivery)
        if receipt.outcome == "another account" and await self._identified_anew():
            receipt = await self._write(delivery)
        if receipt.outcome == "unconfirmed" and receipt.generation is not None:
            await self._confirm(webhook, receipt.generation.endpoint)
            return await self._write(replace(delivery, confirmed=True))
        if receipt.outcome not in ("unknown", "another account"):
            # fal signs nobody else's name under a request that fal itself told us is ours.
            self._learned = self._learned or webhook.user_id
        return receipt

    async def _identified_anew(self) -> bool:
        if self._identify is None or asyncio.get_running_loop().time() - self._identified < _IDENTIFY_SECONDS:
            return False
        self._identified = asyncio.get_running_loop().time()
        with suppress(FalError, LedgerError):
            await self._identify()
            return True
        return False

    async def _write(self, delivery: Delivery) -> Receipt:
        try:
            return await self._recorder.record(delivery)
        except (RecorderBusy, LedgerError):
            raise Refused(503, "the ledger cannot be written now") from None
        except Exception as error:
            if delivery.end is None:
                raise
            # What it says cannot be stored. That it came can be, and the result is asked by id.
            self.log.warning(
                "not recorded",
                "What is said about request %s cannot be recorded (%s); its result is asked by id",
                delivery.request_id,
                type(error).__name__,
            )
            return await self._write(replace(delivery, end=None))

    async def _confirm(self, webhook: VerifiedWebhook, endpoint: str) -> None:
        """The nonce's row has not this request: fal has to know it as ours before it is believed to be the row's."""
        if self._learned not in (None, webhook.user_id):
            raise Refused(403, "the webhook is signed for another fal account")
        try:
            await self._client.status(endpoint, webhook.request_id, logs=False)
        except FalNotFound:
            raise Refused(403, "fal does not know this request as ours") from None
        except FalUnavailable:
            raise Refused(503, "fal cannot be asked about this request now") from None
        except FalError as error:
            self.log.warning("not taken over", "Request %s is not taken over: %s", webhook.request_id, error)
            raise Refused(403, "fal does not confirm this request") from None

    def refused(self, status: int, why: str) -> None:
        """Count it and say so: one line a reason and 10 s, so that a burst of forgeries does not fill a disk."""
        self.counts[f"refused {status}"] += 1
        self.log.warning(
            f"{status} {why[:60]}",
            "A delivery was refused (%s %s); more of these are not logged for 10 s",
            status,
            why,
            most=1,
        )


def build_app(
    receiver: Receiver,
    recorder: Recorder,
    announcer: Announcer,
    *,
    on_close: Callable[[], Any] | None = None,
) -> FastAPI:
    """The application: `POST …/fal/NONCE` and `GET /health`. Its lifespan runs recorder and announcer."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await receiver.warm_up()
        tasks = [asyncio.create_task(recorder.run()), asyncio.create_task(announcer.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if on_close is not None:
                await on_close()

    app = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/health")
    async def health() -> JSONResponse:
        """Alive; never asks the ledger or fal."""
        return JSONResponse(receiver.health)

    async def take(request: Request) -> Response:
        return await receiver.take(request, request.path_params["nonce"])

    # The public base may have a path that a proxy in front passes on. Plain routes: what FastAPI does for
    # parameters and models takes longer than the verification, and this app has neither.
    app.add_middleware(UnambiguousFraming, refused=receiver.refused)
    for path in (PATH + "{nonce}", "/{base:path}" + PATH + "{nonce}"):
        app.add_route(path, take, methods=["POST"])
    return app
