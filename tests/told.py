"""What Prefect's event log was told, read from its API."""

import asyncio
from typing import Any

from prefect.client.orchestration import get_client


async def told(count: int = 1, **resource: list[str]) -> list[dict[str, Any]]:
    """Events by resource (`id=[…]` or `id_prefix=[…]`), the oldest first, once there are `count`, and a moment after.

    The moment shows what should not have come.
    """
    wanted = {"filter": {"resource": resource, "order": "ASC"}, "limit": 50}
    async with get_client() as client, asyncio.timeout(90):
        while True:
            found = (await client._client.post("/events/filter", json=wanted)).json()["events"]
            if len(found) >= count:
                await asyncio.sleep(0.5)
                answer = await client._client.post("/events/filter", json=wanted)
                return list(answer.json()["events"])
            await asyncio.sleep(0.2)
