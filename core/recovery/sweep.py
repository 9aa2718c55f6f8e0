"""Going through everything that was paid for and not archived, and bringing each to its end.

Safe at any time, beside everything else and twice at once: each generation is worked on under its lease, what a
living run holds is left alone, and nothing is ever submitted here. One generation's trouble never stops the others.
"""

import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final

from prefect_ltx.archive import ArchiveError
from prefect_ltx.fal import FalError, FalUnavailable, plain
from prefect_ltx.generation.asking import (
    ask_about_lost,
    may_be_found,
    read_result,
    settle_unsaid,
)
from prefect_ltx.generation.cancel import cancel
from prefect_ltx.generation.collect import clean_up
from prefect_ltx.generation.errors import GenerationStopped, QualityRejected, fails_to_say
from prefect_ltx.generation.inspection import KeepingMode
from prefect_ltx.generation.lease import keep
from prefect_ltx.generation.life import Order, finish
from prefect_ltx.generation.looking import look_again
from prefect_ltx.generation.services import Services
from prefect_ltx.generation.steps import plain_steps
from prefect_ltx.generation.submit import settle_submit
from prefect_ltx.generation.wait import outcome
from prefect_ltx.ledger import AnotherAccount, Generation, LedgerError, NotSent, Owner, State
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.media import MediaError, Recipe
from prefect_ltx.recovery.kept_ids import adopt_kept_ids
from prefect_ltx.recovery.orphans import find_orphans
from prefect_ltx.recovery.report import SweepItem, SweepReport
from prefect_ltx.recovery.settle import settle
from prefect_ltx.recovery.stale_files import clear_stale_files

LOOK_SECONDS: Final = 10.0
"""How long a sweep waits for a listing that lags before the next one goes on from its look."""

logger = logging.getLogger("prefect_ltx.recovery")


@dataclass(frozen=True)
class _Making:
    recipe: str | Recipe
    quality: KeepingMode


