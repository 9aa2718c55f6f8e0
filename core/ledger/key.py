"""The key of a generation: same key means same video, so same key means no second payment.

sha256 over the account, the full endpoint id and the canonical request: every default filled in, every media
input replaced by the sha256 of its content (a URL may be signed, or change under the same content), numbers
normalised, a size in pixels wherever the request says one (a preset is its size, and so is an ingredient's "auto"),
texts in Unicode's NFC, and an extra field that is null left out. `sync_mode` is left out: it changes how the video is
delivered, not the video. What is sent stays as the user wrote it.

Releases before the second wrote sizes, texts and nulls into the key as they were given, so the same video may be
known by such a key: `generation_keys` gives all of them.
"""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, Final, Protocol

from prefect_ltx.fal import (
    PRESET_SIZES,
    FalRequestInvalid,
    endpoint_model,
    extra_media,
    parse_request,
)
from prefect_ltx.ledger.errors import KeyNotComputable

KEY_VERSION: Final = 1

_NOT_THE_VIDEO: Final = {"sync_mode"}
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class HasBody(Protocol):
    """A request model, of a known endpoint or another one."""

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
        request_body: a request model, or a body; for a known endpoint missing defaults are filled in.
        media_sha256: content sha256 of each media field that is set, by field name.

    Raises:
        KeyNotComputable: the request is invalid, a value has no canonical form, or a media field no sha256.
    """
    return next(_keys(account, endpoint, request_body, media_sha256))


def generation_keys(
    account: str,
    endpoint: str,
    request_body: Mapping[str, Any] | HasBody,
    media_sha256: Mapping[str, str],
) -> tuple[str, ...]:
    """`generation_key` first, then every other key under which an earlier release may know the same video.

    Raises:
        KeyNotComputable: as `generation_key`.
    """
    return tuple(dict.fromkeys(_keys(account, endpoint, request_body, media_sha256)))


def _keys(
    account: str,
    endpoint: str,
    request_body: Mapping[str, Any] | HasBody,
    media_sha256: Mapping[str, str],
) -> Iterator[str]:
    endpoint = endpoint.strip("/")
    if not account or not endpoint:
        raise KeyNotComputable("A generation key needs an account and an endpoint id")
    digests = {name: _digest(name, value) for name, value in media_sha256.items()}
    body = _filled_in(endpoint, request_body, digests)
    missing = sorted(name for name in _media_fields(endpoint, body) if name in body and name not in digests)
    if missing:
        raise KeyNotComputable(
            f"The content of {', '.join(missing)} has not been hashed, and a URL is no identity"
        )
    request: dict[str, Any] = {
        name: canonical(value, name)
        for name, value in body.items()
        if name not in {*_NOT_THE_VIDEO, *digests}
    }
    media = {name: {"sha256": digest} for name, digest in digests.items()}
    for form in _forms(endpoint, request):
        payload = {
            "version": KEY_VERSION,
            "account": account,
            "endpoint": endpoint,
            "request": form | media,
        }
        yield hashlib.sha256(canonical_json(payload).encode()).hexdigest()


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


def _forms(endpoint: str, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The request in the one form that counts, then in those that earlier releases may have keyed it in."""
    forms = [("NFC", True), ("as written", True), ("NFD", True)]
    forms += [(texts, False) for texts, _ in forms]
    for resolution, (texts, without_nulls) in product(_resolutions(endpoint, request), forms):
        form = {name: value for name, value in request.items() if value is not None or not without_nulls}
        if texts != "as written" or without_nulls:
            form = {name: _texts(value, texts, without_nulls) for name, value in form.items()}
        if resolution is not None:
            form["resolution"] = resolution
        yield form


def _resolutions(endpoint: str, request: Mapping[str, Any]) -> list[Any]:
    """Every way to write the size; the size in pixels first. None alone where the request says none."""
    asked = request.get("resolution")
    model = endpoint_model(endpoint)
    if model is None or asked is None:
        return [None]
    if asked == "auto":
        size = model.AUTO_SIZE
    elif isinstance(asked, str):
        size = PRESET_SIZES.get(asked)
    else:
        size = (asked["width"], asked["height"])
    if size is None:
        return [asked]
    names = [name for name, preset in PRESET_SIZES.items() if preset == size]
    names += ["auto"] if size == model.AUTO_SIZE else []
    return [{"width": size[0], "height": size[1]}, *names]


def _texts(value: Any, form: str, without_nulls: bool) -> Any:
    match value:
        case str():
            if form == "NFC":
                return unicodedata.normalize("NFC", value)
            return unicodedata.normalize("NFD", value) if form == "NFD" else value
        case dict():
            return {
                _texts(name, form, without_nulls): _texts(item, form, without_nulls)
                for name, item in value.items()
                if item is not None or not without_nulls
            }
        case list():
            return [_texts(item, form, without_nulls) for item in value]
        case _:
            return value


def _digest(name: str, value: str) -> str:
    digest = value.lower()
    if not _SHA256.fullmatch(digest):
        raise KeyNotComputable(f"{name} needs a sha256 of 64 hex digits")
    return digest


def _media_fields(endpoint: str, body: Mapping[str, Any]) -> tuple[str, ...]:
    model = endpoint_model(endpoint)
    if model is None:
        return ()
    extras = {name: value for name, value in body.items() if name not in model.model_fields}
    return (*model.MEDIA_FIELDS, *extra_media(extras))


def _filled_in(
    endpoint: str, request: Mapping[str, Any] | HasBody, digests: Mapping[str, str]
) -> Mapping[str, Any]:
    if not isinstance(request, Mapping):
        return request.body()
    model = endpoint_model(endpoint)
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
