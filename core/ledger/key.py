"""The key of a generation: same key means same video, so same key means no second payment.

sha256 over the account, the full endpoint id and the canonical request: every default filled in, every media
input replaced by the sha256 of its content (a URL may be signed, or change under the same content), numbers
normalised. `sync_mode` is left out: it changes how the video is delivered, not the video.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

from prefect_ltx.fal import FalRequestInvalid, IngredientRequest, ReferenceVideoRequest, parse_request
from prefect_ltx.ledger.errors import KeyNotComputable

KEY_VERSION: Final = 1

_MODELS: Final[Mapping[str, type[ReferenceVideoRequest | IngredientRequest]]] = {
    ReferenceVideoRequest.ENDPOINT: ReferenceVideoRequest,
    IngredientRequest.ENDPOINT: IngredientRequest,
}
_NOT_THE_VIDEO: Final = {"sync_mode"}
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class HasBody(Protocol):
    """A request model: `ReferenceVideoRequest`, `IngredientRequest`, or one that a later endpoint brings."""

    def body(self) -> Mapping[str, Any]:
        """The wire body, defaults filled in."""


def generation_key(
    account: str,
    endpoint: str,
    request_body: Mapping[str, Any] | HasBody,
    media_sha256: Mapping[str, str],
) -> str:
    """The key as 64 hex digits. Without a seed in the request it is what a drawn seed is adopted by.

    Args:
        account: `FalClient.account`, a fingerprint that does not hold the key.
        endpoint: the full endpoint id.
        request_body: a request model, or a body; for the two known endpoints missing defaults are filled in.
        media_sha256: content sha256 of each media field that is set, by field name.

    Raises:
        KeyNotComputable: the request is invalid, a value has no canonical form, or a media field no sha256.
    """
    endpoint = endpoint.strip("/")
    if not account or not endpoint:
        raise KeyNotComputable("A generation key needs an account and an endpoint id")
    digests = {name: _digest(name, value) for name, value in media_sha256.items()}
    body = _filled_in(endpoint, request_body, digests)
    missing = sorted(name for name in _media_fields(endpoint) if name in body and name not in digests)
    if missing:
        raise KeyNotComputable(
            f"The content of {', '.join(missing)} has not been hashed, and a URL is no identity"
        )
    request: dict[str, Any] = {
        name: canonical(value, name)
        for name, value in body.items()
        if name not in {*_NOT_THE_VIDEO, *digests}
    }
    request |= {name: {"sha256": digest} for name, digest in digests.items()}
    payload = {"version": KEY_VERSION, "account": account, "endpoint": endpoint, "request": request}
    return hashlib.sha256(canonical_json(payload).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """`value` as JSON with sorted keys, no spaces, ASCII only, and numbers in one form each.

    Raises:
        KeyNotComputable: a value has no canonical form.
    """
    return json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(value: Any, where: str = "value") -> Any:
    """`value` as plain JSON data in which equal numbers are equal: 24.0 becomes 24.

    Raises:
        KeyNotComputable: NaN, infinities, -0.0, and anything that is not JSON.
    """
    match value:
        case None | bool() | str():
            return value
        case int():
            return int(value)
        case float():
            if not math.isfinite(value) or (value == 0 and math.copysign(1, value) < 0):
                raise KeyNotComputable(f"{where} is {value!r}, which has no canonical form")
            return int(value) if value.is_integer() else value
        case Mapping():
            if any(not isinstance(name, str) for name in value):
                raise KeyNotComputable(f"{where} has a name that is not text")
            return {name: canonical(item, f"{where}.{name}") for name, item in value.items()}
        case list() | tuple():
            return [canonical(item, f"{where}[{index}]") for index, item in enumerate(value)]
        case _:
            raise KeyNotComputable(f"{where} is a {type(value).__name__}, which is not JSON")


def _digest(name: str, value: str) -> str:
    digest = value.lower()
    if not _SHA256.fullmatch(digest):
        raise KeyNotComputable(f"{name} needs a sha256 of 64 hex digits")
    return digest


def _media_fields(endpoint: str) -> tuple[str, ...]:
    model = _MODELS.get(endpoint)
    return model.MEDIA_FIELDS if model else ()


def _filled_in(
    endpoint: str, request: Mapping[str, Any] | HasBody, digests: Mapping[str, str]
) -> Mapping[str, Any]:
    if not isinstance(request, Mapping):
        return request.body()
    model = _MODELS.get(endpoint)
    if model is None:
        return {name: value for name, value in request.items() if value is not None}
    known = {name: value for name, value in request.items() if name in model.model_fields}
    # What the URL says does not matter here; what it leads to is in `digests`.
    known |= dict.fromkeys(digests.keys() & set(model.MEDIA_FIELDS), "https://media.invalid/")
    extra = {name: value for name, value in request.items() if name not in model.model_fields}
    known["extra_arguments"] = {**known.get("extra_arguments", {}), **extra}
    try:
        return parse_request(known, endpoint).body()
    except FalRequestInvalid as error:
        raise KeyNotComputable(f"The request is not valid: {error.what}") from error
