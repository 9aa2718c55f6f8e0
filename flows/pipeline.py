"""One video from request to archive: what both endpoints' flows have in common."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict
from pathlib import Path

from prefect_ltx.blocks.services import BlockNames, services_for
from prefect_ltx.fal import FrameRule, IngredientRequest, ReferenceVideoRequest
from prefect_ltx.flows.artifacts import publish_artifact
from prefect_ltx.flows.delivery import deliver
from prefect_ltx.generation import ArchivedGeneration, Services, archived_before, hold, in_thread, prepare
from prefect_ltx.generation.inspection import QualityMode, refuse_rejected
from prefect_ltx.generation.retake import SEEDS, Takes
from prefect_ltx.generation.store import RefusedTake
from prefect_ltx.ledger import LedgerError, State
from prefect_ltx.media import Recipe, recipe_named
from prefect_ltx.tasks import GenerationHandle, await_generation, submit_generation, upload_media
from prefect_ltx.tasks.context import current_owner, flow_run_id, run_logger


async def generate_one(
    request: ReferenceVideoRequest | IngredientRequest,
    names: BlockNames,
    *,
    recipe: str | Recipe,
    tags: Sequence[str],
    frame_rule: FrameRule,
    quality: QualityMode = "warn",
    max_seeds: int = SEEDS,
) -> ArchivedGeneration:
    """Plan, upload, submit, wait, collect, inspect, post-process, archive; goes on where an earlier run stopped.

    With `quality` "next_seed" a refused video is archived, and another seed is tried, `max_seeds` in all.

    Raises:
        ValueError: no such recipe; nothing was sent or spent.
        FalError, GenerationStopped, LedgerError, MediaError, ArchiveError: each says what happened, whether money
            was spent, and what to do next. Running the same request again never pays twice.
    """
    check_recipe(recipe)
    takes, draws = Takes(quality, max_seeds), request.seed is None
    async with services_for(names) as services, AsyncExitStack() as stay:
        while True:
            # Our copies of the inputs are kept until the end: quality control compares with them.
            handle, inputs = await submit_one(
                services,
                request,
                names,
                tags=[*tags, *takes.tags],
                frame_rule=frame_rule,
                stay=stay,
                seed_drawn=draws,
            )
            row = await in_thread(services.ledger.get, handle.generation_id)
            takes.begun(row.seed, row.tags)
            result = await finish_one(
                services, handle, inputs, names, recipe=recipe, quality=quality, refused=takes.refused
            )
            if result.reused:
                with suppress(LedgerError):  # what was saved must never stand in the way of giving it out
                    await in_thread(services.ledger.note_reuse, row.id, flow_run_id=flow_run_id())
            seed = takes.again(result)
            if seed is None:
                return result
            run_logger().warning("%s", takes.said(row.price_expected_usd))
            request = request.with_seed(seed)


def check_recipe(recipe: str | Recipe) -> None:
    """Refuse an unknown recipe while nothing is paid for.

    Raises:
        ValueError: naming those there are.
    """
    if not isinstance(recipe, str):
        return
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
    seed_drawn: bool = False,
    webhook_url: str = "",
) -> tuple[GenerationHandle, dict[str, Path]]:
    """Plan, upload and submit. Gives the handle and the inputs as local files, which `stay` removes if they are
    copies. `seed_drawn` says that a seed in `request` follows from one that was drawn here."""
    plan, settled, inputs = await prepare(
        services,
        request,
        owner=current_owner(),
        frame_rule=frame_rule,
        seed_scope=flow_run_id(),
        seed_drawn=seed_drawn,
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
        webhook_url=webhook_url,
    )
    return handle, {field: source.path for field, source in inputs.items()}


async def finish_one(
    services: Services,
    handle: GenerationHandle,
    inputs: Mapping[str, Path],
    names: BlockNames,
    *,
    recipe: str | Recipe,
    quality: QualityMode,
    refused: Sequence[RefusedTake] = (),
) -> ArchivedGeneration:
    """Wait for a submitted generation and bring it into the archive, or give back what is there already.

    `refused` are the takes before it, for its account.
    """
    where = {name: value for name, value in asdict(names).items() if name != "budget"}
    async with hold(services, handle.generation_id, current_owner()) as generation:
        if generation.state is State.ARCHIVED:
            run_logger().info("Paid for before: generation %s", generation.id)
            result = await archived_before(services, generation)
        else:
            handle = await await_generation(handle, **where)
            result = await deliver(handle, generation, inputs, recipe=recipe, quality=quality, where=where)
    result = result.model_copy(update={"refused": list(refused)})
    await publish_artifact(services, result)
    refuse_rejected(result, quality)
    return result
