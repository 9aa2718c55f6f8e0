"""The page at `/`: what this is, what it serves, what it has billed."""

import asyncio
from html import escape

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from prefect_ltx.local.bill import Bill
from prefect_ltx.local.faults import KNOWN
from prefect_ltx.local.jobs import jobs_of
from prefect_ltx.local.origin import origin_of
from prefect_ltx.local.site import site_of
from prefect_ltx.local.validation import MODELS

_SHOWN = 50

router = APIRouter()


@router.get("/")
async def page(request: Request) -> Response:
    """HTML for a person."""
    site, origin = site_of(request), origin_of(request)
    charges = await asyncio.to_thread(lambda: Bill(site.data).charges)
    lines = "".join(
        f"<tr><td>{escape(charge.request_id)}<td>{escape(charge.endpoint)}<td>{charge.units}<td>${charge.usd}"
        for charge in reversed(charges[-_SHOWN:])
    )
    active = {fault.name for fault in site.faults}
    faults = "".join(
        f"<tr><td><code>{name}</code><td>{'on' if name in active else ''}<td>{escape(kind.sentence)}"
        for name, kind in KNOWN.items()
    )
    endpoints = "".join(
        f"<li><code>POST {escape(origin.url('queue', '/' + endpoint))}</code>" for endpoint in MODELS
    )
    return HTMLResponse(f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>prefect-ltx: the embedded fal</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
table{{border-collapse:collapse;font-size:.9em}}td{{border-top:1px solid #ccc;padding:.2rem .8rem .2rem
0}}</style> <h1>The embedded fal of prefect-ltx</h1> <p><strong>This is a stand-in, not the model.</strong>
It speaks fal's protocol for trying, testing and rehearsing, and renders its clips with ffmpeg. Nothing here
costs money, and nothing here was made by LTX. <h2>Endpoints</h2><ul>{endpoints} <li><code>POST
{escape(origin.url("run", "/" + next(iter(MODELS))))}</code> (synchronous) <li><code>GET
{escape(origin.url("api", "/v1/models"))}</code> <li><code>GET {
        escape(origin.url("rest", "/.well-known/jwks.json"))
    }</code> <li><code>GET /_local/faults</code>, <code>/_local/log</code>,
<code>/_local/bill</code>, <code>/_local/requests</code> </ul> <h2>Bill</h2><p>{len(charges)} charges,
${sum(charge.usd for charge in charges)} in all; {jobs_of(request).waiting} waiting. <table>{lines}</table>
<h2>Faults</h2><table>{faults}</table></html>""")
