"""Steps that several tests of a generation take."""

from typing import Any

from prefect_ltx.fal import IngredientRequest
from prefect_ltx.generation import (
    PlannedGeneration,
    Services,
    in_thread,
    ledger_plan,
    prepare,
    submit_once,
    upload,
)
from prefect_ltx.ledger import Generation, Owner


async def planned(
    services: Services, request: IngredientRequest, owner: Owner
) -> tuple[PlannedGeneration, Any]:
    plan, settled, inputs = await prepare(services, request, owner=owner)
    urls = {field: (await upload(services, str(media.path))).url for field, media in inputs.items()}
    return plan, ledger_plan(plan, settled.with_media(urls).body(), flow_run_id=None, tags=())


async def submitted(services: Services, request: IngredientRequest, owner: Owner | None = None) -> Generation:
    owner = owner or Owner.here()
    _, plan = await planned(services, request, owner)
    found = await submit_once(services, plan, owner)
    return await in_thread(services.ledger.get, found.id)
