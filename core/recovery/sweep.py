"""Going through everything that was paid for and not archived, and bringing each to its end.

Safe at any time, beside everything else and twice at once: each generation is worked on under its lease, what a
living run holds is left alone, and nothing is ever submitted here.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel

from prefect_ltx.archive import ArchiveError
from prefect_ltx.fal import INGREDIENT, REFERENCE_VIDEO, FalError
from prefect_ltx.generation.cancel import cancel
from prefect_ltx.generation.collect import clean_up
from prefect_ltx.generation.errors import GenerationStopped, QualityRejected
from prefect_ltx.generation.inspection import KeepingMode, refuse_rejected
from prefect_ltx.generation.lease import keep
from prefect_ltx.generation.one import archived_before, finish
from prefect_ltx.generation.services import Services, in_thread
from prefect_ltx.generation.submit import look_again, settle_submit
from prefect_ltx.generation.wait import outcome, read_result, with_price
from prefect_ltx.generation.work_folders import clear_work_dir, generation_folders
from prefect_ltx.ledger import (
    UNFINISHED,
    Generation,
    GenerationNotFound,
    Ledger,
    LedgerError,
    NotSent,
    Owner,
    Resolved,
    Settled,
    State,
)
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.media import MediaError, Recipe

STALE_SECONDS = 24 * 3600
ORPHAN_WINDOW = timedelta(days=2)
BILLING_WINDOW = timedelta(days=30)
BILLING_MOST = 500
"""How far back, and how many at a time, prices are asked for that fal never billed in detail."""


class SweepItem(BaseModel):
    """What the sweep found of one generation, and where it left it."""

    generation_id: str
    request_id: str | None
    before: str
    after: str
    note: str = ""
    rejected: bool = False
    """Archived, and refused by the sweep's quality policy."""


class SweepReport(BaseModel):
    """Everything one sweep did and found; prices in USD."""

    items: list[SweepItem] = []
    left_alone: list[str] = []
    """Generations that a living run is working on."""
    settled: list[str] = []
    double_charges: list[str] = []
    orphans: list[str] = []
    """Request ids that fal lists for this account and no row of this ledger knows."""
    drift: list[str] = []
    """Generations that cost something else than expected."""
    notes: list[str] = []

    @property
    def needs_a_person(self) -> list[SweepItem]:
        """What cannot go on by itself."""
        return [each for each in self.items if each.rejected or each.after in (State.PARKED, State.LOST)]


