"""One video from request to archive: what both endpoints' flows have in common."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path

from prefect_ltx.blocks.services import BlockNames, services_for
from prefect_ltx.engine import ArchivedGeneration, Services, archived_before, hold, in_thread, prepare
from prefect_ltx.engine.inspection import QualityMode, refuse_rejected
from prefect_ltx.fal import FrameRule, IngredientRequest, ReferenceVideoRequest
from prefect_ltx.flows.artifacts import publish_artifact
from prefect_ltx.flows.delivery import deliver
from prefect_ltx.ledger import State
from prefect_ltx.media import recipe_named
from prefect_ltx.tasks import GenerationHandle, await_generation, submit_generation, upload_media
from prefect_ltx.tasks.context import current_owner, flow_run_id, run_logger


async def generate_one(
    request: ReferenceVideoRequest | IngredientRequest,
    names: BlockNames,
    *,
    recipe: str,
    tags: Sequence[str],
    frame_rule: FrameRule,
    quality: QualityMode = "warn",
) -> ArchivedGeneration:
    """Plan, upload, submit, wait, collect, inspect, post-process, archive; goes on where an earlier run stopped.

    Raises:
        ValueError: no such recipe; nothing was sent or spent.
        FalError, GenerationStopped, LedgerError, MediaError, ArchiveError: each says what happened, whether money
            was spent, and what to do next. Running the same request again never pays twice.
    """
    check_recipe(recipe)
    async with services_for(names) as services, AsyncExitStack() as stay:
        handle, inputs = await submit_one(
            services, request, names, tags=tags, frame_rule=frame_rule, stay=stay
        )
        # Our copies of the inputs are kept until the end: quality control compares with them.
        return await finish_one(services, handle, inputs, names, recipe=recipe, quality=quality)


def check_recipe(recipe: str) -> None:
    """Refuse an unknown recipe while nothing is paid for.

    Raises:
        ValueError: naming those there are.
    """
    try:
        recipe_named(recipe)
    except ValueError as error:
        raise ValueError(f"{error}. Nothing was sent or spent.") from None


async def submit_one(
    services: Services,
    request: ReferenceVideoRequest | IngredientRequest,
    names: BlockNames,
    *,
    tags: Sequence[str],
    frame_rule: FrameRule,
    stay: AsyncExitStack,
) -> tuple[GenerationHandle, dict[str, Path]]:
    """Plan, upload and submit. Gives the handle and the inputs as local files, which `stay` removes if they are
    copies."""
    plan, settled, inputs = await prepare(
        services, request, owner=current_owner(), frame_rule=frame_rule, seed_scope=flow_run_id()
    )
    for source in inputs.values():
        stay.callback(source.discard)
    for warning in plan.estimate.warnings:
        run_logger().warning("%s", warning)
    media = {}
    if not await in_thread(services.ledger.find, key=plan.key, states=[State.ARCHIVED]):
        for field, source in inputs.items():
            media[field] = await upload_media(
                str(source.path), credentials=names.credentials, ledger=names.ledger, label=field
            )
    handle = await submit_generation(
        settled,
        media=media,
        plan=plan,
        credentials=names.credentials,
        ledger=names.ledger,
        budget=names.budget,
        tags=tags,
    )
    return handle, {field: source.path for field, source in inputs.items()}


async def finish_one(
    services: Services,
    handle: GenerationHandle,
    inputs: Mapping[str, Path],
    names: BlockNames,
    *,
    recipe: str,
    quality: QualityMode,
) -> ArchivedGeneration:
    """Wait for a submitted generation and bring it into the archive, or give back what is there already."""
    where = {name: value for name, value in asdict(names).items() if name != "budget"}
    async with hold(services, handle.generation_id, current_owner()) as generation:
        if generation.state is State.ARCHIVED:
            run_logger().info("Paid for before: generation %s", generation.id)
            result = await archived_before(services, generation)
        else:
            handle = await await_generation(handle, **where)
            result = await deliver(handle, generation, inputs, recipe=recipe, quality=quality, where=where)
    await publish_artifact(services, result)
    refuse_rejected(result, quality)
    return result
