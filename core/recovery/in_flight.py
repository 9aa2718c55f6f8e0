"""Asking fal once about everything that is in flight and in nobody's hands, where no webhook can reach.

Nothing waits and nothing is taken: what fal says is a fact, and the ledger takes facts from anybody. Nothing is
submitted here.
"""

import asyncio
from contextlib import suppress
from typing import Final

from pydantic import BaseModel

from prefect_ltx.fal import (
    FalError,
    FalGenerationCancelled,
    FalGenerationFailed,
    FalNotFound,
    FalValidationError,
)
from prefect_ltx.generation.services import Services, in_thread
from prefect_ltx.generation.wait import find_again, read_result
from prefect_ltx.ledger import Generation, State

ASKED_AT_ONCE: Final = 8


class InFlightReport(BaseModel):
    """What one round of questions found; lists hold ledger ids."""

    asked: int = 0
    in_flight: int = 0
    """How many are not done yet, or could not be asked about."""
    completed: list[str] = []
    failed: list[str] = []
    cancelled: list[str] = []
    lost: list[str] = []
    notes: list[str] = []
    """What went wrong with asking; the next round asks again."""


async def ask_in_flight(services: Services) -> InFlightReport:
    """Ask fal once about each submitted generation that no living run holds, and record how those that are done
    ended.

    Raises:
        LedgerError: the ledger cannot be read or written.
    """
    report = InFlightReport()
    turn = asyncio.Semaphore(ASKED_AT_ONCE)

    async def ask(row: Generation) -> None:
        async with turn:
            try:
                await _ask(services, row)
            except FalError as error:
                report.notes.append(f"{row.id}: {error}")
            after = await in_thread(services.ledger.get, row.id)
        if after.state is State.SUBMITTED:
            report.in_flight += 1
            return
        group = {State.FAILED: report.failed, State.CANCELLED: report.cancelled, State.LOST: report.lost}
        group.get(after.state, report.completed).append(after.id)

    rows = await in_thread(services.ledger.unheld, [State.SUBMITTED])
    report.asked = len(rows)
    async with asyncio.TaskGroup() as group:
        for row in rows:
            group.create_task(ask(row))
    return report


async def _ask(services: Services, row: Generation) -> None:
    assert row.request_id is not None
    try:
        status = await services.client.status(row.endpoint, row.request_id, logs=False)
    except FalNotFound as error:
        await find_again(services, row, error)
        return
    if status.status == "COMPLETED":
        # These say how it ended, and are recorded already.
        with suppress(FalValidationError, FalGenerationFailed, FalGenerationCancelled):
            await read_result(services, row)
