"""Rows of a batch as Prefect sees them: a task run a row for a small batch, a task run a chunk for a large one.

A task run costs a Prefect server 25 to 30 ms of CPU (reference prefect §7), so a thousand of them cost more than
the work itself. What a row does is the same in both: `BatchRun.do`.
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from prefect_ltx.batch import BatchReport, BatchRun, RowResult
from prefect_ltx.generation import Services, cancel
from prefect_ltx.ledger import Generation, Owner
from prefect_ltx.ledger import State as LedgerState
from prefect_ltx.tasks.context import run_logger
from prefect_ltx.tasks.events import emit

CANCEL_AT_ONCE = 8

_running: ContextVar[BatchRun] = ContextVar("prefect_ltx_batch")


@contextmanager
def running(batch: BatchRun) -> Iterator[None]:
    """Make `batch` the one whose rows the tasks of this context carry out; it cannot be a task's parameter."""
    token = _running.set(batch)
    try:
        yield
    finally:
        _running.reset(token)


@task(name="generate row", task_run_name="row {place}: {label}", cache_policy=NO_CACHE, persist_result=False)
async def generate_row(place: int, label: str) -> State[Any]:
    """One row of the running batch; its task run is Completed, Cached (paid for before), or Failed with the reason."""
    batch = _running.get()
    result = await batch.do(batch.rows[place - 1])
    if not result.ok:
        return Failed(message=f"{result.status}: {result.reason}")
    if result.status == "reused" or result.same_as is not None:
        return Completed(name="Cached", message="paid for before; nothing was sent")
    return Completed(message=f"request {result.request_id}")


@task(
    name="generate rows", task_run_name="rows {first} to {last}", cache_policy=NO_CACHE, persist_result=False
)
async def generate_rows(first: int, last: int) -> State[Any]:
    """A chunk of the running batch as one task run: its rows are in the ledger, the events and the table."""
    batch = _running.get()
    results = await asyncio.gather(*(batch.do(each) for each in batch.rows[first - 1 : last]))
    failed = [each for each in results if not each.ok]
    for each in failed[:20]:
        run_logger().warning("Row %d (%s) %s: %s", each.row, each.where, each.status, each.reason)
    if len(failed) > 20:
        run_logger().warning("… and %d more rows", len(failed) - 20)
    return Completed(message=f"{len(results) - len(failed)} of {len(results)} rows are in the archive")


def announce(result: RowResult, batch: str) -> None:
    """Tell Prefect's event log how a row ended, so that automations can follow single rows."""
    emit(
        f"ltx.row.{result.status}",
        f"ltx.batch.{slug(batch)}.row.{result.row}",
        name=f"batch {batch}, row {result.row}",
        payload={"batch": batch, **result.model_dump(mode="json", exclude={"video"})},
    )


def announce_end(report: BatchReport) -> None:
    """Tell Prefect's event log that a batch ended, and how: `ltx.batch.finished`."""
    emit(
        "ltx.batch.finished",
        f"ltx.batch.{slug(report.name)}",
        name=f"batch {report.name}",
        labels={"ltx.ok": str(report.ok).lower()},
        payload={
            "batch": report.name,
            "ok": report.ok,
            "rows": len(report.rows),
            "counts": dict(report.counts),
            "spent_usd": str(report.spent_usd),
            "seconds": round(report.seconds, 1),
            "archive": report.archive,
        },
    )


def slug(name: str) -> str:
    """A name as part of an artifact key: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "batch"


async def cancel_batch(services: Services, run_id: str | None, keys: set[str]) -> list[Generation]:
    """Cancel what a flow run has at fal: its own generations, and those of `keys` that it took over from others."""
    found: dict[str, Generation] = {}
    if run_id is not None:
        found |= {each.id: each for each in await services.ledger.find(flow_run_id=run_id, live=True)}
    for key in keys:
        found |= {each.id: each for each in await services.ledger.find(key=key, live=True)}
    turn = asyncio.Semaphore(CANCEL_AT_ONCE)

    async def one(generation: Generation) -> Generation:
        async with turn:
            return await cancel(
                services, generation.id, Owner.here(announces_posts=True), by="flow run cancelled"
            )

    open_ones = [each for each in found.values() if each.state in _OPEN]
    ended = await asyncio.gather(*(one(each) for each in open_ones), return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            # It is recorded that it is to be cancelled: the sweep asks again.
            run_logger().warning("A cancel did not get through, the sweep repeats it: %s", error)
    return [each for each in ended if isinstance(each, Generation)]


_OPEN = (LedgerState.INTENDED, LedgerState.UNKNOWN, LedgerState.SUBMITTED)
