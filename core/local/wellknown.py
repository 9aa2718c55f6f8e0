"""The public keys of webhooks."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from prefect_ltx.local.replies import json_reply
from prefect_ltx.local.webhooks import Webhooks

router = APIRouter()


@router.get("/.well-known/jwks.json")
async def jwks(request: Request) -> Response:
    """A JSON Web Key Set with one Ed25519 key."""
    webhooks: Webhooks = request.app.state.webhooks
    return json_reply(webhooks.jwks, headers={"cache-control": "public, max-age=86400"})