async def sweep_all(
    services: Services, owner: Owner, *, recipe: str | Recipe = "web", quality: KeepingMode = "warn"
) -> SweepReport:
    """Sweep the whole ledger once. Spends nothing; waits for no running job (the next sweep sees it).

    With `quality` "reject" what is refused is archived and marked, and named in its item's note.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    report = SweepReport()
    await in_thread(services.ledger.expire_dead_leases)
    making = _Making(recipe, quality)
    for generation in await in_thread(services.ledger.unfinished):
        await _sweep_one(services, generation, owner, making, report)
    for stray in await in_thread(services.ledger.strays, kind="ran_after_all", adopted=False):
        adopted = await in_thread(services.ledger.adopt_stray, stray.request_id, owner)
        if adopted is not None:
            await _sweep_one(services, adopted.generation, owner, making, report)
    await _settle(services, report)
    await _find_orphans(services, report)
    report.drift = [
        f"{each.generation.id}: {dollars(each.settled_usd)} instead of {dollars(each.expected_usd)}"
        for each in await in_thread(services.ledger.drift)
    ]
    report.double_charges = [
        f"{each.id}: {each.request_id}, and {', '.join(each.extra_request_ids)} as well"
        for each in await in_thread(services.ledger.double_charges)
    ]
    await _clear_stale_files(services)
    return report


@dataclass(frozen=True)
class _Making:
    recipe: str | Recipe
    quality: KeepingMode


async def _sweep_one(
    services: Services, generation: Generation, owner: Owner, making: _Making, report: SweepReport
) -> None:
    before, note, rejected = generation.state, "", False
    try:
        claim = await in_thread(services.ledger.take, generation.id, owner)
        if claim.outcome == "busy":
            report.left_alone.append(generation.id)
            return
        async with keep(services, generation.id, owner):
            await _advance(services, claim.generation, owner, making)
    except QualityRejected as error:
        note, rejected = str(error), True
    except (FalError, GenerationStopped, LedgerError, ArchiveError, MediaError, OSError) as error:
        note = str(error)
    after = await in_thread(services.ledger.get, generation.id)
    if not after.is_live:
        clean_up(services, after.id)
    report.items.append(
        SweepItem(
            generation_id=after.id,
            request_id=after.request_id,
            before=str(before),
            after=str(after.state),
            note=note,
            rejected=rejected,
        )
    )


async def _advance(services: Services, generation: Generation, owner: Owner, making: _Making) -> None:
    ledger = services.ledger
    if generation.state is State.PARKED:
        generation = await look_again(services, generation, owner)
    if generation.state in (State.INTENDED, State.UNKNOWN):
        generation = await settle_submit(services, generation, owner, may_post=False)
        # It provably never ran. Sending it is for whoever wants it; the budget and the key are freed.
        if generation.state is State.INTENDED:
            await in_thread(ledger.record, generation.id, NotSent("nobody waits for it"), owner=owner)
            return
        if generation.state is State.UNKNOWN:
            absent = Resolved(choice="absent", request_id=None, by="sweep")
            await in_thread(ledger.record, generation.id, absent)
            return
    if generation.state is State.SUBMITTED:
        if generation.cancel == "wanted":
            generation = await cancel(services, generation.id, owner, by=generation.cancel_by or "")
        if generation.state is State.SUBMITTED:
            await read_result(services, generation)
            generation = await in_thread(ledger.get, generation.id)
    if generation.state in (State.COMPLETED, State.COLLECTED):
        generation = await with_price(services, outcome(generation))
        generation = await finish(services, generation, recipe=making.recipe, quality=making.quality)
        if making.quality == "reject":
            refuse_rejected(await archived_before(services, generation), "reject")


async def _settle(services: Services, report: SweepReport) -> None:
    """Put what fal billed in place of what was expected, from billing events where the key may read them."""
    since = datetime.now(UTC) - BILLING_WINDOW
    rows = await in_thread(services.ledger.unsettled, by_billing=True)
    recent = [row for row in rows if row.created_at > since and row.request_id][-BILLING_MOST:]
    by_request = {row.request_id: row for row in recent if row.request_id}
    if not by_request:
        return
    try:
        events = await services.client.billing_events(request_ids=sorted(by_request))
    except FalError as error:
        report.notes.append(f"Prices not settled: {error.what}.")
        return
    for event in events:
        row = by_request.get(event.request_id)
        if row is None:
            continue
        await in_thread(
            services.ledger.record,
            row.id,
            Settled(units=event.output_units, usd=event.cost_total, source="billing_events"),
        )
        report.settled.append(row.id)


async def _find_orphans(services: Services, report: SweepReport) -> None:
    start = datetime.now(UTC) - ORPHAN_WINDOW
    for endpoint in (REFERENCE_VIDEO, INGREDIENT):
        try:
            known = await in_thread(services.ledger.claimed_request_ids, endpoint)
            async for each in services.client.list_requests(
                endpoint, start=start, end=None, expand_payloads=False
            ):
                if each.request_id not in known:
                    report.orphans.append(each.request_id)
        except FalError as error:
            report.notes.append(f"Orphans not looked for: {error.what}.")
            return


async def _clear_stale_files(services: Services) -> None:
    # A closed row's folder has its manifest: nobody writes there any more, however young a leftover is.
    since = datetime.now(UTC) - 2 * timedelta(seconds=STALE_SECONDS)
    closed = await in_thread(services.ledger.find, states=[State.ARCHIVED])
    ended = {row.folder for row in closed if row.folder and row.closed_at and row.closed_at > since}
    await services.archive.clear_stale_temporaries(older_than=STALE_SECONDS, finished=ended)
    unfinished = {row.id for row in await in_thread(services.ledger.unfinished)}
    # Killed after its row was closed and before it cleared its folder: no run comes back for that.
    work_dir = services.options.work_dir
    names = set(await asyncio.to_thread(generation_folders, work_dir)) - unfinished
    over = {name for name in names if await in_thread(_is_over, services.ledger, name)}
    await asyncio.to_thread(clear_work_dir, work_dir, unfinished, over)


def _is_over(ledger: Ledger, name: str) -> bool:
    try:
        return ledger.get(name).state not in UNFINISHED
    except GenerationNotFound:
        return False  # another ledger's
