"""`/_local`: what a test or a person may ask of the stand-in and fal has no word for. Faults, log, bill,
requests.

A browser on another site's page can reach this port (fal's own routes are open to every origin), so these
routes answer nobody who sends a foreign Origin.
"""

import asyncio
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from prefect_ltx.local import listing
from prefect_ltx.local import store as db
from prefect_ltx.local.bill import Bill
from prefect_ltx.local.errors import Refusal
from prefect_ltx.local.fault_table import KNOWN
from prefect_ltx.local.jobs import jobs_of
from prefect_ltx.local.jsonbody import json_object
from prefect_ltx.local.replies import json_reply
from prefect_ltx.local.site import Site, site_of
from prefect_ltx.local.webhooks import Webhooks


async def _same_site_only(request: Request) -> None:
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        raise Refusal(403, {"detail": "Not for pages of another site"})


router = APIRouter(prefix="/_local", dependencies=[Depends(_same_site_only)])


@router.get("/faults")
async def show_faults(request: Request) -> Response:
    """What is switched on, how often each has acted, and every fault there is."""
    return json_reply(_faults(site_of(request)))


@router.post("/faults")
async def add_fault(request: Request) -> Response:
    """Switch one on: `{"name": …, "times"?, "value"?, "endpoint"?, "path"?, "chance"?}`."""
    site = site_of(request)
    wish = await json_object(request)
    try:
        site.faults.add(wish.pop("name", ""), wish.pop("times", None), **wish)
    except (ValidationError, TypeError) as error:
        raise _bad(error) from None
    return json_reply(_faults(site))


@router.put("/faults")
async def replace_faults(request: Request) -> Response:
    """Switch off everything and on what the object names, in the form of a faults file."""
    site = site_of(request)
    try:
        site.faults.replace(await json_object(request))
    except (ValueError, TypeError) as error:
        raise _bad(error) from None
    return json_reply(_faults(site))


@router.delete("/faults")
@router.delete("/faults/{name}")
async def clear_faults(request: Request, name: str | None = None) -> Response:
    """Switch one off, or all."""
    site_of(request).faults.clear(name)
    return json_reply(_faults(site_of(request)))


@router.get("/accounts")
async def show_accounts(request: Request) -> Response:
    """The account of each key id that is told; every other key id is its own account."""
    return json_reply(site_of(request).accounts)


@router.put("/accounts")
async def set_accounts(request: Request) -> Response:
    """Tell them anew: `{"old-key-id": "alice", "new-key-id": "alice", "revoked-key-id": null}`."""
    accounts = await json_object(request)
    if not all(name is None or isinstance(name, str) for name in accounts.values()):
        raise Refusal(400, {"detail": "Expected {key id: name or null}"})
    known = site_of(request).accounts
    known.clear()
    known.update(accounts)
    return json_reply(known)


@router.get("/log")
async def show_log(request: Request) -> Response:
    """[[method, path, status], …] since the server started; `?method=POST` and `?path=…` narrow it down."""
    method, text = request.query_params.get("method"), request.query_params.get("path", "")
    entries = [
        entry
        for entry in site_of(request).log.entries()
        if method in (None, entry[0]) and text in entry[1] and not entry[1].startswith("/_local")
    ]
    return json_reply({"entries": entries, "count": len(entries)})


@router.delete("/log")
async def clear_log(request: Request) -> Response:
    """Start the log anew."""
    site_of(request).log.clear()
    return json_reply({"entries": [], "count": 0})


@router.get("/bill")
async def show_bill(request: Request) -> Response:
    """Every charge of every account."""
    data = site_of(request).data
    charges = await asyncio.to_thread(lambda: Bill(data).charges)
    return json_reply(
        {
            "total_usd": str(sum(charge.usd for charge in charges)),
            "count": len(charges),
            "charges": [
                {
                    "request_id": charge.request_id,
                    "endpoint": charge.endpoint,
                    "key_id": charge.key_id,
                    "units": str(charge.units),
                    "usd": str(charge.usd),
                    "at": charge.at,
                    "seed": charge.seed,
                    "body_sha": charge.body_sha,
                }
                for charge in charges
            ],
        }
    )


@router.get("/requests")
async def show_requests(request: Request) -> Response:
    """The newest requests of every account, with the state they are in."""
    site = site_of(request)
    rows = await site.store.call(listing.every_request, 1000)
    return json_reply(
        {
            "waiting": jobs_of(request).waiting,
            "requests": [
                {
                    "request_id": row.request_id,
                    "endpoint": row.endpoint,
                    "key_id": row.key_id,
                    "state": row.state,
                    "status_code": row.status_code,
                    "error_type": row.error_type,
                    "submitted_at": row.submitted_at,
                    "started_at": row.started_at,
                    "ended_at": row.ended_at,
                    "body_sha": row.body_sha,
                    "webhook_done": bool(row.webhook_done),
                    "gone": row.gone,
                    "headers": site.log.headers_of(row.request_id),
                }
                for row in rows
            ],
        }
    )


@router.delete("/uploads")
async def forget_uploads(request: Request) -> Response:
    """Delete every upload, as storage does when a lifetime is over; what jobs made stays."""
    return json_reply({"deleted": await site_of(request).store.call(db.forget_uploads)})


@router.post("/webhook-key")
async def rotate_webhook_key(request: Request) -> Response:
    """Sign webhooks with a new key from now on; `?keep=0` takes the old ones out of the key set at once."""
    webhooks: Webhooks = request.app.state.webhooks
    webhooks.rotate(keep=request.query_params.get("keep") != "0")
    return json_reply(webhooks.jwks)


def _faults(site: Site) -> dict[str, Any]:
    return {
        "active": [fault.model_dump(exclude_none=True) for fault in site.faults],
        "fired": {name: count for name in KNOWN if (count := site.faults.fired(name))},
        "known": {name: kind._asdict() for name, kind in KNOWN.items()},
    }


def _bad(error: Exception) -> Refusal:
    text = (
        "; ".join(detail["msg"] for detail in error.errors())
        if isinstance(error, ValidationError)
        else str(error)
    )
    return Refusal(400, {"detail": text})
