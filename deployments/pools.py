"""The work pool and its queues: made where they are missing, left alone where they are there."""

from collections.abc import Iterable

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from prefect_ltx.deployments.changes import Change

QUEUE_LIMIT = 10
"""Runs of one queue at once. A burst of events must not become a burst of processes."""

_TYPE_HINT = "made as a process pool; make one of another type before this command to use it"


async def ensure_pools(
    client: PrefectClient, places: Iterable[tuple[str, str | None]], *, dry_run: bool
) -> list[Change]:
    """Make every (pool, queue) that is missing. An existing one keeps its type, its limits and its switches."""
    changes: list[Change] = []
    missing: set[str] = set()
    for pool in dict.fromkeys(pool for pool, _ in places):
        change = await _pool(client, pool, dry_run=dry_run)
        if change.what == "created":
            missing.add(pool)
        changes.append(change)
    for pool, queue in dict.fromkeys(places):
        if queue is not None:
            changes.append(await _queue(client, pool, queue, new=pool in missing, dry_run=dry_run))
    return changes


async def _pool(client: PrefectClient, name: str, *, dry_run: bool) -> Change:
    try:
        found = await client.read_work_pool(name)
    except ObjectNotFound:
        if dry_run:
            return Change(kind="work pool", name=name, what="created", note=_TYPE_HINT)
        made = await client.create_work_pool(
            WorkPoolCreate(
                name=name,
                type="process",
                description="Runs of prefect-ltx.",
                base_job_template=ProcessWorker.get_default_base_job_template(),
            )
        )
        return Change(kind="work pool", name=name, what="created", id=str(made.id), note=_TYPE_HINT)
    return Change(kind="work pool", name=name, what="unchanged", id=str(found.id), note=found.type)


async def _queue(client: PrefectClient, pool: str, name: str, *, new: bool, dry_run: bool) -> Change:
    label = f"{pool}/{name}"
    if not (new and dry_run):
        try:
            found = await client.read_work_queue_by_name(name, work_pool_name=pool)
            return Change(kind="work queue", name=label, what="unchanged", id=str(found.id))
        except ObjectNotFound:
            pass
    note = f"at most {QUEUE_LIMIT} runs at once"
    if dry_run:
        return Change(kind="work queue", name=label, what="created", note=note)
    made = await client.create_work_queue(name, concurrency_limit=QUEUE_LIMIT, work_pool_name=pool)
    return Change(kind="work queue", name=label, what="created", id=str(made.id), note=note)
