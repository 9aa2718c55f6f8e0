"""Asking fal once about everything that is in flight and that no live owner holds, where no webhook can reach.

Nothing waits and nothing is taken: what fal says is a fact, and the ledger takes facts from anybody. Nothing is
submitted here, and one generation's trouble never stops the others.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Final

from pydantic import BaseModel

from prefect_ltx.fal import (
    FalError,
    FalGenerationCancelled,
    FalGenerationFailed,
    FalNotFound,
    FalUnavailable,
    FalValidationError,
    plain,
)
from prefect_ltx.generation.asking import (
    ask_about_lost,
    find_again,
    question_about,
    read_result,
    settle_unsaid,
)
from prefect_ltx.generation.errors import GenerationStopped, no_request
from prefect_ltx.generation.services import Services
from prefect_ltx.ledger import Generation, LedgerError, State
from prefect_ltx.ledger.life.evidence import about, is_about, is_due

ASKED_AT_ONCE: Final = 8

logger = logging.getLogger("prefect_ltx.recovery")


class InFlightReport(BaseModel):
    """What one round of questions found; lists hold ledger ids."""

    asked: int = 0
    in_flight: int = 0
    """How many are not done yet, or could not be asked about."""
    other_accounts: int = 0
    """How many belong to other accounts or services, which only their own key may ask about."""
    completed: list[str] = []
    failed: list[str] = []
    cancelled: list[str] = []
    lost: list[str] = []
    """What fal said more than once that it no longer has; asked about again for a week."""
    broken: list[str] = []
    """What stopped at an error that nobody expected; everything else was asked about."""
    notes: list[str] = []
    """What went wrong with asking; the next round asks again."""


async def ask_in_flight(services: Services) -> InFlightReport:
    """Ask fal once about each submitted or lost generation of this account that no living run holds, and record how
    those that are done ended. One that fal fails to say anything about is asked after pauses that grow.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    report = InFlightReport()
    turn = asyncio.Semaphore(ASKED_AT_ONCE)
    rows = await services.ledger.unheld([State.SUBMITTED, State.LOST])
    own = [row for row in rows if _is_ours(services, row)]
    due = [row for row in own if is_due(row, services.runtime.time())]
    report.other_accounts = len(rows) - len(own)
    report.asked, report.in_flight = len(due), len(own) - len(due)
    async with asyncio.TaskGroup() as group:
        for row in due:
            group.create_task(_one(services, row, report, turn))
    return report


def _is_ours(services: Services, row: Generation) -> bool:
    return is_about(about(row, account=services.account, service=services.service.id), row)


async def _one(services: Services, row: Generation, report: InFlightReport, turn: asyncio.Semaphore) -> None:
    after = row
    try:
        async with turn:
            try:
                await _ask(services, row)
            except (FalError, GenerationStopped) as error:
                report.notes.append(f"{row.id}: {error}")
            after = await services.ledger.get(row.id)
    except LedgerError as error:
        report.notes.append(f"{row.id}: {error}")
    except Exception as error:
        # Only type and text: a traceback may quote signed URLs.
        logger.error("Generation %s: unexpected %s: %s", row.id, type(error).__name__, plain(error))
        report.broken.append(f"{row.id}: unexpected {type(error).__name__}: {plain(error)}")
    if after.state is State.SUBMITTED:
        report.in_flight += 1
        return
    groups = {State.FAILED: report.failed, State.CANCELLED: report.cancelled, State.LOST: report.lost}
    groups.get(after.state, report.completed).append(after.id)


async def _ask(services: Services, row: Generation) -> None:
    if row.state is State.LOST:
        await ask_about_lost(services, row)
        return
    if row.request_id is None:
        raise no_request(row)
    question = question_about(services, row)
    try:
        status = await services.client.status(row.endpoint, row.request_id, logs=False)
    except FalNotFound as error:
        await find_again(services, question, row, "status", error)
        return
    if status.status != "COMPLETED":
        return
    # These say how it ended, and are recorded already.
    with suppress(FalValidationError, FalGenerationFailed, FalGenerationCancelled):
        try:
            await read_result(services, row)
        except FalUnavailable as error:
            await settle_unsaid(services, row, error)
