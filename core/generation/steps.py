"""The steps of a generation as plain functions: alone, or shared by the generations of one run.

`Run` holds what the generations of one run share, so that a thousand of them need one poller, one connection pool
and one upload for each input.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from prefect_ltx.archive import QualityRecord
from prefect_ltx.fal import FalNotSent, FalRateLimited, FalRequestInvalid
from prefect_ltx.generation.collect import CollectedVideo, collect
from prefect_ltx.generation.inspection import Inspection, QualityMode, inspect_delivery
from prefect_ltx.generation.life import Media, Order, Steps
from prefect_ltx.generation.plan import Prepared, ledger_plan
from prefect_ltx.generation.poller import Poller
from prefect_ltx.generation.services import Services
from prefect_ltx.generation.shared_inputs import SharedInputs
from prefect_ltx.generation.store import ArchivedGeneration, archived, store
from prefect_ltx.generation.submit import submit_once
from prefect_ltx.generation.upload import upload
from prefect_ltx.generation.wait import wait_for, with_price
from prefect_ltx.ledger import Generation, State
from prefect_ltx.media import Recipe, Rendition, render_renditions

COLLECT_AT_ONCE: Final = 8
SUBMIT_TRIES: Final = 4
SUBMIT_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 120.0
"""A `Retry-After` beyond it ends the run: nothing was sent, and the next run tries again."""

Waiter = Callable[[Generation], Awaitable[Generation]]


def plain_steps(services: Services) -> Steps:
    """Each step as a plain function."""

    async def bring(ready: Prepared) -> Media:
        return {field: await upload(services, media) for field, media in ready.inputs.items()}

    async def send(ready: Prepared, media: Media, order: Order, stay: AsyncExitStack) -> Generation:
        return await submit(services, ready, media, order, stay)

    async def wait(generation: Generation) -> Generation:
        return await waited(services, generation)

    async def fetch(generation: Generation) -> CollectedVideo:
        return await collect(services, generation)

    async def keep(
        generation: Generation,
        video: CollectedVideo,
        renditions: Sequence[Rendition],
        quality: QualityRecord | None,
    ) -> ArchivedGeneration:
        manifest = await store(services, generation, video, renditions, quality)
        return archived(generation, manifest, location=services.archive.location, reused=False)

    return Steps(services, bring, send, wait, fetch, _inspect, _render, keep)


async def submit(
    services: Services,
    ready: Prepared,
    media: Media,
    order: Order,
    stay: AsyncExitStack | None = None,
) -> Generation:
    """The generation of a prepared request, submitted now or found: the step that may send.

    Too many requests at once (429), and a request of which no byte left, prove that nothing runs: both are
    waited out, a few times and as long as fal asks.

    Raises:
        FalRequestInvalid: an input is not what was planned; nothing was sent.
        as `submit_once`.
    """
    known = ready.plan.known
    if known is not None and ready.plan.is_archived:
        return await services.ledger.get(known.generation_id)
    for field, digest in ready.plan.media.items():
        if field not in media or media[field].sha256 != digest.sha256:
            raise FalRequestInvalid(
                f"{field}: the media changed between planning and upload; plan it again, nothing was sent"
            )
    body = ready.request.with_media({field: media[field].url for field in ready.plan.media}).body()
    ticket = ledger_plan(ready.plan, body, flow_run_id=order.flow_run_id, tags=order.tags)
    for tries in range(1, SUBMIT_TRIES):
        try:
            return await submit_once(services, ticket, order.owner, stay=stay)
        except (FalRateLimited, FalNotSent) as error:
            # The row was closed, and the ledger may permit a new one.
            asked = error.retry_after if isinstance(error, FalRateLimited) else None
            pause = SUBMIT_PAUSE_SECONDS * 2 ** (tries - 1) if asked is None else asked
            if pause > LONGEST_PAUSE_SECONDS:
                raise
            await asyncio.sleep(pause)
    return await submit_once(services, ticket, order.owner, stay=stay)


async def waited(services: Services, generation: Generation, wait: Waiter | None = None) -> Generation:
    """A generation once fal has its video, with what fal bills for it; `wait` is how it is waited for.

    Raises:
        as `wait_for`.
    """
    if generation.state is State.SUBMITTED:
        return await (wait(generation) if wait is not None else wait_for(services, generation))
    return await with_price(services, generation)


class Slots:
    """At most `most` in flight at fal, first come first served; `async with` takes one."""

    def __init__(self, most: int, on_wanted: Callable[[], None] = lambda: None) -> None:
        """`on_wanted` is called when somebody has to wait and nobody did before."""
        self.on_wanted = on_wanted
        self.wanted = 0
        """How many wait for one."""
        self._free = asyncio.Semaphore(most)

    async def __aenter__(self) -> None:
        waits = self._free.locked()
        if waits:
            self.wanted += 1
            if self.wanted == 1:
                self.on_wanted()
        try:
            await self._free.acquire()
        finally:
            self.wanted -= waits

    async def __aexit__(self, *_: object) -> None:
        self._free.release()


@dataclass
class Run:
    """What the generations of one run share. `slots` is how many may be at fal at once, first come first served."""

    services: Services
    inputs: SharedInputs
    poller: Poller
    slots: "Slots"
    collecting: asyncio.Semaphore
    rendering: asyncio.Semaphore

    @classmethod
    def begin(cls, services: Services, *, at_fal: int) -> "Run":
        """A run on this event loop; end it with `aclose`."""
        slots = Slots(at_fal)
        poller = Poller(services, slot_wanted=lambda: slots.wanted > 0)
        slots.on_wanted = poller.hurry
        return cls(
            services=services,
            inputs=SharedInputs(services),
            poller=poller,
            slots=slots,
            collecting=asyncio.Semaphore(COLLECT_AT_ONCE),
            rendering=asyncio.Semaphore(max(1, (os.cpu_count() or 2) // 2)),
        )

    async def aclose(self) -> None:
        """Stop the poller and remove fetched inputs; what is at fal goes on there."""
        await self.poller.aclose()
        self.inputs.discard()

    def steps(self) -> Steps:
        """The plain steps, with uploads shared, one poller, and bounds on how many do the same at once."""
        plain = plain_steps(self.services)

        async def wait(generation: Generation) -> Generation:
            return await waited(self.services, generation, self.poller.wait)

        async def fetch(generation: Generation) -> CollectedVideo:
            async with self.collecting:
                return await plain.collect(generation)

        async def inspect(
            video: CollectedVideo, generation: Generation, inputs: Mapping[str, Path], mode: QualityMode
        ) -> Inspection | None:
            async with self.rendering:
                return await plain.inspect(video, generation, inputs, mode)

        async def render(video: CollectedVideo, recipe: str | Recipe, lead_in: int) -> list[Rendition]:
            async with self.rendering if recipe != "none" else nullcontext():
                return await plain.render(video, recipe, lead_in)

        def slot() -> AbstractAsyncContextManager[object]:
            return self.slots

        return replace(
            plain,
            upload=self.inputs.upload,
            wait=wait,
            collect=fetch,
            inspect=inspect,
            render=render,
            at_fal=slot,
        )


async def _inspect(
    video: CollectedVideo, generation: Generation, inputs: Mapping[str, Path], mode: QualityMode
) -> Inspection | None:
    if mode == "off":
        return None
    return await inspect_delivery(
        video, asked=generation.asked, endpoint=generation.endpoint, inputs=inputs, policy=mode
    )


async def _render(video: CollectedVideo, recipe: str | Recipe, lead_in_frames: int) -> list[Rendition]:
    if "problem" in video.delivered or recipe == "none":
        return []
    return await render_renditions(
        video.path, video.path.parent / "renditions", recipe=recipe, lead_in_frames=lead_in_frames
    )
