"""What a request will be, before anything is sent: its key, seed, size, price, and what speaks against it."""

import hashlib
import secrets
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel

from prefect_ltx.fal import (
    FrameRule,
    GenerationRequest,
    megapixels,
    requested_size,
    snap_num_frames,
    upper_bound_megapixels,
)
from prefect_ltx.generation.inputs import InputMedia, MediaDigest, fetch_inputs
from prefect_ltx.generation.services import Services, in_thread
from prefect_ltx.ledger import Generation, Owner, Plan, State, generation_keys

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
    price_expected_usd: Decimal
    """For the size that was asked for."""
    price_upper_usd: Decimal
    """What is reserved from the budget: never below what fal may bill."""
    warnings: list[str]


class PlannedGeneration(BaseModel, frozen=True):
    """One request, ready to be paid for. Safe to store: it holds content digests, no URLs and no API key."""

    account: str
    key: str
    """sha256 over account, endpoint and canonical request: same key, same video, no second payment."""
    older_keys: tuple[str, ...] = ()
    """The other keys under which an earlier release may know the same video."""
    seedless_key: str
    """The key without the seed."""
    seed_drawn: bool
    """Whether the seed was drawn here, so that nobody else's request has it."""
    ledger_id: str
    earlier_attempts: int
    """How many generations of this key ended without a video, so that they may be tried again."""
    seed: int
    media: dict[str, MediaDigest]
    estimate: Estimate


class PlanReport(Estimate):
    """What `prefect-ltx plan` shows for one request. Nothing was spent to learn it."""

    key: str | None
    """None while the seed is still to be drawn: such a request cannot be found again beforehand."""
    seed: int | None
    status: Literal["new", "in_flight", "archived", "parked", "lost", "unknown"]
    """Unknown without an account: whose videos are looked for is not known then."""
    budget: list[dict[str, Any]]
    over_budget: bool


def draw_seed(scope: str | None) -> int:
    """A seed below 2**31 for a request that has none: the same for the same `scope`, random without one.

    A flow's scope is its run id and the item's place in it, so that a retried run draws the same seed.
    """
    if scope is None:
        return secrets.randbelow(2**31)
    return int.from_bytes(hashlib.sha256(scope.encode()).digest()[:8], "big") % 2**31


async def prepare(
    services: Services,
    request: GenerationRequest,
    *,
    owner: Owner,
    frame_rule: FrameRule = "as_is",
    seed_scope: str | None = None,
    seed_drawn: bool = False,
) -> tuple[PlannedGeneration, GenerationRequest, dict[str, InputMedia]]:
    """Hash the media, settle seed and frames, and price the request.

    The one write is taking over the drawn seed of a run that died. `seed_drawn` says that the request's seed is
    no one else's, as one that follows from a drawn one is. Gives the plan, the request with its seed and frame
    count settled, and the inputs as local files.

    Raises:
        FalRequestInvalid: a media input cannot be used; nothing was sent or spent.
        LedgerError: the ledger cannot be read; nothing was sent or spent.
    """
    request = request.with_frames(frame_rule)
    inputs = await fetch_inputs(services, request)
    media = _digests(inputs)
    if request.seed is None:
        seed_drawn = True
        # A run that died may have paid already: its unfinished twin goes on before a new seed is drawn.
        orphan: Generation | None = None
        for seedless_key in keys_of(services, request, media):
            if orphan is None:
                orphan = await in_thread(services.ledger.adopt_seedless, seedless_key, owner)
        request = request.with_seed(orphan.seed if orphan else draw_seed(seed_scope))
    planned = await plan_of(services, request, media, seed_drawn=seed_drawn)
    attempts = await in_thread(services.ledger.released_attempts, planned.key)
    return planned.model_copy(update={"earlier_attempts": attempts}), request, inputs


async def plan_of(
    services: Services, request: GenerationRequest, media: Mapping[str, MediaDigest], *, seed_drawn: bool
) -> PlannedGeneration:
    """The plan of a request whose seed is settled and whose media are hashed; the ledger is not asked."""
    assert request.seed is not None
    key, *older_keys = keys_of(services, request, media)
    return PlannedGeneration(
        account=services.client.account,
        key=key,
        older_keys=tuple(older_keys),
        seedless_key=key_of(services, request.model_copy(update={"seed": None}), media),
        seed_drawn=seed_drawn,
        ledger_id=services.ledger.id,
        earlier_attempts=0,
        seed=request.seed,
        media=dict(media),
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
        services.client.account,
        request.ENDPOINT,
        request.body(),
        {field: digest.sha256 for field, digest in media.items()},
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
    live = await in_thread(services.ledger.find, keys=keys, live=True) if keys else []
    budget = await in_thread(services.ledger.spending, services.limits)
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
    )


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
        body=body,
        seed=planned.seed,
        seed_drawn=planned.seed_drawn,
        price_expected_usd=estimate.price_expected_usd,
        price_upper_usd=estimate.price_upper_usd,
        flow_run_id=flow_run_id,
        tags=tags,
        asked={
            "width": estimate.width,
            "height": estimate.height,
            "num_frames": estimate.num_frames,
            "frames_per_second": body["frames_per_second"],
            "audio": body["generate_audio"],
            "media": {field: digest.model_dump() for field, digest in planned.media.items()},
        },
    )


async def estimate_of(
    services: Services, request: GenerationRequest, media: Mapping[str, MediaDigest]
) -> Estimate:
    """Size, megapixels, price and warnings of a request whose media are hashed."""
    size, control = _size_of(media.get("video_url")), _size_of(media.get("control_video_url"))
    learned = services.options.learned
    side = min(learned.auto_size) if learned and learned.auto_size else None
    width, height = requested_size(request, size, auto_side=side)
    amount = megapixels(width, height, request.num_frames)
    most = upper_bound_megapixels(request, size, control_size=control, auto_side=side)
    price = await services.unit_price(request.ENDPOINT)
    return Estimate(
        endpoint=request.ENDPOINT,
        width=width,
        height=height,
        num_frames=request.num_frames,
        megapixels=amount,
        price_expected_usd=amount * price,
        price_upper_usd=most * price,
        warnings=_warnings(request, width, height),
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
