"""A person's cancel reaches the paid job even where the flow's process is dead already."""

from typing import Any

from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow

from prefect_ltx.blocks.services import BlockNames, services_for
from prefect_ltx.ledger import Owner
from prefect_ltx.tasks.context import run_logger
from prefect_ltx.tasks.wait import cancel_generations_of


# Prefect calls it by keyword, in another process, after the flow's own is dead: the names are fixed, and all it
# knows is the run's id and parameters (reference prefect §10).
async def cancel_paid_job(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Cancel what the flow run has at fal, found through the ledger. Idempotent."""
    given = {name: flow_run.parameters.get(name) or "" for name in ("credentials", "ledger", "archive")}
    async with services_for(BlockNames(**given), checked=False) as services:
        for generation in await cancel_generations_of(services, str(flow_run.id), Owner.here()):
            run_logger().warning("Generation %s was cancelled: %s now", generation.id, generation.state)
