"""Taking a request in: queue submit and synchronous run (fal-protocol §1.1, §1.2).

The row is committed before any reply, and the faults that lose a reply come after that. The body is not
validated here: as on fal, a bad input is accepted and its 422 waits on the result.
"""

import asyncio
import contextlib
import hashlib
import json
import math
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from prefect_ltx.local.connection import CutReply, ResetReply, SilentReply, read_to_its_end
from prefect_ltx.local.errors import PlatformError, Refusal
from prefect_ltx.local.faults import Fault
from prefect_ltx.local.ids import new_request_id
from prefect_ltx.local.job import Job
from prefect_ltx.local.jobs import Jobs, jobs_of
from prefect_ltx.local.lifecycle import lifetime_of
from prefect_ltx.local.origin import origin_of
from prefect_ltx.local.outputs import output_of
from prefect_ltx.local.replies import json_reply, nginx_page, server_error
from prefect_ltx.local.rows import RequestRow, to_json
from prefect_ltx.local.site import Site, site_of
from prefect_ltx.local.statuses import request_urls
from prefect_ltx.local.validation import served

MAX_BODY_BYTES: Final = 256 * 1024**2
_NO_FALLBACK: Final = ("x-app-fal-disable-fallback", "x-fal-disable-fallbacks")
_TRUE: Final = ("1", "true", "yes")

run_router = APIRouter()
submit_router = APIRouter()


@submit_router.post("/{endpoint:path}")
async def submit(request: Request, endpoint: str) -> Response:
    """Queue submit: 200 with the id and three URLs."""
    site, jobs = site_of(request), jobs_of(request)
    account = _admitted(site, request, endpoint)
    if (refusal := await _refused(site, request, endpoint)) is not None:
        return refusal
    body = await _json_body(request)
    _check_queue_length(request, jobs)
    rows = [_row(request, endpoint, account, body)]
    if site.fault("double_accept", request, endpoint):
        rows.append(_row(request, endpoint, account, body))
    _note(site, request, rows)
    job = (await jobs.accept(rows))[0]
    receipt = {
        "status": "IN_QUEUE",
        "request_id": job.row.request_id,
        **request_urls(origin_of(request), job.row.request_id),
        "queue_position": jobs.position(job) if job.state == "queued" else 0,
    }
    lost = await _lost(site, request, endpoint, receipt)
    return lost or json_reply(receipt, request_id=job.row.request_id)


@run_router.post("/run/{endpoint:path}")
async def run(request: Request, endpoint: str) -> Response:
    """Synchronous run: the model's output itself. It never waits in the queue, and ends with its
    connection."""
    site, jobs = site_of(request), jobs_of(request)
    account = _admitted(site, request, endpoint)
    if (refusal := await _refused(site, request, endpoint)) is not None:
        return refusal
    body = await _json_body(request)
    if jobs.is_full:
        raise PlatformError(
            "concurrent_requests_limit", "Too many concurrent requests", headers={"x-fal-needs-retry": "1"}
        )
    row = _row(request, endpoint, account, body, direct=True)
    _note(site, request, [row])
    job = (await jobs.accept([row]))[0]
    if (lost := await _lost(site, request, endpoint, {})) is not None:
        return lost
    if not await _run_to_its_end(request, site, jobs, job):
        raise PlatformError("client_disconnected", "The client disconnected")
    row = job.row
    headers = json.loads(row.headers)
    if row.units is not None:
        headers["x-fal-billable-units"] = row.units
    output = await output_of(row, origin_of(request), site)
    return json_reply(output, row.status_code or 500, request_id=row.request_id, headers=headers)


def _admitted(site: Site, request: Request, endpoint: str) -> str:
    account = site.keys.account(request.headers.get("authorization"))
    if endpoint not in served():
        raise Refusal(404, {"detail": f'Application "{endpoint}" not found'})
    if site.fault("account_locked", request, endpoint):
        raise locked()
    return account


def locked() -> Refusal:
    """fal's 403 for an account without balance (fal-protocol §2)."""
    return Refusal(
        403,
        {
            "detail": "User is locked. Reason: Exhausted balance. Top up your balance at "
            "fal.ai/dashboard/billing."
        },
    )


