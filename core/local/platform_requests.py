"""Finding requests again: the Platform API's listing (fal-protocol §7.3), with the knobs for what fal
leaves open.

`start` and `end` are held against the submit. Items come newest first by submission, so that a request does
not change its place while somebody pages; a cursor also keeps to what was there when the first page was
read. Fal's own listing may do all of this otherwise, and knobs make it so.
"""

import json
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from prefect_ltx.local import listing
from prefect_ltx.local.apiparams import (
    api_account,
    choice_of,
    cursor_of,
    iso,
    page_of,
    paged,
    time_of,
    values_of,
)
from prefect_ltx.local.errors import ApiError
from prefect_ltx.local.oddities import odd
from prefect_ltx.local.origin import origin_of
from prefect_ltx.local.outputs import is_inline, output_of
from prefect_ltx.local.replies import json_reply
from prefect_ltx.local.rows import RequestRow
from prefect_ltx.local.site import site_of
from prefect_ltx.local.statuses import APP
from prefect_ltx.local.validation import served

_DAY: Final = 24 * 3600.0
_MOST_DAYS: Final = 90

router = APIRouter(prefix="/v1")


@router.get("/models/requests/by-endpoint")
async def by_endpoint(request: Request) -> Response:
    """This account's requests of the asked endpoints; `expand=payloads` adds what went in and came out."""
    if not values_of(request, "endpoint_id"):
        raise ApiError("validation_error", "endpoint_id: required")
    return await _listed(request, "items", most=100)


@router.get("/models/requests/search")
async def search(request: Request) -> Response:
    """This account's requests, newest first, without a window of time; no similarity search here."""
    return await _listed(request, "results", most=100, everything=True)


async def _listed(request: Request, name: str, *, most: int, everything: bool = False) -> Response:
    site = site_of(request)
    account = api_account(request)
    if site.fault("listing_forbidden", request):
        raise ApiError("authorization_error", "This key may not list requests", status=403)
    limit, offset, mark = page_of(request, default=50, most=most)
    request_id = request.query_params.get("request_id")
    days = _MOST_DAYS if request_id or everything else 1
    lag = site.fault("listing_lag_seconds", request)
    spelling = _spelling(request)
    wanted = listing.RequestFilter(
        key_id=account,
        endpoints=_endpoints(values_of(request, "endpoint_id"), spelling),
        start=time_of(request, "start", site.now() - days * _DAY),
        end=time_of(request, "end", 0) if "end" in request.query_params else None,
        visible_before=site.now() - (lag.value or 0) if lag else None,
        started_only=site.fault("listing_hides_queued", request) is not None,
        status=choice_of(request, "status", ("success", "error", "user_error")),
        request_id=request_id,
        order=choice_of(request, "sort_by", ("ended_at", "duration")),
        last_seq=await site.store.call(listing.newest_seq) if mark is None else mark,
        by_ended_at=site.fault("listing_by_ended_at", request) is not None,
    )
    again = site.fault("listing_overlap", request) if offset else None
    back = min(int(again.value or 1), offset) if again else 0
    rows = await site.store.call(listing.list_requests, wanted, offset=offset - back, limit=limit + back + 1)
    payloads = "payloads" in values_of(request, "expand")
    if payloads and site.fault("listing_without_payloads", request):
        payloads = False
    items = [await _item(request, row, spelling, payloads=payloads) for row in rows]
    page = paged(name, items, limit=limit + back, offset=offset - back, mark=wanted.last_seq or 0)
    return json_reply(_bent(request, name, page, limit=limit, offset=offset, mark=wanted.last_seq or 0))


def _bent(
    request: Request, name: str, page: dict[str, Any], *, limit: int, offset: int, mark: int
) -> dict[str, Any]:
    """The page as the knobs make it: entries twice, an end without a cursor, one page too many, no end."""
    site = site_of(request)
    if site.fault("listing_duplicates", request):
        page[name] = [item for item in page[name] for _ in range(2)]
    cut = site.fault("listing_truncated", request)
    if cut and len(page[name]) > (keep := int(cut.value or 0)):
        page |= {name: page[name][:keep], "has_more": True, "next_cursor": None}
    if page[name] and not page["has_more"] and site.fault("listing_extra_page", request):
        page |= {"has_more": True, "next_cursor": cursor_of(offset + limit, mark)}
    if site.fault("listing_repeats_cursor", request):
        page |= {"has_more": True, "next_cursor": cursor_of(0, mark)}
    return page


def _spelling(request: Request) -> str | None:
    """How the listing writes the endpoint of its requests, where a knob says otherwise."""
    knob = site_of(request).fault("listing_spelling", request)
    return None if knob is None else str(knob.to or APP)


def _endpoints(asked: list[str], spelling: str | None) -> list[str]:
    """The endpoints whose rows are meant; asked by the other spelling it is all of them."""
    return list(served()) if not asked or spelling in asked else asked


async def _item(request: Request, row: RequestRow, spelling: str | None, *, payloads: bool) -> Any:
    item: dict[str, Any] = {
        "request_id": row.request_id,
        "endpoint_id": spelling or site_of(request).endpoint_shown(row),
        # The schema has no null here; a request that still waits says when it was sent.
        "started_at": iso(row.started_at or row.submitted_at),
        "sent_at": iso(row.submitted_at),
        "ended_at": None if row.ended_at is None else iso(row.ended_at),
        "status_code": row.status_code,
        "duration": row.inference_seconds,
    }
    if payloads and row.store_io:
        item["json_input"] = json.loads(row.body)
        if row.output is not None and not is_inline(row):
            item["json_output"] = await output_of(row, origin_of(request), site_of(request))
    oddities = site_of(request).faults.holding(("odd_item",), row.request_id, endpoint=row.endpoint)
    return odd(item, oddities)
