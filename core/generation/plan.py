"""What a request will be, before anything is sent: its key, seed, size, price, and what speaks against it."""

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel

from prefect_ltx.fal import (
    FalRequestInvalid,
    FrameRule,
    GenerationRequest,
    megapixels,
    requested_size,
    snap_num_frames,
    upper_bound_megapixels,
)
from prefect_ltx.generation.accounts import keys_elsewhere
from prefect_ltx.generation.inputs import InputMedia, MediaDigest, fetch_inputs
from prefect_ltx.generation.pricing import PriceSource
from prefect_ltx.generation.services import Services
from prefect_ltx.ledger import Generation, Owner, Plan, State, generation_keys
from prefect_ltx.runtime import THIS_MACHINE, Runtime

PIXEL_BUDGET_MEGAPIXELS = 150
"""Above about 135 to 150 megapixels the reference-video endpoint was seen to answer 422 (ltx-model §2)."""


NO_ACCOUNT = (
    "no account is set (FAL_KEY, or PREFECT_LTX_FAL_URL): prices are those of fal's page, and what is paid for "
    "already is not known"
)
"""What a plan without an account has to say."""


class Estimate(BaseModel, frozen=True):
    """What a request asks for and what that costs, in pixels, whole megapixels and dollars."""

    endpoint: str
    width: int
    height: int
    num_frames: int
    megapixels: int
    most_megapixels: int
    """What may be billed at most: padded frames, and the largest delivery."""
    unit_price_usd: Decimal
    """Dollars per megapixel."""
    price_from: PriceSource
    """Whose word the price is; "page" is a guess, at which nothing is sent under a budget."""
    price_expected_usd: Decimal
    """For the size that was asked for."""
    price_upper_usd: Decimal
    """What is reserved from the budget: never below what fal may bill."""
    warnings: list[str]


class Known(BaseModel, frozen=True):
    """A generation that the ledger has: unfinished, or archived."""

    generation_id: str
    state: State


class PlannedGeneration(BaseModel, frozen=True):
    """One request, ready to be paid for. Safe to store: it holds content digests, no URLs and no API key."""

    account: str
    key: str
    """sha256 over account, endpoint and canonical request: same key, same video, no second payment."""
    older_keys: tuple[str, ...] = ()
    """The other keys under which an earlier release may know the same video."""
    keys_elsewhere: tuple[str, ...] = ()
    """The keys of the very same request in other accounts of the service, where the user named none."""
    seedless_key: str
    """The key without the seed."""
    seed_drawn: bool
    """Whether the seed was drawn here, so that nobody else's request has it."""
    ledger_id: str
    earlier_attempts: int
    """How many generations of this key ended without a video, so that they may be tried again."""
    seed: int
    media: dict[str, MediaDigest]
    asked: dict[str, Any]
    """The request's body without its media: what the plan is a plan of."""
    estimate: Estimate
    known: Known | None = None
    """What the ledger had of this key when it was planned."""

    @property
    def all_keys(self) -> tuple[str, ...]:
        """Every key under which the ledger may have it, its own first."""
        return (self.key, *self.older_keys)

    @property
    def is_archived(self) -> bool:
        """Whether its video was in the archive when it was planned."""
        return self.known is not None and self.known.state is State.ARCHIVED


class Prepared(NamedTuple):
    """One request before its first step: planned, settled, its inputs read, probed and hashed once."""

    plan: PlannedGeneration
    request: GenerationRequest
    """With its seed and frame count settled; its media are still the sources."""
    inputs: dict[str, InputMedia]
    """Every media field as a local file."""


class PlanReport(Estimate):
    """What `prefect-ltx plan` shows for one request. Nothing was spent to learn it."""

    key: str | None
    """None while the seed is still to be drawn: such a request cannot be found again beforehand."""
    seed: int | None
    status: Literal["new", "in_flight", "archived", "parked", "lost", "unknown"]
    """Unknown without an account: whose videos are looked for is not known then."""
    budget: list[dict[str, Any]]
    over_budget: bool
    stopped: str = ""
    """Why nothing is bought now: a bill far beyond its bound, at which nobody has looked. Else empty."""


def draw_seed(scope: str | None, runtime: Runtime = THIS_MACHINE) -> int:
    """A seed below 2**31 for a request that has none: the same for the same `scope`, random without one.

    A flow's scope is its run id and the item's place in it, so that a retried run draws the same seed.
    """
    if scope is None:
        return runtime.random.randrange(2**31)
    return int.from_bytes(hashlib.sha256(scope.encode()).digest()[:8], "big") % 2**31


