"""A person's cancel reaches the paid jobs even where the flow's process is dead already, those of its subflows too."""

from typing import Any

from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.logging.loggers import flow_run_logger

from prefect_ltx.blocks.services import BlockNames, services_for
from prefect_ltx.ledger import Owner
from prefect_ltx.tasks.context import run_logger
from prefect_ltx.tasks.wait import cancel_generations_of, told


# Prefect calls it by keyword, in another process, after the flow's own is dead: the names are fixed, and all it
# knows is the run's id and parameters (reference prefect §10).
async def cancel_paid_job(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Cancel what the flow run and its subflows have at fal, found through the ledger. Idempotent."""
    # The process that this runs in has no run: the run's own log is named.
    log = flow_run_logger(flow_run, flow)
    given = {name: flow_run.parameters.get(name) or "" for name in ("credentials", "ledger", "archive")}
    async with services_for(BlockNames(**given), checked=False) as services:
        for run_id in [str(flow_run.id), *await _subflows(flow_run)]:
            for generation in await cancel_generations_of(services, run_id, Owner.here()):
                log.warning("%s", told(generation))


async def _subflows(run: FlowRun) -> list[str]:
    """Ids of the runs that this run started and waited for."""
    children = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]))
    try:
        async with get_client() as client:
            return [str(each.id) for each in await client.read_flow_runs(flow_run_filter=children)]
    except Exception as error:  # its own generations are cancelled all the same
        run_logger().warning("Its subflows could not be asked for: %s", type(error).__name__)
        return []
