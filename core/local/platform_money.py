"""What was spent, in the Platform API's words (fal-protocol §7.2): billing events, usage, the account.

On fal these need a key with the ADMIN scope; the knob `billing_forbidden` takes it away.
"""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from prefect_ltx.fal import usd_to_nano
from prefect_ltx.local import listing
from prefect_ltx.local.apiparams import api_account, choice_of, iso, page_of, paged, time_of, values_of
from prefect_ltx.local.billing import events_of
from prefect_ltx.local.catalogue import UNIT
from prefect_ltx.local.errors import ApiError
from prefect_ltx.local.replies import json_reply
from prefect_ltx.local.rows import Charge
from prefect_ltx.local.site import Site, site_of

_DAY: Final = 24 * 3600.0
_MOST_DAYS: Final = 90
_OPENING_BALANCE: Final = Decimal(100)
_FRAMES: Final = ("minute", "hour", "day", "week", "month")

router = APIRouter(prefix="/v1")


@router.get("/models/billing-events")
async def billing_events(request: Request) -> Response:
    """One event a billed request unless a knob splits them, newest first."""
    account = _admin(request)
    limit, offset, _ = page_of(request, default=100, most=10_000)
    charges = await _charges(request, account, default_days=_MOST_DAYS)
    site = site_of(request)
    events = [event for charge in charges for event in events_of(charge, site.faults, site.now())]
    page = [_event(site, event) for event in events[offset : offset + limit + 1]]
    return json_reply(paged("billing_events", page, limit=limit, offset=offset))


@router.get("/models/usage")
async def usage(request: Request) -> Response:
    """Megapixels and dollars by bucket of time and endpoint; `expand=summary` adds the sums."""
    account = _admin(request)
    frame = choice_of(request, "timeframe", _FRAMES) or "day"
    expand = values_of(request, "expand") or ["time_series"]
    charges = await _charges(request, account, default_days=1)
    buckets: dict[str, list[Charge]] = defaultdict(list)
    for charge in charges:
        buckets[_bucket(charge.at, frame)].append(charge)
    body: dict[str, Any] = {"next_cursor": None, "has_more": False}
    if "time_series" in expand:
        body["time_series"] = [
            {"bucket": bucket, "results": _lines(buckets[bucket])} for bucket in sorted(buckets)
        ]
    if "summary" in expand:
        body["summary"] = _lines(charges)
    return json_reply(body)


@router.get("/account/billing")
async def account_billing(request: Request) -> Response:
    """The account's name and, with `expand=credits`, what is left of its opening hundred dollars."""
    account = _admin(request)
    body: dict[str, Any] = {"username": account or "anonymous"}
    if "credits" in values_of(request, "expand"):
        site = site_of(request)
        charges = await site.store.call(listing.list_charges, account, start=0, end=site.now() + 1)
        left = _OPENING_BALANCE - sum((charge.usd for charge in charges), Decimal(0))
        body["credits"] = {"current_balance": float(max(left, Decimal(0))), "currency": "USD"}
    return json_reply(body)


def _admin(request: Request) -> str:
    account = api_account(request)
    if site_of(request).fault("billing_forbidden", request):
        raise ApiError("authorization_error", "This needs a key with the ADMIN scope", status=403)
    return account


async def _charges(request: Request, account: str, *, default_days: int) -> list[Charge]:
    site = site_of(request)
    end = time_of(request, "end", site.now() + 1)
    start = time_of(request, "start", end - default_days * _DAY)
    if end - start > _MOST_DAYS * _DAY + 1:
        raise ApiError("validation_error", f"start and end: at most {_MOST_DAYS} days apart")
    if lag := site.fault("billing_lag_seconds", request):
        end = min(end, site.now() - (lag.value or 0))
    return await site.store.call(
        listing.list_charges,
        account,
        start=start,
        end=end,
        endpoints=values_of(request, "endpoint_id"),
        request_ids=values_of(request, "request_id"),
    )


def _event(site: Site, charge: Charge) -> dict[str, Any]:
    cost = float(charge.usd)
    return {
        "request_id": charge.request_id,
        "endpoint_id": site.endpoint_shown(charge),
        "timestamp": iso(charge.at),
        "output_units": _number(charge.units),
        "unit_price": _unit_price(charge),
        "percent_discount": None,
        "cost_subtotal": cost,
        "cost_discount": 0,
        "cost_total": cost,
        "cost_estimate_nano_usd": usd_to_nano(charge.usd),
    }


def _lines(charges: list[Charge]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, float], list[Charge]] = defaultdict(list)
    for charge in charges:
        groups[charge.endpoint, _unit_price(charge)].append(charge)
    lines = []
    for (endpoint, unit_price), group in sorted(groups.items()):
        cost = float(sum((charge.usd for charge in group), Decimal(0)))
        lines.append(
            {
                "endpoint_id": endpoint,
                "unit": UNIT,
                "quantity": _number(sum((charge.units for charge in group), Decimal(0))),
                "unit_price": unit_price,
                "percent_discount": None,
                "cost_subtotal": cost,
                "cost_discount": 0,
                "cost_total": cost,
                "cost": cost,
                "currency": "USD",
            }
        )
    return lines


def _unit_price(charge: Charge) -> float:
    # The price of that day: the knob may have changed it since.
    return float(charge.usd / charge.units) if charge.units else 0.0


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _bucket(at: float, frame: str) -> str:
    moment = datetime.fromtimestamp(at, UTC).replace(second=0, microsecond=0)
    if frame != "minute":
        moment = moment.replace(minute=0)
    if frame in ("day", "week", "month"):
        moment = moment.replace(hour=0)
    if frame == "week":
        moment -= timedelta(days=moment.weekday())
    elif frame == "month":
        moment = moment.replace(day=1)
    return moment.isoformat()
