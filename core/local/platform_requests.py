"""Finding requests again: the Platform API's listing (fal-protocol §7.3), with the knobs for what fal
leaves open.

`start` and `end` are held against the submit. Items come newest first by submission, so that a request does
not change its place while somebody pages; a cursor also keeps to what was there when the first page was
read.
"""

import json
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from prefect_ltx.local import listing
from prefect_ltx.local.apiparams import api_account, choice_of, iso, page_of, paged, time_of, values_of
from prefect_ltx.local.errors import ApiError
from prefect_ltx.local.origin import origin_of
from prefect_ltx.local.outputs import is_inline, output_of
from prefect_ltx.local.replies import json_reply
from prefect_ltx.local.rows import RequestRow
from prefect_ltx.local.site import site_of
from prefect_ltx.local.validation import MODELS

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
    wanted = listing.RequestFilter(
        key_id=account,
        endpoints=values_of(request, "endpoint_id") or list(MODELS),
        start=time_of(request, "start", site.now() - days * _DAY),
        end=time_of(request, "end", 0) if "end" in request.query_params else None,
        visible_before=site.now() - (lag.value or 0) if lag else None,
        started_only=site.fault("listing_hides_queued", request) is not None,
        status=choice_of(request, "status", ("success", "error", "user_error")),
        request_id=request_id,
        order=choice_of(request, "sort_by", ("ended_at", "duration")),
        last_seq=await site.store.call(listing.newest_seq) if mark is None else mark,
    )
    rows = await site.store.call(listing.list_requests, wanted, offset=offset, limit=limit + 1)
    payloads = "payloads" in values_of(request, "expand")
    if payloads and site.fault("listing_without_payloads", request):
        payloads = False
    items = [await _item(request, row, payloads=payloads) for row in rows]
    return json_reply(paged(name, items, limit=limit, offset=offset, mark=wanted.last_seq or 0))


async def _item(request: Request, row: RequestRow, *, payloads: bool) -> dict[str, Any]:
    item: dict[str, Any] = {
        "request_id": row.request_id,
        "endpoint_id": row.endpoint,
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
    return item