async def sweep_all(
    services: Services, owner: Owner, *, recipe: str | Recipe = "web", quality: KeepingMode = "warn"
) -> SweepReport:
    """Sweep the whole ledger once. Spends nothing; waits for no running job (the next sweep sees it).

    With `quality` "reject" what is refused is archived and marked, and named in its item's note.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    report = SweepReport()
    await services.ledger.expire_dead_leases()
    making = _Making(recipe, quality)
    await _step(report, "Kept request ids", adopt_kept_ids(services))
    for generation in await services.ledger.unfinished():
        await _sweep_one(services, generation, owner, making, report)
    await _step(report, "Requests that ran after all", _adopt_strays(services, owner, making, report))
    await _step(report, "Prices", settle(services, report))
    await _step(report, "Orphans", find_orphans(services, report))
    await _step(report, "Sums", _compare_sums(services, report))
    await _step(report, "Stale files", clear_stale_files(services))
    return report


async def _step(report: SweepReport, name: str, work: Awaitable[None]) -> None:
    """One part of a sweep; what stops it is said and stops nothing else."""
    try:
        await work
    except (FalError, LedgerError, ArchiveError, OSError) as error:
        report.broken.append(f"{name}: {error}")
    except Exception as error:
        report.broken.append(f"{name}: {_unexpected(error)}")


async def _adopt_strays(services: Services, owner: Owner, making: _Making, report: SweepReport) -> None:
    for stray in await services.ledger.strays(kind="ran_after_all", adopted=False):
        adopted = await services.ledger.adopt_stray(stray.request_id, owner)
        if adopted is not None:
            await _sweep_one(services, adopted.generation, owner, making, report)


async def _compare_sums(services: Services, report: SweepReport) -> None:
    report.drift = [
        f"{each.generation.id}: {dollars(each.settled_usd)} instead of {dollars(each.expected_usd)}"
        for each in await services.ledger.drift()
    ]
    report.double_charges = [
        f"{each.id}: {each.request_id}, and {', '.join(each.extra_request_ids)} as well"
        for each in await services.ledger.double_charges()
    ]


async def _sweep_one(
    services: Services, generation: Generation, owner: Owner, making: _Making, report: SweepReport
) -> None:
    after, note, rejected = generation, "", False
    try:
        note = await _worked_on(services, generation, owner, making)
    except _LeftAlone:
        report.left_alone.append(generation.id)
        return
    except AnotherAccount:
        report.other_accounts.append(generation.id)
        return
    except QualityRejected as error:
        note, rejected = str(error), True
    except (FalError, GenerationStopped, LedgerError, ArchiveError, MediaError, OSError) as error:
        note = str(error)
    except Exception as error:
        note = _unexpected(error)
        report.broken.append(f"Generation {generation.id}: {note}")
    try:
        after = await services.ledger.get(generation.id)
        if not after.is_live:
            clean_up(services, after.id)
    except LedgerError as error:
        note = note or str(error)
    report.items.append(
        SweepItem(
            generation_id=after.id,
            request_id=after.request_id,
            before=str(generation.state),
            after=str(after.state),
            note=note,
            rejected=rejected,
        )
    )


class _LeftAlone(Exception):
    """A living run works on it."""


async def _worked_on(services: Services, generation: Generation, owner: Owner, making: _Making) -> str:
    """Bring one generation as far as it goes today; what a person should know about where it stands."""
    for _ in range(2):
        claim = await services.ledger.take(generation.id, owner)
        match claim.outcome:
            case "busy":
                raise _LeftAlone
            case "parked":
                await look_again(services, claim.generation, owner)
            case "lost" if not may_be_found(services, claim.generation):
                return (
                    "fal has not had it for a week; it is asked for again by a run of the same request only"
                )
            case "lost":
                if (await ask_about_lost(services, claim.generation)).state is State.LOST:
                    return ""
            case "submit" | "resume":
                async with keep(services, generation.id, owner):
                    return await _advance(services, claim.generation, owner, making)
            case _:
                return ""
    return "it changes while it is looked at; the next sweep goes on with it"


async def _advance(services: Services, generation: Generation, owner: Owner, making: _Making) -> str:
    ledger = services.ledger
    if generation.state in (State.INTENDED, State.UNKNOWN):
        generation = await settle_submit(services, generation, owner, may_post=False, patience=LOOK_SECONDS)
        if generation.state is State.UNKNOWN:
            return "fal's listing does not show it, and may lag; the next sweep looks again"
        # It provably never ran. Sending it is for whoever wants it; the budget and the key are freed.
        if generation.state is State.INTENDED:
            unwanted = NotSent("nobody waits for it", attempt=generation.attempt)
            await ledger.record(generation.id, unwanted, owner=owner)
            return ""
    if generation.state is State.SUBMITTED:
        if generation.cancel == "wanted":
            generation = await cancel(services, generation.id, owner, by=generation.cancel_by or "")
        if generation.state is State.SUBMITTED:
            try:
                await read_result(services, generation)
            except FalUnavailable as error:
                await settle_unsaid(services, generation, error)
            generation = await ledger.get(generation.id)
    if generation.state in (State.COMPLETED, State.COLLECTED):
        order = Order(owner, recipe=making.recipe, quality=making.quality)
        await finish(plain_steps(services), outcome(generation), order)
        return ""
    return _standing(generation)


def _standing(generation: Generation) -> str:
    """What is odd about a request that is still at fal; empty where nothing is."""
    if generation.state is not State.SUBMITTED:
        return ""
    if generation.looks:
        return str(fails_to_say(generation))
    if generation.gone_at is not None:
        return "fal says that it no longer has it; believed once fal says so again, minutes later"
    return ""


def _unexpected(error: Exception) -> str:
    # Only type and text: a traceback of somebody's result may quote its signed URLs.
    logger.error("Unexpected %s: %s", type(error).__name__, plain(error))
    return (
        f"Unexpected {type(error).__name__}: {plain(error)}. Nothing was sent or spent by the sweep; the rest of it "
        "went on. Please report this, with the generation's `prefect-ltx ledger show`."
    )
