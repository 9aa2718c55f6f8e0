"""A worker of its own process: for each line of JSON with a seed it submits that request, and says what came of it."""

import asyncio
import json
import sys
from typing import Any

from generation_parts import submitted

from prefect_ltx.fal import IngredientRequest
from prefect_ltx.generation import Services
from prefect_ltx.ledger import BudgetExceeded, Owner
from prefect_ltx.settings import Settings


async def work(services: Services, base: dict[str, Any], line: str) -> dict[str, Any]:
    request = IngredientRequest.model_validate(base | json.loads(line))
    try:
        generation = await submitted(services, request, Owner.here(announces_posts=True))
    except BudgetExceeded:
        return {"request_id": None}
    return {"request_id": generation.request_id}


async def main() -> None:
    base = json.loads(sys.argv[1])
    async with Services.from_settings(Settings()) as services:
        print("ready", flush=True)
        for line in sys.stdin:
            print(json.dumps(await work(services, base, line)), flush=True)


asyncio.run(main())
