"""Everything one running embedded fal consists of, in one place for its routes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import httpx
from starlette.requests import Request

from prefect_ltx.fal import UNIT_PRICE_USD
from prefect_ltx.local.auth import Keys
from prefect_ltx.local.faults import Fault, Faults
from prefect_ltx.local.filestore import FileStore
from prefect_ltx.local.ids import new_request_id
from prefect_ltx.local.outbound import outbound_client
from prefect_ltx.local.renderer import Renderer
from prefect_ltx.local.requestlog import RequestLog
from prefect_ltx.local.rows import Charge, RequestRow
from prefect_ltx.local.store import Store
from prefect_ltx.runtime import THIS_MACHINE, Runtime


@dataclass
class Site:
    """The parts. `id` is the data folder's own; `accounts` are the accounts of key ids
    that are told, None for a revoked one; `runtime` is whose clocks and chance are used,
    `outbound` makes the HTTP client for other servers; `fallbacks` are the requests that another
    endpoint answered; `closing` is set when the server has begun to stop, so that
    waits end."""

    id: str
    data: Path
    store: Store
    files: FileStore
    keys: Keys
    faults: Faults
    renderer: Renderer
    render_seconds: float
    concurrency: int
    log: RequestLog
    accounts: dict[str, str | None]
    runtime: Runtime = THIS_MACHINE
    outbound: Callable[..., httpx.AsyncClient] = outbound_client
    fallbacks: dict[str, Fault] = field(default_factory=dict)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def unit_price(self) -> Decimal:
        """Dollars a megapixel, with the knob of that name."""
        value = self.faults.value("unit_price")
        return UNIT_PRICE_USD if value is None else Decimal(str(value))

    def billed_price(self, row: RequestRow) -> Decimal:
        """Dollars a megapixel on the bill of this request, with the knobs that part it from the price list."""
        other = self.faults.value("billed_unit_price")
        price = self.unit_price if other is None else Decimal(str(other))
        fallback = self.fallbacks.get(row.request_id)
        return price * Decimal(f"{fallback.value or 1:g}") if fallback else price

    def endpoint_shown(self, row: RequestRow | Charge) -> str:
        """The endpoint that did it, as listing and bill name it."""
        fallback = self.fallbacks.get(row.request_id)
        return row.endpoint if fallback is None else str(fallback.to or f"{row.endpoint}/fallback")

    def now(self) -> float:
        """Unix seconds by fal's clock, which the knob `date_skew` sets apart from this machine's."""
        return self.runtime.time() + (self.faults.value("date_skew") or 0)

    def new_request_id(self) -> str:
        """An id for a request that arrives now."""
        return new_request_id(self.now(), self.runtime)

    def fault(self, name: str, request: Request, endpoint: str = "") -> Fault | None:
        """The fault of this name if it acts on this HTTP request."""
        return self.faults.take(name, endpoint=endpoint, path=request.url.path)


def site_of(request: Request) -> Site:
    """The site that an HTTP request came to."""
    site: Site = request.app.state.site
    return site
