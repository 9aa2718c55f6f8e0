"""What a believed webhook says of a generation, in the ledger's words.

Only what is certain ends a generation here. A payload that is missing or unreadable, and a 5xx, which on the result
route may be the platform's trouble and not the generation's, leave the row as it is: its result is then asked by id.
Whatever the payload is, that the webhook came is recorded.
"""

import json
import re
from typing import Final

import httpx

from prefect_ltx.fal import (
    FalError,
    FalGenerationCancelled,
    FalGenerationFailed,
    FalValidationError,
    VerifiedWebhook,
)
from prefect_ltx.fal.reply import Reply
from prefect_ltx.fal.verdicts import generation_result
from prefect_ltx.ledger import Delivery, RemoteCancelled, RemoteCompleted, RemoteFailed
from prefect_ltx.ledger.life.answers import failure
from prefect_ltx.receiver.sparing_log import SparingLog

_STATUS: Final = re.compile(r"\b([45]\d\d)\b")


def delivery_of(webhook: VerifiedWebhook, nonce: str, log: SparingLog) -> Delivery:
    """The delivery for the ledger, not confirmed."""
    try:
        end = _end(webhook)
    except Exception as error:
        # Signed by fal and odd beyond what is foreseen: the result is asked by id. Its text may quote signed URLs.
        log.warning(
            "payload",
            "The payload for request %s cannot be used (%s: %s); its result is asked by id",
            webhook.request_id,
            type(error).__name__,
            error,
        )
        end = None
    return Delivery(nonce=nonce, request_id=webhook.request_id, ok=webhook.status == "OK", end=end)


def _end(webhook: VerifiedWebhook) -> RemoteCompleted | RemoteFailed | RemoteCancelled | None:
    request_id = webhook.request_id
    if webhook.payload is None:
        return None
    status = 200 if webhook.status == "OK" else _status(webhook.error)
    body = json.dumps(webhook.payload).encode()
    try:
        result = generation_result(Reply(status, httpx.Headers(), body, signed=True), request_id)
    except FalGenerationCancelled as error:
        return RemoteCancelled(error.billed, request_id=request_id)
    except (FalValidationError, FalGenerationFailed) as error:
        return failure(error, request_id)
    except FalError:
        return None
    # Without fal's billable units, which only the result route names: the cost is settled later.
    return RemoteCompleted(
        video_url=result.video.video.url,
        seed=result.video.seed,
        prompt=result.video.prompt,
        file_size=result.video.video.file_size,
        request_id=request_id,
        oddities=result.video.oddities,
    )


def _status(error: str | None) -> int:
    found = _STATUS.search(error or "")
    return int(found[1]) if found else 500
