"""The Platform API's catalogue: models, prices, estimates, meta (fal-protocol §7.1)."""

from decimal import Decimal, InvalidOperation
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from prefect_ltx.local import listing
from prefect_ltx.local.apiparams import api_account, choice_of, page_of, paged, values_of
from prefect_ltx.local.catalogue import UNIT, models
from prefect_ltx.local.errors import ApiError
from prefect_ltx.local.jsonbody import json_object
from prefect_ltx.local.replies import json_reply
from prefect_ltx.local.site import site_of
from prefect_ltx.local.validation import served

router = APIRouter(prefix="/v1")


@router.get("/meta")
async def meta(request: Request) -> Response:
    """Where webhooks come from; no key needed."""
    return json_reply({"webhook_ip_ranges": ["127.0.0.1/32", "::1/128"]})


@router.get("/models")
async def list_models(request: Request) -> Response:
    """Both endpoints, with filters; `expand=openapi-3.0` adds the schema of their input."""
    api_account(request)
    limit, offset, _ = page_of(request, default=50, most=100)
    wanted = values_of(request, "endpoint_id")
    text = request.query_params.get("q", "").lower()
    category = request.query_params.get("category")
    status = choice_of(request, "status", ("active", "deprecated"))
    found = [
        model
        for model in models(with_openapi="openapi-3.0" in values_of(request, "expand"))
        if (not wanted or model["endpoint_id"] in wanted)
        and text in f"{model['endpoint_id']} {model['metadata']['description']}".lower()
        and category in (None, model["metadata"]["category"])
        and status in (None, model["metadata"]["status"])
    ]
    return json_reply(paged("models", found[offset : offset + limit + 1], limit=limit, offset=offset))


@router.get("/models/pricing")
async def pricing(request: Request) -> Response:
    """The unit price of each asked endpoint; an unknown one is a 404."""
    api_account(request)
    if fault := site_of(request).fault("prices_down", request):
        raise ApiError("server_error", "Internal server error", status=int(fault.value or 503))
    wanted = values_of(request, "endpoint_id")
    if not wanted:
        raise ApiError("validation_error", "endpoint_id: required")
    _check_endpoints(wanted)
    price = float(site_of(request).unit_price)
    prices = [
        {"endpoint_id": endpoint, "unit_price": price, "unit": UNIT, "currency": "USD"} for endpoint in wanted
    ]
    return json_reply(paged("prices", prices, limit=len(prices), offset=0))


@router.post("/models/pricing/estimate")
async def estimate(request: Request) -> Response:
    """What so many units or calls would cost; the price of a call is the mean of this account's own."""
    account = api_account(request)
    body = await json_object(request)
    kind, endpoints = body.get("estimate_type"), body.get("endpoints")
    if kind not in ("unit_price", "historical_api_price") or not isinstance(endpoints, dict) or not endpoints:
        raise ApiError("validation_error", "estimate_type and endpoints are required")
    _check_endpoints(list(endpoints))
    total = Decimal(0)
    for endpoint, wish in endpoints.items():
        if kind == "unit_price":
            total += _quantity(wish, "unit_quantity") * site_of(request).unit_price
        else:
            total += _quantity(wish, "call_quantity") * await _mean_price(request, account, endpoint)
    return json_reply({"estimate_type": kind, "total_cost": float(total), "currency": "USD"})


def _check_endpoints(endpoints: list[str]) -> None:
    unknown = [endpoint for endpoint in endpoints if endpoint not in served()]
    if unknown:
        raise ApiError("not_found", f"Endpoint not found: {', '.join(unknown)}")


def _quantity(wish: Any, name: str) -> Decimal:
    try:
        quantity = Decimal(str(wish[name]))
    except (TypeError, KeyError, InvalidOperation):
        quantity = Decimal(0)
    if not quantity.is_finite() or quantity <= 0:
        raise ApiError("validation_error", f"{name}: a number above zero")
    return quantity


async def _mean_price(request: Request, account: str, endpoint: str) -> Decimal:
    site = site_of(request)
    charges = await site.store.call(
        listing.list_charges, account, start=0, end=site.now(), endpoints=[endpoint]
    )
    return sum((charge.usd for charge in charges), Decimal(0)) / max(len(charges), 1)
