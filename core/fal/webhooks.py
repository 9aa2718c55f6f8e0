"""Whether a webhook really comes from fal, and is meant for this account (fal-protocol §4).

fal signs `request id, user id, timestamp, sha256 of the raw body`, one a line, with Ed25519. Its key set is
shared by all of fal, so a good signature alone does not say for whom: give `user_id` as well.
"""

import base64
import binascii
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from prefect_ltx.fal.errors import (
    WebhookHeaderMissing,
    WebhookKeysUnusable,
    WebhookMalformed,
    WebhookSignatureInvalid,
    WebhookStale,
    WebhookWrongUser,
)
from prefect_ltx.fal.lenient_json import NOT_JSON, read_json
from prefect_ltx.fal.reply import valid_request_id
from prefect_ltx.fal.safe_text import plain
from prefect_ltx.fal.wire import Json, Text

REQUEST_ID_HEADER: Final = "X-Fal-Webhook-Request-Id"
USER_ID_HEADER: Final = "X-Fal-Webhook-User-Id"
TIMESTAMP_HEADER: Final = "X-Fal-Webhook-Timestamp"
SIGNATURE_HEADER: Final = "X-Fal-Webhook-Signature"


_LONGEST_ID: Final = 200
"""fal's ids have 36 characters."""


def _an_id(value: str) -> str:
    if len(value) > _LONGEST_ID or not valid_request_id(value):
        raise ValueError("is not a request id")
    return value


class VerifiedWebhook(BaseModel):
    """What a believed webhook says. It may come twice, late or out of order: deduplicate by `request_id`.

    `payload` is the model's output for OK and its error body for ERROR; it is None when `payload_error` says
    that it could not be written, and then the result has to be fetched.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    request_id: Annotated[str, AfterValidator(_an_id)]
    gateway_request_id: Text | None = None
    status: Literal["OK", "ERROR"]
    payload: Json = Field(default=None, repr=False)
    error: Text | None = None
    payload_error: Text | None = None
    user_id: str
    timestamp: int


def verify_webhook(
    headers: Mapping[str, str],
    body: bytes,
    jwks: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    now: float | None = None,
    tolerance: float = 300,
    user_id: str | None = None,
) -> VerifiedWebhook:
    """The content of a webhook, once it is certain that fal sent it.

    `body` is the raw body as received, `jwks` fal's key set (`FalClient.webhook_keys`) or its list of keys,
    `now` and `tolerance` are seconds, `user_id` is the account's id (such as `github|123`) if known.

    Raises:
        WebhookHeaderMissing: one of the four headers is missing or empty.
        WebhookMalformed: the timestamp, the signature or the body cannot be read.
        WebhookStale: the timestamp is more than `tolerance` away from `now`.
        WebhookKeysUnusable: the key set has no Ed25519 key.
        WebhookSignatureInvalid: no key of the set signed this.
        WebhookWrongUser: fal signed it for another account than `user_id`.
    """
    given = {name.lower(): value for name, value in headers.items()}
    request_id = _header(given, REQUEST_ID_HEADER)
    signed_user = _header(given, USER_ID_HEADER)
    stamp = _header(given, TIMESTAMP_HEADER)
    timestamp, signature = _timestamp(stamp), _signature(_header(given, SIGNATURE_HEADER))
    if abs((time.time() if now is None else now) - timestamp) > tolerance:
        raise WebhookStale(f"The webhook's timestamp is more than {tolerance:g} s away from now")
    digest = hashlib.sha256(body).hexdigest()
    message = "\n".join((request_id, signed_user, stamp, digest)).encode()
    if not any(_signed_by(key, signature, message) for key in _ed25519_keys(jwks)):
        raise WebhookSignatureInvalid("None of fal's keys made the webhook's signature")
    if user_id is not None and signed_user != user_id:
        raise WebhookWrongUser("The webhook is signed for another fal account")
    return _content(body, signed_user, timestamp)


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name.lower(), "")
    if not value:
        raise WebhookHeaderMissing(f"The webhook has no {name} header")
    return value


def _timestamp(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 12):
        raise WebhookMalformed(f"The webhook's {TIMESTAMP_HEADER} is not a number of seconds")
    return int(text)


def _signature(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise WebhookMalformed(f"The webhook's {SIGNATURE_HEADER} is not hexadecimal") from None


def _ed25519_keys(jwks: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> list[Ed25519PublicKey]:
    listed = jwks.get("keys") if isinstance(jwks, Mapping) else jwks
    keys = list(_read_keys(listed if isinstance(listed, Sequence) else []))
    if not keys:
        raise WebhookKeysUnusable("fal's key set holds no Ed25519 key")
    return keys


def _read_keys(listed: Sequence[object]) -> Iterator[Ed25519PublicKey]:
    for jwk in listed:
        if not isinstance(jwk, Mapping) or (jwk.get("kty"), jwk.get("crv")) != ("OKP", "Ed25519"):
            continue
        x = str(jwk.get("x", ""))
        try:
            yield Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(x + "=" * (-len(x) % 4)))
        except (ValueError, binascii.Error):
            continue


def _signed_by(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _content(body: bytes, user_id: str, timestamp: int) -> VerifiedWebhook:
    data = read_json(body)
    if data is NOT_JSON:
        raise WebhookMalformed("The webhook's body is not JSON")
    if not isinstance(data, dict):
        raise WebhookMalformed("The webhook's body is not a JSON object")
    try:
        return VerifiedWebhook.model_validate(data | {"user_id": user_id, "timestamp": timestamp})
    except ValidationError as error:
        where = ", ".join(".".join(map(str, one["loc"])) for one in error.errors())
        raise WebhookMalformed(f"The webhook's body is not fal's: {plain(where, 200)}") from None
