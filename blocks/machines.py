"""Whether the flow run around us says that several machines share its work."""

import os
from typing import Any, Final
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext

ONE_MACHINE_POOLS: Final = ("process", "prefect-agent")
"""Types of work pools whose runs start beside their worker. All others start containers or machines."""

_pool_types: dict[str, str] = {}


async def several_machines() -> str | None:
    """How the run says so, as the beginning of a sentence; None where it does not, or cannot be asked."""
    context = FlowRunContext.get()
    runner = runs_on_others(context.task_runner) if context is not None else None
    return runner or await _remote_pool(context)


def runs_on_others(runner: Any) -> str | None:
    """A Dask or Ray cluster that is not this machine's own: one by its address, or of another kind than local."""
    name = type(runner).__name__
    if name == "RayTaskRunner":
        address = getattr(runner, "address", None)
        return None if address in (None, "", "local") else "the tasks of this run go to a Ray cluster"
    if name != "DaskTaskRunner":
        return None
    kind = getattr(runner, "resolved_cluster_class", None)
    cluster = getattr(runner, "_cluster", None)
    kinds = [each for each in (kind, type(cluster) if cluster is not None else None) if each is not None]
    is_local = all(getattr(each, "__name__", "") == "LocalCluster" for each in kinds)
    # With a cluster of its own at work, `address` names that one.
    if is_local and (kinds or not getattr(runner, "address", None)):
        return None
    return "the tasks of this run go to a Dask cluster"


async def _remote_pool(context: FlowRunContext | None) -> str | None:
    run = context.flow_run if context is not None else None
    pool = run.work_pool_name if run is not None else None
    # A flow inside a flow has no pool of its own: the run that a worker started is named in its environment.
    root = os.environ.get("PREFECT__FLOW_RUN_ID")
    if pool is None and (root is None or (run is not None and str(run.id) == root)):
        return None
    try:
        async with get_client() as client:
            if pool is None:
                pool = (await client.read_flow_run(UUID(root))).work_pool_name
            if pool is None:
                return None
            if pool not in _pool_types:
                _pool_types[pool] = (await client.read_work_pool(pool)).type
    except Exception:
        # A check of the settings must not fail a run over a server that does not answer this moment.
        return None
    kind = _pool_types[pool]
    if kind in ONE_MACHINE_POOLS:
        return None
    return f"the work pool {pool} is of type {kind}, whose runs do not share a disk"
