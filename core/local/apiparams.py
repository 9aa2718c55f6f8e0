"""How the Platform API reads its questions (fal-protocol §7): key, filters, times, pages."""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from starlette.requests import Request

from prefect_ltx.local.errors import ApiError, Refusal
from prefect_ltx.local.site import site_of

_MOST_VALUES: Final = 50

T = TypeVar("T")


def api_account(request: Request) -> str:
    """The key id that asks.

    Raises:
        ApiError: 401, or the 5xx of a fault.
    """
    site = site_of(request)
    if fault := site.fault("platform_5xx", request):
        raise ApiError("server_error", "Internal server error", status=int(fault.value or 500))
    try:
        return site.keys.account(request.headers.get("authorization"))
    except Refusal as error:
        raise ApiError("authorization_error", error.body["detail"]) from None


def values_of(request: Request, name: str) -> list[str]:
    """A filter's values: repeated, comma-separated, or both; at most 50.

    Raises:
        ApiError: 400 above that.
    """
    values = [value for text in request.query_params.getlist(name) for value in text.split(",") if value]
    if len(values) > _MOST_VALUES:
        raise ApiError("validation_error", f"{name}: at most {_MOST_VALUES} values")
    return values


def time_of(request: Request, name: str, default: float) -> float:
    """A date or ISO 8601 time as unix seconds; without a zone it is UTC.

    Raises:
        ApiError: 400 for anything else.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        # A "+" of a zone that came unescaped in the query string has become a space.
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise ApiError("validation_error", f"{name}: not an ISO 8601 time") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def choice_of(request: Request, name: str, choices: Sequence[str]) -> str | None:
    """One of `choices`, or None where the parameter is not given.

    Raises:
        ApiError: 400 for another value.
    """
    value = request.query_params.get(name)
    if value is not None and value not in choices:
        raise ApiError("validation_error", f"{name}: one of {', '.join(choices)}")
    return value


def page_of(request: Request, *, default: int, most: int) -> tuple[int, int, int | None]:
    """(limit, offset, mark) of the asked page; `mark` is what the first page's cursor was made with.

    Raises:
        ApiError: 400 for a limit out of range or a cursor that is not ours.
    """
    text = request.query_params.get("limit", str(default))
    if not text.isdigit() or not 1 <= int(text) <= most:
        raise ApiError("validation_error", f"limit: 1 to {most}")
    cursor = request.query_params.get("cursor")
    if cursor is None:
        return int(text), 0, None
    try:
        offset, mark = (int(part) for part in base64.urlsafe_b64decode(cursor).decode().split("."))
    except (ValueError, binascii.Error):
        raise ApiError("validation_error", "cursor: not one of ours") from None
    return int(text), offset, mark


def paged(name: str, items: Sequence[Any], *, limit: int, offset: int, mark: int = 0) -> dict[str, Any]:
    """The envelope of a page. `items` holds one more than `limit` where there is a next page."""
    more = len(items) > limit
    cursor = cursor_of(offset + limit, mark) if more else None
    return {name: list(items[:limit]), "next_cursor": cursor, "has_more": more}


def cursor_of(offset: int, mark: int) -> str:
    """What leads to the page that begins at `offset`."""
    return base64.urlsafe_b64encode(f"{offset}.{mark}".encode()).decode()


def iso(seconds: float) -> str:
    """Unix seconds as the API writes times."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
