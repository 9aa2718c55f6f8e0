"""The life of one generation: the only place where its steps follow each other.

    plan → archived already? → upload → submit → wait → collect → inspect → render → archive

Who carries out a step is handed in: plain functions for batches, presets, the sweep and the doctor
(`prefect_ltx.generation.steps`), Prefect tasks for flows (`prefect_ltx.flows.steps`). Planning is `prepare`: what it
found (the inputs, the plan, the key, what the ledger has of it) is handed on, and nothing of it is found again.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from prefect_ltx.archive import ArchiveError, QualityRecord
from prefect_ltx.fal import FalError
from prefect_ltx.generation.asking import ask_about_lost
from prefect_ltx.generation.collect import CollectedVideo
from prefect_ltx.generation.errors import GenerationStopped, unsent
from prefect_ltx.generation.inputs import InputMedia, inputs_again
from prefect_ltx.generation.inspection import Inspection, QualityMode, refuse_rejected, unrendered
from prefect_ltx.generation.lease import hold, holding, only_collector
from prefect_ltx.generation.looking import look_again
from prefect_ltx.generation.paid import told_as_paid
from prefect_ltx.generation.plan import PlannedGeneration, Prepared, looked_up, plan_of
from prefect_ltx.generation.progress import tell
from prefect_ltx.generation.retake import Takes
from prefect_ltx.generation.services import Services
from prefect_ltx.generation.store import ArchivedGeneration, archived_before
from prefect_ltx.generation.submit import settle_submit
from prefect_ltx.generation.upload import UploadedMedia
from prefect_ltx.generation.wait import outcome
from prefect_ltx.ledger import Generation, LedgerError, LedgerUnavailable, Owner, State
from prefect_ltx.media import MediaError, Recipe, Rendition
from prefect_ltx.provenance import SigningFailed


@dataclass(frozen=True)
class Order:
    """For whom a generation is made, and as what it is wanted."""

    owner: Owner
    flow_run_id: str | None = None
    tags: tuple[str, ...] = ()
    recipe: str | Recipe = "web"
    quality: QualityMode = "off"


Media = Mapping[str, UploadedMedia]
KNOWN_ENDS = (FalError, GenerationStopped, LedgerError, ArchiveError, MediaError, SigningFailed, OSError)
"""How a generation can end without a video, each saying so in its own words."""


async def _unseen(_: ArchivedGeneration) -> None:
    """Where nobody looks."""


def _unheard(_: str) -> None:
    """Where nobody listens."""


@dataclass(frozen=True)
class Steps:
    """What carries out each step. None of them may send anything but `submit`, and that at most once."""

    services: Services
    upload: Callable[[Prepared], Awaitable[Media]]
    submit: Callable[[Prepared, Media, Order, AsyncExitStack], Awaitable[Generation]]
    """May leave the lease to the stack; else it is taken anew."""
    wait: Callable[[Generation], Awaitable[Generation]]
    collect: Callable[[Generation], Awaitable[CollectedVideo]]
    inspect: Callable[
        [CollectedVideo, Generation, Mapping[str, Path], QualityMode], Awaitable[Inspection | None]
    ]
    render: Callable[[CollectedVideo, str | Recipe, int], Awaitable[list[Rendition]]]
    """The number is of leading frames to leave out."""
    archive: Callable[
        [Generation, CollectedVideo, Sequence[Rendition], QualityRecord | None], Awaitable[ArchivedGeneration]
    ]
    show: Callable[[ArchivedGeneration], Awaitable[None]] = _unseen
    warn: Callable[[str], None] = _unheard
    at_fal: Callable[[], AbstractAsyncContextManager[object]] = nullcontext
    """Held from the submit until fal has the video: how many may be at fal at once."""


async def generate(
    steps: Steps, ready: Prepared, order: Order, takes: Takes | None = None
) -> ArchivedGeneration:
    """One video, from its plan to the archive; goes on where an earlier run stopped, and never pays twice.

    With quality "next_seed" a refused video is archived and another seed is tried, as often as `takes` allows;
    `takes` knows afterwards what was made and spent, whatever the end.

    Raises:
        TakeNotMade: another seed could not be tried, with what the refused ones cost.
        QualityRejected: it is archived, and the policy refuses it and all other seeds that may be tried.
        FalError, GenerationStopped, LedgerError, MediaError, ArchiveError: each says what happened, whether money
            was spent, and what to do next.
    """
    takes = takes or Takes(order.quality, 1)
    while True:
        try:
            if takes.next_seed is not None:
                ready = await _with_seed(steps.services, ready, takes.next_seed)
            made = await _take(steps, ready, replace(order, tags=(*order.tags, *takes.tags)), takes)
        except KNOWN_ENDS as error:
            if not takes.refused:
                raise
            raise takes.not_made(error, await row_of(steps.services, ready.plan, error)) from error
        seed = takes.again(made)
        if seed is None:
            return made
        notice = takes.said(ready.plan.estimate.price_expected_usd)
        tell("retake", made.generation_id, notice)
        steps.warn(notice)


async def row_of(services: Services, plan: PlannedGeneration, error: Exception) -> Generation | None:
    """The newest row of a generation that ended with `error`: it says what that may have cost."""
    if isinstance(error, GenerationStopped):
        return error.generation
    if isinstance(error, LedgerUnavailable):
        return None
    try:
        rows = await services.ledger.find(key=plan.key, limit=1)
    except LedgerError:
        return None
    return rows[0] if rows else None


async def begin(steps: Steps, ready: Prepared, order: Order, stay: AsyncExitStack) -> Generation:
    """The first half: upload and submit, or what the ledger has already; at least SUBMITTED.

    Raises:
        as `generate`, up to the submit.
    """
    async with _left_behind_on_failure(steps.services, ready.plan, order.owner):
        return await steps.submit(ready, await _brought(steps, ready), order, stay)


async def finish(
    steps: Steps, generation: Generation, order: Order, inputs: Mapping[str, InputMedia] | None = None
) -> ArchivedGeneration:
    """The second half: wait, collect, inspect, render, archive. The caller holds the lease; nothing is submitted.

    Without `inputs`, quality control compares with those that fal still has.

    Raises:
        GenerationStopped: it ended without a video, or nobody can tell yet whether fal has it.
        QualityRejected: it is archived, and quality "reject" refuses it.
        FalError, LedgerError, ArchiveError: the video stays at fal or on this machine.
    """
    if generation.state is State.ARCHIVED:
        result = await archived_before(steps.services, generation)
    else:
        generation = await _accounted_for(steps.services, generation, order.owner)
        generation = outcome(await steps.wait(generation))
        result = await _to_archive(steps, generation, order, inputs)
    await steps.show(result)
    refuse_rejected(result, order.quality)
    return result


async def _take(steps: Steps, ready: Prepared, order: Order, takes: Takes) -> ArchivedGeneration:
    services = steps.services
    async with (
        _left_behind_on_failure(services, ready.plan, order.owner),
        AsyncExitStack() as stay,
    ):
        takes.plan = ready.plan
        media = await _brought(steps, ready)  # before its slot: what uploads is not at fal yet
        async with steps.at_fal():
            generation = await steps.submit(ready, media, order, stay)
            takes.begun(generation.seed, generation.tags)
            if generation.state is not State.ARCHIVED and not holding(services, generation.id, order.owner):
                generation = await stay.enter_async_context(hold(services, generation.id, order.owner))
            if generation.state is not State.ARCHIVED:
                generation = outcome(await steps.wait(generation))
        if generation.state is State.ARCHIVED:
            result = await _reuse(services, generation, order)
        else:
            result = await _to_archive(steps, generation, order, ready.inputs)
        result = result.model_copy(update={"refused": list(takes.refused)})
        await steps.show(result)
        return result


async def _brought(steps: Steps, ready: Prepared) -> Media:
    """The inputs where fal can read them."""
    for warning in ready.plan.estimate.warnings:
        steps.warn(warning)
    return {} if ready.plan.is_archived else await steps.upload(ready)


async def _to_archive(
    steps: Steps, generation: Generation, order: Order, inputs: Mapping[str, InputMedia] | None
) -> ArchivedGeneration:
    services = steps.services
    async with only_collector(services, generation.id):
        # Another task of this run may have had the same video since the row was read: then it is in the archive, or
        # what stopped that one stops this one too.
        generation = await services.ledger.get(generation.id)
        if generation.state is State.ARCHIVED:
            return await archived_before(services, generation)
        outcome(generation)
        return await _collected_and_archived(steps, generation, order, inputs)


async def _collected_and_archived(
    steps: Steps, generation: Generation, order: Order, inputs: Mapping[str, InputMedia] | None
) -> ArchivedGeneration:
    video = await steps.collect(generation)
    found = await _inspected(steps, video, generation, order.quality, inputs)
    record = found.record() if found else None
    frames = found.trim_frames if found else 0
    if frames:
        steps.warn(f"Renditions begin at frame {frames}; the archived original stays whole")
    tell("render", generation.id, "rendering")
    try:
        async with told_as_paid(steps.services, generation):
            renditions = await steps.render(video, order.recipe, frames)
    except MediaError as error:
        # The video is paid for: it is archived without renditions rather than not at all.
        steps.warn(f"No renditions: {error}")
        renditions, record = [], unrendered(record, error)
    pictures = found.pictures if found else []
    return await steps.archive(generation, video, [*renditions, *pictures], record)


async def _inspected(
    steps: Steps,
    video: CollectedVideo,
    generation: Generation,
    quality: QualityMode,
    inputs: Mapping[str, InputMedia] | None,
) -> Inspection | None:
    if quality == "off":
        return None
    tell("inspect", generation.id, "checking quality")
    async with AsyncExitStack() as stay:
        try:
            if inputs is None:
                paths = await inputs_again(steps.services, generation, stay)
            else:
                paths = {field: media.path for field, media in inputs.items()}
            return await steps.inspect(video, generation, paths, quality)
        except (MediaError, OSError) as error:
            # As above: without a report rather than not at all.
            steps.warn(f"Not inspected: {error}")
            return None


async def _accounted_for(services: Services, generation: Generation, owner: Owner) -> Generation:
    """A generation whose submit is unclear, after looking at fal; it is not submitted here."""
    if generation.state is State.PARKED:
        generation = await look_again(services, generation, owner)
    if generation.state is State.LOST:
        generation = await ask_about_lost(services, generation)
    if generation.state in (State.INTENDED, State.UNKNOWN):
        generation = await settle_submit(services, generation, owner, may_post=False)
        if generation.state in (State.INTENDED, State.UNKNOWN):
            raise unsent(generation)
    return generation


async def _reuse(services: Services, generation: Generation, order: Order) -> ArchivedGeneration:
    """What an earlier run archived, given out to another one; the ledger remembers it, for the report on spending."""
    found = await archived_before(services, generation)
    with suppress(LedgerError):  # what was saved must never stand in the way of giving it out
        await services.ledger.note_reuse(generation.id, flow_run_id=order.flow_run_id)
    return found


async def _with_seed(services: Services, ready: Prepared, seed: int) -> Prepared:
    """The same request with another seed: its inputs are read and hashed already."""
    request = ready.request.with_seed(seed)
    plan = await plan_of(services, request, ready.plan.media, seed_drawn=ready.plan.seed_drawn)
    return Prepared(await looked_up(services, plan), request, ready.inputs)


@asynccontextmanager
async def _left_behind_on_failure(
    services: Services, plan: PlannedGeneration, owner: Owner
) -> AsyncIterator[None]:
    """Let the next run without a seed go on with what this one leaves, where this one fails."""
    try:
        yield
    except BaseException:
        if plan.seed_drawn:
            with suppress(LedgerError):  # then it is found by its dead lease, or by the sweep
                await services.ledger.leave_behind(plan.all_keys, owner)
        raise
