"""Who wrote an error answer: fal itself, or something between here and fal? Told from its shape.

fal's shapes (fal-protocol §5): models answer `{"detail": [{loc, msg, type}]}`, the platform `{"detail": "text",
"error_type": "…"}`, the Platform API `{"error": {"type", "message"}}`, queue routes `{"status": "NOT_FOUND"}`.
Gateways and proxies write HTML, nothing at all, or JSON of their own, and with any status code; some of it comes
close, so a shape is held to its keys:

    {"detail": "Not Found"} and other stock phrases        any FastAPI or Django application
    {"detail": [{"loc": ["header", …], …}]}                a gateway that missed something in the call itself
    {"title": …, "status": 429, "detail": "…"}             RFC 9457, as Cloudflare writes it
    {"error": {"message", "type": "auth_error", "code"}}   a gateway for models; fal has six types of its own
    {"message": …, "request_id": …}                        Kong, AWS

With a header that only fal sets, the keys of a shape are enough. A body that is not a JSON object, or has no key of a
shape, is not fal's, whatever its headers: who replaced the body may have passed the headers on.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

FALS_HEADERS: Final = (
    "x-fal-request-id",
    "x-fal-error-type",
    "x-fal-retryable",
    "x-fal-needs-retry",
    "x-fal-request-timeout-type",
    "x-fal-billable-units",
    "x-fal-served-from",
)
_STATUSES: Final = ("NOT_FOUND", "ALREADY_COMPLETED")
_API_ERRORS: Final = frozenset(
    {
        "authorization_error",
        "validation_error",
        "not_found",
        "rate_limited",
        "server_error",
        "not_implemented",
    }
)
_QUEUE_KEYS: Final = frozenset(
    {"status", "request_id", "detail", "error", "error_type", "logs", "metrics", "queue_position"}
    | {"response_url", "status_url", "cancel_url"}
)
_DETAIL_KEYS: Final = frozenset({"detail", "error_type", "request_id"})
_ERROR_TYPE: Final = re.compile(r"[a-z][a-z0-9_]{2,60}")
_PARTS_OF_A_CALL: Final = frozenset({"header", "cookie", "query", "path"})
_STOCK_PHRASES: Final = frozenset(
    {phrase.lower() for status in HTTPStatus for phrase in (status.phrase, f"{status.value} {status.phrase}")}
    | {
        "not authenticated",
        "not authorized",
        "could not validate credentials",
        "invalid authentication credentials",
        "authentication credentials were not provided",
        "incorrect authentication credentials",
        "invalid token",
        "invalid api key",
        "invalid or missing api key",
        "access denied",
        "permission denied",
        "you do not have permission to perform this action",
        "rate limit exceeded",
        "request was throttled",
        "upstream error",
        "upstream request timeout",
        "timeout",
    }
)
"""What frameworks and gateways say by themselves. Where fal says one of these it adds a header of its own."""


def in_a_shape_of_fals(body: Mapping[str, Any], *, marked: bool) -> bool:
    """Whether a JSON object is an error of fal's. `marked`: a header that only fal sets came with it."""
    return _by_its_keys(body) or (marked and _nearly(body))


def _nearly(body: Mapping[str, Any]) -> bool:
    error = body.get("error")
    return (
        "detail" in body
        or isinstance(body.get("error_type"), str)
        or body.get("status") in _STATUSES
        or (isinstance(error, dict) and isinstance(error.get("message"), str))
    )


def _by_its_keys(body: Mapping[str, Any]) -> bool:
    keys = body.keys()
    if body.get("status") in _STATUSES:
        return keys <= _QUEUE_KEYS
    if keys == {"error"} and isinstance(error := body["error"], dict):
        return error.get("type") in _API_ERRORS and isinstance(error.get("message"), str)
    if not keys <= _DETAIL_KEYS:
        return False
    detail, kind = body.get("detail"), body.get("error_type")
    if isinstance(kind, str):
        return bool(_ERROR_TYPE.fullmatch(kind))
    if isinstance(detail, str):
        return bool(detail.strip()) and detail.strip().rstrip(".!").lower() not in _STOCK_PHRASES
    return isinstance(detail, list) and bool(detail) and all(map(_is_a_models, detail))


def _is_a_models(problem: object) -> bool:
    if not isinstance(problem, dict) or not isinstance(problem.get("msg"), str):
        return False
    loc = problem.get("loc")
    return not (isinstance(loc, list) and loc and loc[0] in _PARTS_OF_A_CALL)
