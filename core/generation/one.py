"""One generation from its plan to the archive, without Prefect: what a batch does for each of its rows.

The steps are those of the flows; `Run` holds what the generations of one run share, so that a thousand of them
need one poller, one connection pool and one upload for each input.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from prefect_ltx.archive import ArchiveNotFound, Manifest
from prefect_ltx.fal import FalNotSent, FalRateLimited, GenerationRequest
from prefect_ltx.generation.collect import collect
from prefect_ltx.generation.inputs import inputs_again
from prefect_ltx.generation.inspection import KeepingMode, QualityMode, inspected, unrendered
from prefect_ltx.generation.lease import hold, holding
from prefect_ltx.generation.plan import PlannedGeneration, ledger_plan
from prefect_ltx.generation.poller import Poller
from prefect_ltx.generation.progress import tell
from prefect_ltx.generation.services import Services, in_thread
from prefect_ltx.generation.shared_inputs import SharedInputs
from prefect_ltx.generation.store import ArchivedGeneration, archived, store
from prefect_ltx.generation.submit import submit_once
from prefect_ltx.generation.wait import outcome
from prefect_ltx.ledger import Generation, LedgerError, Owner, Plan, State
from prefect_ltx.media import MediaError, Recipe, Rendition, render_renditions

COLLECT_AT_ONCE = 8
SUBMIT_TRIES = 4
SUBMIT_PAUSE_SECONDS = 2.0


@dataclass
class Run:
    """What the generations of one run share. `slots` is how many may be at fal at once, first come first served."""

    services: Services
    inputs: SharedInputs
    poller: Poller
    slots: asyncio.Semaphore
    collecting: asyncio.Semaphore
    rendering: asyncio.Semaphore

    @classmethod
    def begin(cls, services: Services, *, at_fal: int) -> "Run":
        """A run on this event loop; end it with `aclose`."""
        return cls(
            services=services,
            inputs=SharedInputs(services),
            poller=Poller(services),
            slots=asyncio.Semaphore(at_fal),
            collecting=asyncio.Semaphore(COLLECT_AT_ONCE),
            rendering=asyncio.Semaphore(max(1, (os.cpu_count() or 2) // 2)),
        )

    async def aclose(self) -> None:
        """Stop the poller and remove fetched inputs; what is at fal goes on there."""
        await self.poller.aclose()
        self.inputs.discard()


async def generate(
    run: Run,
    plan: PlannedGeneration,
    request: GenerationRequest,
    *,
    owner: Owner,
    recipe: str | Recipe = "web",
    quality: QualityMode = "off",
    flow_run_id: str | None = None,
    tags: Sequence[str] = (),
    is_new: bool = False,
) -> ArchivedGeneration:
    """Upload, submit once, wait, collect, inspect, render, archive; goes on where an earlier run stopped.

    `request` is the one that was planned, with its seed and frames settled; its media are still the sources.
    `is_new` leaves out the look for an archived video before the upload; the ledger looks all the same. What
    `quality` refuses is marked in the manifest and given back like anything else: see `retake.Takes`.

    Raises:
        FalError, GenerationStopped, LedgerError, MediaError, ArchiveError: each says what happened, whether money
            was spent, and what to do next. The same request again never pays twice.
    """
    services = run.services
    before = None if is_new else await in_thread(services.ledger.find, key=plan.key, states=[State.ARCHIVED])
    if before:
        return await reuse(services, before[0], flow_run_id)
    async with AsyncExitStack() as stack:
        async with run.slots:
            ticket = await _ticket(run, plan, request, flow_run_id, tuple(tags))
            generation = await _submitted(services, ticket, owner, stack)
            if not holding(services, generation.id, owner):
                generation = await stack.enter_async_context(hold(services, generation.id, owner))
            if generation.state is State.SUBMITTED:
                generation = await run.poller.wait(generation)
        if generation.state is State.ARCHIVED:
            return await reuse(services, generation, flow_run_id)
        inputs = {} if quality == "off" else await run.inputs.paths(request)
        manifest = await _to_archive(
            services,
            outcome(generation),
            recipe,
            quality,
            inputs,
            collecting=run.collecting,
            rendering=run.rendering,
        )
        return archived(generation, manifest, location=services.archive.location, reused=False)


async def finish(
    services: Services, generation: Generation, *, recipe: str | Recipe, quality: KeepingMode = "off"
) -> Generation:
    """From COMPLETED or COLLECTED to ARCHIVED, under a lease that the caller holds."""
    async with AsyncExitStack() as stack:
        inputs: dict[str, Path] = {}
        if quality != "off":
            inputs = await inputs_again(services, generation, stack)
        await _to_archive(services, generation, recipe, quality, inputs)
    return await in_thread(services.ledger.get, generation.id)


async def reuse(services: Services, generation: Generation, flow_run_id: str | None) -> ArchivedGeneration:
    """What an earlier run archived, given out to another one; the ledger remembers it, for the report on spending.

    Raises:
        ArchiveNotFound: this archive is not the one that it is in.
    """
    found = await archived_before(services, generation)
    with suppress(LedgerError):  # what was saved must never stand in the way of giving it out
        await in_thread(services.ledger.note_reuse, generation.id, flow_run_id=flow_run_id)
    return found


async def archived_before(services: Services, generation: Generation) -> ArchivedGeneration:
    """What an earlier run archived; nothing was sent or spent.

    Raises:
        ArchiveNotFound: this archive is not the one that it is in.
    """
    manifest = await services.archive.manifest(generation.folder or "")
    if manifest is None:
        raise ArchiveNotFound(
            f"Generation {generation.id} was archived in {generation.location}/{generation.folder}, and its "
            f"manifest is not in {services.archive.location}",
            next_step="Point PREFECT_LTX_ARCHIVE at that archive; another seed makes and buys a new video",
        )
    return archived(generation, manifest, location=services.archive.location, reused=True)


async def _ticket(
    run: Run,
    plan: PlannedGeneration,
    request: GenerationRequest,
    flow_run_id: str | None,
    tags: tuple[str, ...],
) -> Plan:
    urls = await run.inputs.urls(request, plan.media)
    return ledger_plan(plan, request.with_media(urls).body(), flow_run_id=flow_run_id, tags=tags)


async def _submitted(services: Services, ticket: Plan, owner: Owner, stay: AsyncExitStack) -> Generation:
    tries = 1
    while True:
        try:
            return await submit_once(services, ticket, owner, stay=stay)
        except (FalRateLimited, FalNotSent) as error:
            # Both prove that nothing runs: the row was closed, and the ledger may permit a new one.
            if tries == SUBMIT_TRIES:
                raise
            asked = getattr(error, "retry_after", None)
            await asyncio.sleep(max(asked or 0.0, SUBMIT_PAUSE_SECONDS * 2 ** (tries - 1)))
            tries += 1


async def _to_archive(
    services: Services,
    generation: Generation,
    recipe: str | Recipe,
    quality: QualityMode,
    inputs: Mapping[str, Path],
    *,
    collecting: asyncio.Semaphore | None = None,
    rendering: asyncio.Semaphore | None = None,
) -> Manifest:
    """Collect, inspect, render and store. `collecting` bounds the downloads, `rendering` the ffmpeg processes."""
    async with collecting or asyncio.Semaphore():
        video = await collect(services, generation)
    renditions: list[Rendition] = []
    async with rendering or asyncio.Semaphore():
        found = await inspected(video, generation, inputs, quality)
        record = found.record() if found else None
        if "problem" not in video.delivered and recipe != "none":
            tell("render", generation.id, "rendering")
            try:
                renditions = await render_renditions(
                    video.path,
                    services.work_dir(generation.id) / "renditions",
                    recipe=recipe,
                    lead_in_frames=found.trim_frames if found else 0,
                )
            except MediaError as error:
                record = unrendered(record, error)
    pictures = found.pictures if found else []
    return await store(services, generation, video, [*renditions, *pictures], record)
