"""What a task knows of its run: whose work it is, where its log goes, whether a person cancelled it."""

import asyncio
import logging
from uuid import UUID

from prefect import get_client, get_run_logger
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import MissingContextError
from prefect.runtime import flow_run

from prefect_ltx.ledger import Owner

_owners: dict[str, Owner] = {}


def current_owner() -> Owner:
    """Who works: one owner a flow run in this process, so that its tasks share a generation's lease."""
    run_id = flow_run_id()
    if run_id is None:
        return Owner.here(announces_posts=True)
    return _owners.setdefault(run_id, Owner.here(announces_posts=True))


def flow_run_id() -> str | None:
    """The flow run around this task; None outside of one."""
    found = flow_run.id
    return str(found) if found else None


def run_logger() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    """The run's logger; a plain one where a task is called outside of a run."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("prefect_ltx")


async def cancelled_by_person(run_id: str | None) -> bool:
    """Whether a person cancelled the flow run, or the one that it is a subflow of, in the UI or by the API.

    A worker that is stopped, a deploy or a crash looks the same inside the process; only the run's state on the
    server tells (reference prefect §10). Where the server does not answer, it was not a person: keeping a paid
    job costs nothing more, since the next run collects it.
    """
    if run_id is None:
        return False
    try:
        async with asyncio.timeout(10), get_client() as client:
            run = await client.read_flow_run(UUID(run_id))
            while not _cancelled(run.state) and run.parent_task_run_id is not None:
                task = await client.read_task_run(run.parent_task_run_id)
                if task.flow_run_id is None:
                    return False
                run = await client.read_flow_run(task.flow_run_id)
    except Exception:
        return False
    return _cancelled(run.state)


def _cancelled(state: State[object] | None) -> bool:
    return state is not None and state.type in (StateType.CANCELLING, StateType.CANCELLED)
