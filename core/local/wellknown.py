"""The public keys of webhooks."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

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
