"""The life of a generation with its steps as Prefect tasks, so that each is a task run to be seen in the UI."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from prefect.tasks import Task

from prefect_ltx.archive import QualityRecord
from prefect_ltx.blocks.services import BlockNames, services_for
from prefect_ltx.fal import FrameRule, GenerationRequest
from prefect_ltx.flows.approve_requests import approved_request
from prefect_ltx.flows.artifacts import publish_artifact
from prefect_ltx.flows.decide import publish_needs_a_person
from prefect_ltx.flows.forms import check_recipe
from prefect_ltx.flows.naming import show_drawn_seed
from prefect_ltx.generation import (
    ArchivedGeneration,
    CollectedVideo,
    Order,
    Prepared,
    Services,
    Steps,
    Takes,
    UploadedMedia,
    generate,
    prepare,
)
from prefect_ltx.generation.errors import GenerationStopped
from prefect_ltx.generation.inspection import Inspection, QualityMode
from prefect_ltx.ledger import Generation, GenerationNotFound, approval_tag
from prefect_ltx.media import Recipe, Rendition
from prefect_ltx.tasks import (
    GenerationHandle,
    archive_video,
    await_generation,
    download_video,
    inspect_video,
    postprocess_video,
    submit_generation,
    upload_media,
)
from prefect_ltx.tasks.context import current_owner, flow_run_id, run_logger


async def make_video(
    request: GenerationRequest,
    names: BlockNames,
    *,
    recipe: str | Recipe,
    tags: Sequence[str],
    frame_rule: FrameRule,
    quality: QualityMode = "warn",
    takes: Takes | None = None,
    approve_within: float | None = None,
) -> ArchivedGeneration:
    """One request to the archive, in the flow run around it; see `prefect_ltx.generation.generate`.

    With `approve_within` a person is asked first, and has so many seconds to answer.

    Raises:
        NotApproved: nobody approved; nothing was sent or spent.
        ValueError: no such recipe; nothing was sent or spent.
        FalError, GenerationStopped, LedgerError, MediaError, ArchiveError: each says what happened, whether money
            was spent, and what to do next. Running the same request again never pays twice.
    """
    check_recipe(recipe)
    async with services_for(names) as services, AsyncExitStack() as stay:
        order = order_of(recipe=recipe, tags=tags, quality=quality)
        ready = await prepared(services, request, order, frame_rule, stay)
        if approve_within is not None:
            ready, bought_by = await approved_request(
                services,
                ready,
                lambda: prepared(services, request, order, frame_rule, stay),
                most=takes.most if takes else 1,
                within=approve_within,
            )
            if bought_by is not None:
                order = replace(order, tags=(*order.tags, approval_tag(bought_by)))
        try:
            return await generate(task_steps(services, names), ready, order, takes)
        except GenerationStopped:
            await publish_needs_a_person(services)
            raise


def order_of(*, recipe: str | Recipe = "web", tags: Sequence[str] = (), quality: QualityMode) -> Order:
    """What this flow run orders."""
    return Order(current_owner(), flow_run_id(), tuple(tags), recipe, quality)


async def prepared(
    services: Services, request: GenerationRequest, order: Order, frame_rule: FrameRule, stay: AsyncExitStack
) -> Prepared:
    """The request ready to be made; `stay` removes our copies of its inputs. The run's name tells a drawn seed.

    Raises:
        FalRequestInvalid, LedgerError: nothing was sent or spent.
    """
    ready = await prepare(
        services, request, owner=order.owner, frame_rule=frame_rule, seed_scope=order.flow_run_id
    )
    for source in ready.inputs.values():
        stay.callback(source.discard)
    if request.seed is None and ready.request.seed is not None:
        await show_drawn_seed(ready.request.seed)
    return ready


def task_steps(services: Services, names: BlockNames, *, webhook_url: str = "") -> Steps:
    """Each step as a task run of this flow run; blocks are handed on by name."""
    where = {name: value for name, value in asdict(names).items() if name != "budget"}

    async def upload(ready: Prepared) -> dict[str, UploadedMedia]:
        return {
            field: await upload_media(media, credentials=names.credentials, ledger=names.ledger, label=field)
            for field, media in ready.inputs.items()
        }

    async def submit(
        ready: Prepared, media: Mapping[str, UploadedMedia], order: Order, _: AsyncExitStack
    ) -> Generation:
        async def handed(task: Task[..., Any]) -> Generation:
            handle = await task(
                ready.request,
                media=media,
                plan=ready.plan,
                credentials=names.credentials,
                ledger=names.ledger,
                archive=names.archive,
                budget=names.budget,
                tags=order.tags,
                webhook_url=webhook_url,
            )
            return await services.ledger.get(handle.generation_id)

        # A handle in Prefect's cache is a hint, not a fact: what counts is what the ledger has.
        anew = submit_generation.with_options(refresh_cache=True)
        if ready.plan.known is None:
            return await handed(anew)
        try:
            return await handed(submit_generation)
        except GenerationNotFound:
            return await handed(anew)

    async def wait(generation: Generation) -> Generation:
        handle = await await_generation(GenerationHandle.of(generation), **where)
        return await services.ledger.get(handle.generation_id)

    async def collect(generation: Generation) -> CollectedVideo:
        video: CollectedVideo = await download_video(GenerationHandle.of(generation), **where)
        return video

    async def inspect(
        video: CollectedVideo, generation: Generation, inputs: Mapping[str, Path], mode: QualityMode
    ) -> Inspection | None:
        if mode == "off":
            return None
        return await inspect_video(
            video, asked=generation.asked, endpoint=generation.endpoint, inputs=inputs, policy=mode
        )

    async def render(video: CollectedVideo, recipe: str | Recipe, lead_in_frames: int) -> list[Rendition]:
        return await postprocess_video(video, recipe=recipe, lead_in_frames=lead_in_frames)

    async def archive(
        generation: Generation,
        video: CollectedVideo,
        renditions: Sequence[Rendition],
        quality: QualityRecord | None,
    ) -> ArchivedGeneration:
        result: ArchivedGeneration = await archive_video(
            GenerationHandle.of(generation), video, renditions, quality=quality, **where
        )
        return result

    async def show(result: ArchivedGeneration) -> None:
        await publish_artifact(services, result)

    def warn(line: str) -> None:
        run_logger().warning("%s", line)

    return Steps(services, upload, submit, wait, collect, inspect, render, archive, show, warn)
