"""What is public under `/.well-known`: the keys of webhooks, and by what a client knows the embedded fal."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from prefect_ltx.local.errors import Refusal
from prefect_ltx.local.replies import json_reply
from prefect_ltx.local.site import site_of
from prefect_ltx.local.webhooks import Webhooks

router = APIRouter()


@router.get("/.well-known/jwks.json")
async def jwks(request: Request) -> Response:
    """A JSON Web Key Set with the Ed25519 keys."""
    if fault := site_of(request).fault("jwks_5xx", request):
        return json_reply({"detail": "Internal error"}, status=int(fault.value or 503))
    webhooks: Webhooks = request.app.state.webhooks
    return json_reply(webhooks.jwks, headers={"cache-control": "public, max-age=86400"})


@router.get("/.well-known/prefect-ltx-local-fal")
async def identity(request: Request) -> Response:
    """Who this is: an id that stays with the data folder, the port it listens on, and how its listing is.

    No key is needed. `port` is the socket's own, whatever the Host header says: behind a proxy it differs from
    the one in the client's URL, and then nothing of this may be believed.
    """
    site = site_of(request)
    if site.fault("unidentified", request):
        raise Refusal(404, {"detail": "Not Found"})
    hides = any(site.faults.is_on(knob) for knob in ("listing_hides_queued", "listing_by_ended_at"))
    return json_reply(
        {
            "prefect_ltx_local_fal": site.id,
            "port": request.scope["server"][1],
            "listing_lag_seconds": site.faults.value("listing_lag_seconds") or 0,
            "lists_unfinished": not hides,
        }
    )
