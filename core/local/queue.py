"""Asking about a request: status, status stream, result, cancel (fal-protocol §1.3 to §1.7).

The app may be given alone or as the full endpoint id, the result with `/response` or without; a trailing
slash is taken off before anything gets here.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from prefect_ltx.local import store as db
from prefect_ltx.local.connection import ResetReply
from prefect_ltx.local.edges import route_of
from prefect_ltx.local.errors import Refusal
from prefect_ltx.local.jobs import jobs_of
from prefect_ltx.local.origin import origin_of
from prefect_ltx.local.outputs import output_of
from prefect_ltx.local.replies import json_reply, server_error
from prefect_ltx.local.rows import RequestRow, to_json
from prefect_ltx.local.site import Site, site_of
from prefect_ltx.local.statuses import APP, active_status, final_logs, final_status
from prefect_ltx.local.validation import served

_CANCEL_STATUS: Final = {"OK": 200, "CANCELLATION_REQUESTED": 202, "ALREADY_COMPLETED": 400, "NOT_FOUND": 404}
_HEARTBEAT_SECONDS: Final = 10

router = APIRouter()


async def known_request(request: Request, app: str, request_id: str) -> RequestRow:
    """The row of a request that this account made.

    Raises:
        Refusal: 401, or 404 for another account's, a synchronous run, or none.
    """
    site = site_of(request)
    token = request.query_params.get("fal_jwt_token")
    account = site.keys.account(request.headers.get("authorization"), query_token=token)
    if app != APP and app not in served():
        raise Refusal(404, {"detail": f'Application "{app}" not found'})
    row = await site.store.call(db.get, request_id)
    route = route_of(request.method, request.url.path)
    if site.faults.take(
        "false_404", endpoint=row.endpoint if row else "", path=request.url.path, route=route
    ):
        raise Refusal(404, {"status": "NOT_FOUND"})
    if row is None or row.key_id != account or row.direct or row.gone == "purged":
        raise Refusal(404, {"status": "NOT_FOUND"})
    return row


KnownRequest = Annotated[RequestRow, Depends(known_request)]


@router.get("/{app:path}/requests/{request_id}/status")
async def status(request: Request, row: KnownRequest) -> Response:
    """202 while it waits or runs, 200 once it is COMPLETED."""
    site, jobs = site_of(request), jobs_of(request)
    if site.fault("read_reset", request, row.endpoint):
        return ResetReply()
    if fault := site.fault("status_5xx", request, row.endpoint):
        return server_error(int(fault.value or 503), row.request_id)
    job = jobs.get(row.request_id)
    wanted = _wants_logs(request)
    if job is not None:
        body = active_status(origin_of(request), jobs, job, list(job.logs) if wanted else None)
        return json_reply(body, 202, request_id=row.request_id)
    if row.state != "done":  # it ended between the two looks
        row = await _fresh(site, row)
    return json_reply(
        final_status(origin_of(request), row, final_logs(row, wanted)), request_id=row.request_id
    )


@router.get("/{app:path}/requests/{request_id}/status/stream")
async def status_stream(request: Request, row: KnownRequest) -> Response:
    """Server-sent events, one for every change, closed after COMPLETED. An event carries only new log
    lines."""
    return StreamingResponse(
        _events(request, row),
        media_type="text/event-stream",
        headers={"x-fal-request-id": row.request_id, "cache-control": "no-store"},
    )


@router.get("/{app:path}/requests/{request_id}/response")
@router.get("/{app:path}/requests/{request_id}")
async def result(request: Request, row: KnownRequest) -> Response:
    """Whatever the model produced: status, headers and body, errors included."""
    site = site_of(request)
    if site.fault("read_reset", request, row.endpoint):
        return ResetReply()
    if fault := site.fault("result_5xx", request, row.endpoint):
        return server_error(int(fault.value or 500), row.request_id)
    if fault := site.fault("result_500_bare", request, row.endpoint):
        if fault.reply == "fal":
            return json_reply({"detail": "Internal Server Error"}, 500, request_id=row.request_id)
        return Response(status_code=500)
    if row.state != "done" and jobs_of(request).get(row.request_id) is None:
        row = await _fresh(site, row)
    if row.state != "done":
        return json_reply({"detail": "Request is still in progress"}, 400, request_id=row.request_id)
    if row.gone is None and site.fault("result_purged", request, row.endpoint):
        await site.store.call(db.set_gone, row.request_id, "purged")
        raise Refusal(404, {"status": "NOT_FOUND"})
    if row.gone is None and site.fault("result_404", request, row.endpoint):
        await site.store.call(db.set_gone, row.request_id, "expired")
        row = await _fresh(site, row)
    if row.gone == "expired":
        return json_reply({"detail": "Request result has expired"}, 404, request_id=row.request_id)
    headers: dict[str, str] = json.loads(row.headers)
    if row.units is not None and not site.fault("no_billable_units", request, row.endpoint):
        headers["x-fal-billable-units"] = row.units
    body = await output_of(row, origin_of(request), site)
    return json_reply(body, row.status_code or 500, request_id=row.request_id, headers=headers)


@router.put("/{app:path}/requests/{request_id}/cancel")
async def cancel(request: Request, row: KnownRequest) -> Response:
    """OK, CANCELLATION_REQUESTED, ALREADY_COMPLETED or NOT_FOUND."""
    answer = await jobs_of(request).cancel(row.request_id)
    return json_reply({"status": answer}, _CANCEL_STATUS[answer], request_id=row.request_id)


async def _events(request: Request, row: RequestRow) -> AsyncIterator[str]:
    site, jobs, origin = site_of(request), jobs_of(request), origin_of(request)
    wanted = _wants_logs(request)
    job = jobs.get(row.request_id)
    sent = 0
    last = ""
    while job is not None and job.state != "done" and not site.closing.is_set():
        change = job.change
        new, sent = (job.logs[sent:], len(job.logs)) if job.state != "queued" else ([], sent)
        event = to_json(active_status(origin, jobs, job, new if wanted else None))
        if event != last:
            yield f"data: {event}\n\n"
        last = event
        if not await _happens(change):
            yield ": still here\n\n"
    final = await site.store.call(db.get, row.request_id)
    if final is not None and final.state == "done":
        logs = final_logs(final, wanted)
        yield f"data: {to_json(final_status(origin, final, logs if logs is None else logs[sent:]))}\n\n"


async def _fresh(site: Site, row: RequestRow) -> RequestRow:
    found = await site.store.call(db.get, row.request_id)
    return row if found is None else found


async def _happens(change: asyncio.Event) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(change.wait(), _HEARTBEAT_SECONDS)
        return True
    return False


def _wants_logs(request: Request) -> bool:
    return request.query_params.get("logs", "").lower() in ("1", "true", "yes")
