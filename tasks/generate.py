"""Submit one generation, exactly once."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from prefect_ltx.blocks.dispatch import task
from prefect_ltx.blocks.services import BlockNames, services_for
from prefect_ltx.fal import GenerationRequest, media_kind
from prefect_ltx.generation import (
    Order,
    PlannedGeneration,
    Prepared,
    Services,
    UploadedMedia,
    prepare,
    upload,
)
from prefect_ltx.generation.plan import check_plan
from prefect_ltx.generation.steps import submit
from prefect_ltx.ledger import State
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.tasks.context import current_owner, flow_run_id, run_logger
from prefect_ltx.tasks.handle import GenerationHandle
from prefect_ltx.tasks.policy import GenerationCachePolicy


# No retries: only the ledger may decide that something is sent, and a retry would not know what it decided.
@task(
    name="submit generation",
    retries=0,
    cache_policy=GenerationCachePolicy(),
    persist_result=True,
    result_serializer="json",
)
async def submit_generation(
    request: GenerationRequest,
    *,
    media: Mapping[str, UploadedMedia] | None = None,
    plan: PlannedGeneration | None = None,
    credentials: str = "",
    ledger: str = "",
    archive: str | None = None,
    budget: str = "",
    tags: Sequence[str] = (),
    webhook_url: str = "",
) -> GenerationHandle:
    """Submit a request to fal with one POST at most, or find the generation that was paid for already.

    Call it as often as you like with the same request: an unfinished generation of the same key is resumed,
    an archived one is given back, a submit whose answer was lost is looked for at fal. A request without a seed
    gets one that depends on the flow run.

    Args:
        request: the request; its media fields may be local paths, `s3://`, `https://` or data URIs.
        media: what `upload_media` gave, by field. What is missing here is uploaded from the request's source.
        plan: the prepared request, which lets Prefect show a repetition as `Cached`.
        credentials: name of a `FalCredentials` block; empty for the environment's account.
        ledger: name of a `GenerationLedger` block; empty for the environment's ledger.
        archive: name of the `VideoArchive` block that the video will go to, compared with the ledger before anything
            is bought; empty for the environment's archive, None where it is not known yet.
        budget: name of a `SpendingBudget` block; empty for the environment's limit.
        tags: for the ledger and for budgets by tag.
        webhook_url: public base URL of `prefect-ltx webhook`; empty for the ledger block's or PREFECT_LTX_WEBHOOK_URL.

    Raises:
        BudgetExceeded: the price does not fit; nothing was sent.
        FalError: fal refused the request or could not be reached; not billed.
        GenerationParked: nobody can tell whether an earlier submit was accepted; a person decides.
        PaidVideoLost: this video was paid for and fal no longer has it; it is not bought again by itself.
    """
    owner, log = current_owner(), run_logger()
    names = BlockNames(credentials=credentials, ledger=ledger, archive=archive, budget=budget)
    async with services_for(names) as shared, AsyncExitStack() as stay:
        services = shared.calling_back(webhook_url) if webhook_url else shared
        order = Order(owner, flow_run_id(), tuple(tags))
        if plan is None:
            ready = await prepare(services, request, owner=owner, seed_scope=order.flow_run_id)
            for each in ready.inputs.values():
                stay.callback(each.discard)
        else:
            check_plan(services, plan, request)
            ready = Prepared(plan, request, {})
        if not ready.plan.is_archived:
            media = await _all_of(services, ready, media or {})
        generation = await submit(services, ready, media or {}, order)
        if generation.state is State.ARCHIVED:
            log.info("Paid for and archived already: generation %s", generation.id)
            return GenerationHandle.of(generation)
    log.info(
        "Generation %s is request %s at fal: seed %d, %d megapixels, %s expected",
        generation.id,
        generation.request_id,
        generation.seed,
        ready.plan.estimate.megapixels,
        dollars(generation.price_expected_usd),
    )
    return GenerationHandle.of(generation)


async def _all_of(
    services: Services, ready: Prepared, media: Mapping[str, UploadedMedia]
) -> dict[str, UploadedMedia]:
    """The media with those uploaded that are missing."""
    found = dict(media)
    for field, source in ready.request.media().items():
        if field not in found:
            found[field] = await upload(services, ready.inputs.get(field, source), kind=media_kind(field))
    return found