async def _refused(site: Site, request: Request, endpoint: str) -> Response | None:
    if site.fault("reject_reset", request, endpoint):
        await read_to_its_end(request.receive)
        return ResetReply()
    if fault := site.fault("reject_5xx", request, endpoint):
        return server_error(int(fault.value or 503), site.new_request_id())
    if fault := site.fault("reject_429", request, endpoint):
        raise PlatformError(
            "concurrent_requests_limit",
            "Too many requests",
            headers={"x-fal-needs-retry": "1", "retry-after": f"{fault.value or 1:g}"},
        )
    return None


async def _lost(site: Site, request: Request, endpoint: str, receipt: dict[str, Any]) -> Response | None:
    """What a fault makes of the reply to a request that has been accepted."""
    if fault := site.fault("slow_accept", request, endpoint):
        await _pause(site, fault)
    if site.fault("lost_reply", request, endpoint):
        return ResetReply()
    if fault := site.fault("accept_then_timeout", request, endpoint):
        return SilentReply(fault.value or 600, site.closing)
    if site.fault("accept_then_502", request, endpoint):
        return nginx_page(request)
    if site.fault("accept_then_cut_body", request, endpoint):
        return CutReply(to_json(receipt), media_type="application/json")
    return None


async def _pause(site: Site, fault: Fault) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(site.closing.wait(), fault.value)


async def _json_body(request: Request) -> str:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY_BYTES:
            raise PlatformError("bad_request", "Request body is too large", status=413)
    try:
        # In a thread: a data URI can make it long.
        return await asyncio.to_thread(_checked_json, bytes(raw))
    except (ValueError, RecursionError):
        raise PlatformError("bad_request", "Request body is not valid JSON") from None


def _checked_json(raw: bytes) -> str:
    text = raw.decode()
    # NaN is JSON to Python only; it could not be given back.
    json.loads(text, parse_constant=_no_constant)
    return text


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _check_queue_length(request: Request, jobs: Jobs) -> None:
    limit = request.query_params.get("fal_max_queue_length")
    if limit is not None and limit.isdigit() and jobs.waiting > int(limit):
        raise PlatformError(
            "concurrent_requests_limit",
            f"Queue is longer than {limit}",
            headers={"x-fal-needs-retry": "1"},
        )


def _row(request: Request, endpoint: str, account: str, body: str, *, direct: bool = False) -> RequestRow:
    site = site_of(request)
    now = site.now()
    headers = request.headers
    return RequestRow(
        request_id=new_request_id(now, site.runtime),
        endpoint=endpoint,
        key_id=account,
        body=body,
        body_sha=hashlib.sha256(body.encode()).hexdigest(),
        origin=to_json(origin_of(request).as_dict()),
        submitted_at=now,
        webhook=None if direct else request.query_params.get("fal_webhook"),
        low_priority=int(headers.get("x-fal-queue-priority", "").lower() == "low"),
        direct=int(direct),
        store_io=int(headers.get("x-fal-store-io", "1") != "0"),
        start_timeout=None if direct else _start_timeout(request),
        file_lifetime=lifetime_of(headers.get("x-fal-object-lifecycle-preference")),
    )


def _note(site: Site, request: Request, rows: list[RequestRow]) -> None:
    """Remember what was sent with the request, and whether it may be answered by another endpoint."""
    for row in rows:
        site.log.submitted(row.request_id, request.headers.items())
        stays = any(request.headers.get(name, "").lower() in _TRUE for name in _NO_FALLBACK)
        if not stays and (fault := site.fault("fallback", request, row.endpoint)):
            site.fallbacks[row.request_id] = fault


def _start_timeout(request: Request) -> float | None:
    for name in ("x-fal-request-start-timeout", "x-fal-request-timeout"):
        with contextlib.suppress(ValueError):
            if name in request.headers and 0 < (seconds := float(request.headers[name])) < math.inf:
                return seconds
    return None


async def _run_to_its_end(request: Request, site: Site, jobs: Jobs, job: Job) -> bool:
    """Whether the job finished while its client was still there."""
    while not job.finished.is_set() and not site.closing.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(job.finished.wait(), 0.2)
        if not job.finished.is_set() and await request.is_disconnected():
            await jobs.cancel(job.row.request_id, why="client_disconnected")
            return False
    return job.finished.is_set()
