"""One video from request to archive: what both endpoints' flows have in common."""

from collections.abc import Sequence
from dataclasses import asdict

from prefect_ltx.blocks.services import BlockNames, services_for
from prefect_ltx.engine import ArchivedGeneration, Services, archived, hold, in_thread, outcome, prepare
from prefect_ltx.engine.inspection import QualityMode, refuse_rejected
from prefect_ltx.fal import FrameRule, IngredientRequest, ReferenceVideoRequest
from prefect_ltx.flows.artifacts import publish_artifact
from prefect_ltx.flows.delivery import deliver
from prefect_ltx.ledger import Generation, State
from prefect_ltx.tasks import await_generation, submit_generation, upload_media
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
        FalError, GenerationStopped, LedgerError, MediaError, ArchiveError: each says what happened, whether money
            was spent, and what to do next. Running the same request again never pays twice.
    """
    owner, log = current_owner(), run_logger()
    where = asdict(names)
    budget = where.pop("budget")
    async with services_for(names) as services:
        plan, settled, inputs = await prepare(
            services, request, owner=owner, frame_rule=frame_rule, seed_scope=flow_run_id()
        )
        for warning in plan.estimate.warnings:
            log.warning("%s", warning)
        try:
            media = {}
            if not await in_thread(services.ledger.find, key=plan.key, states=[State.ARCHIVED]):
                for field, source in inputs.items():
                    media[field] = await upload_media(
                        str(source.path),
                        credentials=names.credentials,
                        ledger=names.ledger,
                        label=field,
                    )
            handle = await submit_generation(
                settled,
                media=media,
                plan=plan,
                credentials=names.credentials,
                ledger=names.ledger,
                budget=budget,
                tags=tags,
            )
            async with hold(services, handle.generation_id, owner) as generation:
                if generation.state is State.ARCHIVED:
                    result = await _archived_before(services, generation)
                else:
                    handle = await await_generation(handle, **where)
                    # Our copies of the inputs are kept until here: quality control compares with them.
                    files = {field: source.path for field, source in inputs.items()}
                    result = await deliver(
                        handle, generation, files, recipe=recipe, quality=quality, where=where
                    )
        finally:
            for source in inputs.values():
                source.discard()
        await publish_artifact(services, result)
        refuse_rejected(result, quality)
        return result


async def _archived_before(services: Services, generation: Generation) -> ArchivedGeneration:
    row = outcome(generation)
    manifest = await services.archive.manifest(row.folder or "")
    if manifest is None:
        raise FileNotFoundError(
            f"Generation {row.id} was archived in {row.location}/{row.folder}, and its manifest is not in "
            f"{services.archive.location}. Nothing was sent or spent: point PREFECT_LTX_ARCHIVE at "
            "that archive. If it is gone for good, another seed makes and buys a new video."
        )
    run_logger().info("Paid for before: generation %s of %s", row.id, services.archive.location)
    return archived(row, manifest, location=services.archive.location, reused=True)
