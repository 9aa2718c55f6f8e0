"""A JSON object from the body of a request."""

import json
from typing import Any

from starlette.requests import Request

from prefect_ltx.local.errors import Refusal


async def json_object(request: Request) -> dict[str, Any]:
    """The body as an object; an empty one counts as `{}`.

    Raises:
        Refusal: 400.
    """
    try:
        body = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Refusal(400, {"detail": "Request body is not a JSON object"})
    return body
