"""Submit one generation, exactly once."""

from collections.abc import Mapping, Sequence

from prefect import task

from prefect_ltx.blocks.services import BlockNames, services_for
from prefect_ltx.fal import FalRequestInvalid, IngredientRequest, ReferenceVideoRequest, media_kind
from prefect_ltx.generation import (
    PlannedGeneration,
    Services,
    UploadedMedia,
    in_thread,
    ledger_plan,
    prepare,
    submit_once,
    upload,
)
from prefect_ltx.ledger import State, generation_key
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
    request: ReferenceVideoRequest | IngredientRequest,
    *,
    media: Mapping[str, UploadedMedia] | None = None,
    plan: PlannedGeneration | None = None,
    credentials: str = "",
    ledger: str = "",
    budget: str = "",
    tags: Sequence[str] = (),
    webhook_url: str = "",
) -> GenerationHandle:
    """Submit a request to fal with one POST at most, or find the generation that was paid for already.

    Call it as often as you like with the same request: an unfinished generation of the same key is gone on with,
    an archived one is given back, a submit whose answer was lost is looked for at fal. A request without a seed
    gets one that depends on the flow run.

    Args:
        request: the request; its media fields may be local paths, `s3://`, `https://` or data URIs.
        media: what `upload_media` gave, by field. What is missing here is uploaded from the request's source.
        plan: the prepared request, which lets Prefect show a repetition as `Cached`.
        credentials: name of a `FalCredentials` block; empty for the environment's account.
        ledger: name of a `GenerationLedger` block; empty for the environment's ledger.
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
    names = BlockNames(credentials=credentials, ledger=ledger, archive=None, budget=budget)
    async with services_for(names) as shared:
        services = shared.calling_back(webhook_url) if webhook_url else shared
        if plan is None:
            plan, request, inputs = await prepare(services, request, owner=owner, seed_scope=flow_run_id())
            for each in inputs.values():
                each.discard()
        _check(services, plan, request)
        archived = await in_thread(services.ledger.find, key=plan.key, states=[State.ARCHIVED])
        if archived:
            log.info("Paid for and archived already: generation %s", archived[0].id)
            return GenerationHandle.of(archived[0])
        urls = await _urls(services, plan, request, media or {})
        body = request.with_media(urls).body()
        generation = await submit_once(
            services, ledger_plan(plan, body, flow_run_id=flow_run_id(), tags=tuple(tags)), owner
        )
    log.info(
        "Generation %s is request %s at fal: seed %d, %d megapixels, %s expected",
        generation.id,
        generation.request_id,
        generation.seed,
        plan.estimate.megapixels,
        dollars(generation.price_expected_usd),
    )
    return GenerationHandle.of(generation)


def _check(
    services: Services, plan: PlannedGeneration, request: ReferenceVideoRequest | IngredientRequest
) -> None:
    """Stop where the plan is not of this request, account and ledger: its cache key would then lie."""
    key = generation_key(
        services.client.account,
        request.ENDPOINT,
        request.body(),
        {field: digest.sha256 for field, digest in plan.media.items()},
    )
    if (key, services.ledger.id) != (plan.key, plan.ledger_id):
        raise FalRequestInvalid("the plan was made for another request, account or ledger; plan it again")


async def _urls(
    services: Services,
    plan: PlannedGeneration,
    request: ReferenceVideoRequest | IngredientRequest,
    media: Mapping[str, UploadedMedia],
) -> dict[str, str]:
    urls: dict[str, str] = {}
    for field, source in request.media().items():
        given = media.get(field)
        if given is None:
            given = await upload(services, source, kind=media_kind(field))
        if given.sha256 != plan.media[field].sha256:
            raise FalRequestInvalid(f"{field}: the media changed between planning and upload; plan it again")
        urls[field] = given.url
    return urls
