"""The page at `/`: what this is, what it serves, what it has billed."""

import asyncio
from decimal import Decimal
from html import escape
from string import Template
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from prefect_ltx.local.bill import Bill
from prefect_ltx.local.fault_table import KNOWN
from prefect_ltx.local.jobs import jobs_of
from prefect_ltx.local.origin import origin_of
from prefect_ltx.local.site import site_of
from prefect_ltx.local.validation import served

_SHOWN: Final = 50

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>prefect-ltx: the embedded fal</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; font-size: .9em }
td { border-top: 1px solid #ccc; padding: .2rem .8rem .2rem 0; vertical-align: top }
</style>
<h1>The embedded fal of prefect-ltx</h1>
<p><strong>This is a stand-in, not the model.</strong> It speaks fal's protocol for trying, testing and
rehearsing, and renders its clips with ffmpeg. Nothing here costs money, and nothing here was made by LTX.
<h2>Endpoints</h2>
<ul>$endpoints</ul>
<h2>Bill</h2>
<p>$count charges, $total in all; $waiting waiting.
<table>$charges</table>
<h2>Faults</h2>
<table>$faults</table>
</html>
""")

router = APIRouter()


@router.get("/")
async def page(request: Request) -> Response:
    """HTML for a person."""
    site, origin = site_of(request), origin_of(request)
    bill = await asyncio.to_thread(lambda: Bill(site.data).charges)
    active = {fault.name for fault in site.faults}
    routes = [
        *(f"POST {origin.url('queue', f'/{endpoint}')}" for endpoint in served()),
        *(f"POST {origin.url('run', f'/{endpoint}')}" for endpoint in served()),
        f"GET {origin.url('api', '/v1/models')}",
        f"GET {origin.url('rest', '/.well-known/jwks.json')}",
        *(f"GET /_local/{name}" for name in ("faults", "log", "bill", "requests")),
    ]
    return HTMLResponse(
        _PAGE.substitute(
            endpoints="".join(f"<li><code>{escape(route)}</code>" for route in routes),
            count=len(bill),
            total=_dollars(sum((charge.usd for charge in bill), Decimal(0))),
            waiting=jobs_of(request).waiting,
            charges="".join(
                _row(charge.request_id, charge.endpoint, f"{charge.units} MP", _dollars(charge.usd))
                for charge in reversed(bill[-_SHOWN:])
            ),
            faults="".join(
                _row(name, "on" * (name in active), kind.sentence) for name, kind in KNOWN.items()
            ),
        )
    )


def _row(*cells: str) -> str:
    return "<tr>" + "".join(f"<td>{escape(cell)}" for cell in cells)


def _dollars(usd: Decimal) -> str:
    return f"${usd.normalize():f}"
