"""Replies in fal's manner: JSON with its content type and `x-fal-request-id` (fal-protocol §9.3)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from prefect_ltx.local.errors import Refusal
from prefect_ltx.local.rows import to_json

_PHRASES: Final = {503: "Service Temporarily Unavailable", 504: "Gateway Time-out"}
_KNOWN: Final = frozenset(int(status) for status in HTTPStatus)


def json_reply(
    body: Any, status: int = 200, *, request_id: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON reply; without `request_id` the middleware draws one."""
    all_headers = dict(headers or {})
    if request_id is not None:
        all_headers["x-fal-request-id"] = request_id
    # Decimals go out as the shortest float that says the same, as JSON numbers do.
    return Response(to_json(body), status, headers=all_headers, media_type="application/json")


async def refusal_reply(request: Request, error: Any) -> Response:
    """The exception handler for `Refusal`."""
    assert isinstance(error, Refusal)
    return json_reply(error.body, error.status, headers=error.headers)


def server_error(status: int, request_id: str | None = None) -> Response:
    """A 5xx of the platform, as a fault sends it."""
    detail = {"detail": "Internal server error" if status == 500 else "Service unavailable"}
    return json_reply(detail, status, request_id=request_id, headers={"x-fal-error-type": "internal_error"})


def phrase_of(status: int) -> str:
    """The usual words for a status; proxies have some that no standard knows (nginx's 499)."""
    return HTTPStatus(status).phrase if status in _KNOWN else "Error"


def nginx_page(request: Request, status: int = 502) -> Response:
    """An answer of the proxy in front of fal: HTML, and no request id to hold on to."""
    request.scope["fal_hide_id"] = True
    title = f"{status} {_PHRASES.get(status) or phrase_of(status)}"
    page = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    return Response(page, status, media_type="text/html")
