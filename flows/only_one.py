"""Upkeep that needs no second run beside it: the second says so and ends, as a success that did nothing."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.runtime import deployment, flow_run

from prefect_ltx.tasks.context import run_logger

STALE = timedelta(hours=6)
"""A run that began so long ago is a dead one that nobody has marked yet."""


async def another_run() -> str:
    """What to say where another run of this deployment does the work already; empty where this one is to do it.

    A run without a deployment was started by a person, who means it. Two that begin at once agree on the earlier one.
    """
    if not deployment.id or not flow_run.id:
        return ""
    mine = UUID(str(flow_run.id))
    running = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[UUID(str(deployment.id))]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])),
    )
    try:
        async with get_client() as client:
            runs = await client.read_flow_runs(flow_run_filter=running, limit=50)
    except Exception as error:  # it is safe twice at once, so it goes on
        run_logger().debug("Other runs could not be asked for: %s", type(error).__name__)
        return ""
    since = datetime.now(UTC) - STALE
    alive = [each for each in runs if each.id == mine or (each.start_time and each.start_time > since)]
    first = min(alive, key=_began, default=None)
    if first is None or first.id == mine:
        return ""
    return f"The run {first.name} is at it already: nothing was done here, and nothing has to be"


def _began(run: FlowRun) -> tuple[datetime, str]:
    return (run.start_time or datetime.max.replace(tzinfo=UTC), str(run.id))