async def prepare(
    services: Services,
    request: GenerationRequest,
    *,
    owner: Owner,
    frame_rule: FrameRule = "as_is",
    seed_scope: str | None = None,
) -> Prepared:
    """Read and hash the media, settle seed and frames, price the request, and look it up in the ledger.

    The one write is taking over the drawn seed of a run that died. `seed_scope` is the flow run.

    Raises:
        FalRequestInvalid: a media input cannot be used; nothing was sent or spent.
        LedgerError: the ledger cannot be read; nothing was sent or spent.
        AccountUnclear: nobody can tell whose account the key is of; nothing was sent or spent.
    """
    services.identity.check()
    request = request.with_frames(frame_rule)
    inputs = await fetch_inputs(services, request)
    media = _digests(inputs)
    try:
        drawn = request.seed is None
        if drawn:
            seed = await _seed_for(services, keys_of(services, request, media), owner, seed_scope)
            request = request.with_seed(seed)
        plan = await plan_of(services, request, media, seed_drawn=drawn)
        return Prepared(await looked_up(services, plan), request, inputs)
    except BaseException:
        for source in inputs.values():
            source.discard()
        raise


async def looked_up(services: Services, plan: PlannedGeneration) -> PlannedGeneration:
    """The plan with what the ledger has of its key now."""
    rows = await services.ledger.find(keys=plan.all_keys, live=True)
    attempts = await services.ledger.released_attempts(plan.key)
    known = Known(generation_id=rows[0].id, state=rows[0].state) if rows else None
    return plan.model_copy(update={"known": known, "earlier_attempts": attempts})


async def _seed_for(services: Services, seedless_keys: Sequence[str], owner: Owner, scope: str | None) -> int:
    """This run's own seed where it has a generation; else that of one whose run died, which may have paid
    already; else a drawn one.
    """
    if scope is not None:
        for row in await services.ledger.find(flow_run_id=scope, live=True):
            if row.seedless_key in seedless_keys and row.seed_drawn:
                return row.seed
    for seedless_key in seedless_keys:
        orphan = await services.ledger.adopt_seedless(seedless_key, owner)
        if orphan is not None:
            return orphan.seed
    return draw_seed(scope, services.runtime)


async def plan_of(
    services: Services, request: GenerationRequest, media: Mapping[str, MediaDigest], *, seed_drawn: bool
) -> PlannedGeneration:
    """The plan of a request whose seed is settled and whose media are hashed; the ledger is not asked."""
    assert request.seed is not None
    key, *older_keys = keys_of(services, request, media)
    return PlannedGeneration(
        account=services.account,
        key=key,
        older_keys=tuple(older_keys),
        keys_elsewhere=keys_elsewhere(
            services.known_accounts,
            services.identity,
            request,
            {field: digest.content for field, digest in media.items()},
        ),
        seedless_key=key_of(services, request.model_copy(update={"seed": None}), media),
        seed_drawn=seed_drawn,
        ledger_id=services.ledger.id,
        earlier_attempts=0,
        seed=request.seed,
        media=dict(media),
        asked=_without_media(request),
        estimate=await estimate_of(services, request, media),
    )


def key_of(services: Services, request: GenerationRequest, media: Mapping[str, MediaDigest]) -> str:
    """The key of a request in this account; of one without a seed it is the seedless key."""
    return keys_of(services, request, media)[0]


def keys_of(
    services: Services, request: GenerationRequest, media: Mapping[str, MediaDigest]
) -> tuple[str, ...]:
    """The key of a request, then the other keys under which an earlier release may know the same video."""
    return generation_keys(
        services.account,
        request.ENDPOINT,
        request.body(),
        {field: digest.content for field, digest in media.items()},
    )


async def plan_request(
    services: Services, request: GenerationRequest, *, frame_rule: FrameRule = "as_is"
) -> PlanReport:
    """What this request would cost and whether it is paid for already; reads only.

    Raises:
        FalRequestInvalid: a media input cannot be used.
        LedgerError: the ledger cannot be read.
    """
    request = request.with_frames(frame_rule)
    inputs = await fetch_inputs(services, request)
    try:
        keys = keys_of(services, request, _digests(inputs)) if request.seed is not None else ()
        estimate = await estimate_of(services, request, _digests(inputs))
    finally:
        for media in inputs.values():
            media.discard()
    live = await services.ledger.find(keys=keys, live=True) if keys else []
    budget = await services.ledger.spending(services.limits)
    stops = await services.ledger.stops()
    due = Decimal(0) if live else estimate.price_upper_usd
    return PlanReport(
        **estimate.model_dump(),
        key=keys[0] if keys else None,
        seed=request.seed,
        status=status_of(live[0]) if live else "new" if services.has_account else "unknown",
        budget=[
            {
                "name": each.limit.name,
                "period": each.limit.period,
                "limit_usd": each.limit.usd,
                "left_usd": each.left_usd,
            }
            for each in budget
        ],
        over_budget=any(each.left_usd < due for each in budget),
        stopped=stops[0].why if stops else "",
    )


def check_plan(services: Services, plan: PlannedGeneration, request: GenerationRequest) -> None:
    """Refuse a plan that is not of this request, account and ledger.

    Raises:
        FalRequestInvalid: nothing was sent or spent.
    """
    here = (services.account, services.ledger.id, request.ENDPOINT, _without_media(request))
    if here != (plan.account, plan.ledger_id, plan.estimate.endpoint, plan.asked):
        raise FalRequestInvalid("the plan was made for another request, account or ledger; plan it again")


def ledger_plan(
    planned: PlannedGeneration, body: dict[str, Any], *, flow_run_id: str | None, tags: tuple[str, ...]
) -> Plan:
    """The ledger's view of a planned generation; `body` is what will be POSTed, URLs included."""
    estimate = planned.estimate
    return Plan(
        key=planned.key,
        seedless_key=planned.seedless_key,
        endpoint=estimate.endpoint,
        account=planned.account,
        older_keys=planned.older_keys,
        keys_elsewhere=planned.keys_elsewhere,
        body=body,
        seed=planned.seed,
        seed_drawn=planned.seed_drawn,
        price_expected_usd=estimate.price_expected_usd,
        price_upper_usd=estimate.price_upper_usd,
        price_is_guess=estimate.price_from == "page",
        flow_run_id=flow_run_id,
        tags=tags,
        asked={
            "width": estimate.width,
            "height": estimate.height,
            "num_frames": estimate.num_frames,
            "frames_per_second": body["frames_per_second"],
            "audio": body["generate_audio"],
            "price": {
                "megapixels": estimate.megapixels,
                "most_megapixels": estimate.most_megapixels,
                "unit_price_usd": str(estimate.unit_price_usd),
                "from": estimate.price_from,
            },
            "media": {field: digest.model_dump() for field, digest in planned.media.items()},
        },
    )


async def estimate_of(
    services: Services, request: GenerationRequest, media: Mapping[str, MediaDigest]
) -> Estimate:
    """Size, megapixels, price and warnings of a request whose media are hashed."""
    size, control = _size_of(media.get(request.reference_field())), _size_of(media.get("control_video_url"))
    learned = services.options.learned
    side = min(learned.auto_size) if learned and learned.auto_size else None
    width, height = requested_size(request, size, auto_side=side)
    amount = megapixels(width, height, request.num_frames)
    most = upper_bound_megapixels(request, size, control_size=control, auto_side=side)
    price = await services.unit_price(request.ENDPOINT)
    warnings = _warnings(request, width, height) + ([price.note] if price.note else [])
    warnings += [digest.note for digest in media.values() if digest.note]
    return Estimate(
        endpoint=request.ENDPOINT,
        width=width,
        height=height,
        num_frames=request.num_frames,
        megapixels=amount,
        most_megapixels=most,
        unit_price_usd=price.usd,
        price_from=price.source,
        price_expected_usd=amount * price.usd,
        price_upper_usd=most * price.usd,
        warnings=warnings,
    )


def status_of(live: Generation) -> Literal["in_flight", "archived", "parked", "lost"]:
    """Where a live row stands, as a plan says it."""
    match live.state:
        case State.ARCHIVED:
            return "archived"
        case State.PARKED:
            return "parked"
        case State.LOST:
            return "lost"
        case _:
            return "in_flight"


def _size_of(media: MediaDigest | None) -> tuple[int, int] | None:
    return (media.width, media.height) if media else None


def _without_media(request: GenerationRequest) -> dict[str, Any]:
    media = request.media()
    return {name: value for name, value in request.body().items() if name not in media}


def _digests(inputs: Mapping[str, InputMedia]) -> dict[str, MediaDigest]:
    return {field: media.digest for field, media in inputs.items()}


def _warnings(request: GenerationRequest, width: int, height: int) -> list[str]:
    found = []
    nearest = snap_num_frames(request.num_frames, "nearest")
    if nearest != request.num_frames:
        found.append(
            f"{request.num_frames} frames is not 8k+1: the model works on {nearest} and fal may deliver "
            "fewer frames than asked (--frame-rule nearest sends a count that fits)."
        )
    if width % 64 or height % 64:
        found.append(f"{width}x{height} is not a multiple of 64: fal may deliver another size.")
    amount = megapixels(width, height, request.num_frames)
    if "video_url" in request.MEDIA_FIELDS and amount > PIXEL_BUDGET_MEGAPIXELS:
        found.append(
            f"{amount} megapixels: above about {PIXEL_BUDGET_MEGAPIXELS} this endpoint was seen to refuse (422)."
        )
    return found
