"""Learning from fal, for cents, what no page says: three of the smallest generations that can tell.

1. reference-video-to-video with a size that is no multiple of 64 and a frame count that is not 8k+1, whose price
   differs between what is asked and what the model's grid would deliver.
2. The same endpoint with resolution "auto".
3. ingredient with a small odd size and frame count, sent with the others so that it waits in the queue of an
   account that runs two at once.

They are sent through the ledger like every other, are archived, and stay below `MOST_USD` by the price function
and by a budget limit. While they run, fal's listing is read until it shows them.
"""

import asyncio
import secrets
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from prefect_ltx.doctor.answers import LOOK_SECONDS, Seen, conclude
from prefect_ltx.fal import (
    FalError,
    GenerationRequest,
    ImageSize,
    IngredientRequest,
    ReferenceVideoRequest,
)
from prefect_ltx.generation import (
    Order,
    PlannedGeneration,
    Prepared,
    Run,
    Services,
    generate,
    prepare,
)
from prefect_ltx.generation.learned import Learned, write_learned
from prefect_ltx.ledger import BudgetLimit, Generation, Owner
from prefect_ltx.media import make_reference_clip, make_reference_sheet
from prefect_ltx.settings import Settings, SettingsError

MOST_USD: Final = Decimal("0.05")
LISTING_PATIENCE: Final = 900.0
"""Seconds after the answer to a submit for which the listing is asked."""
CLOCKS_DIFFER: Final = timedelta(hours=2)
"""How far fal's clock and this machine's may be apart where its listing is asked for a known request."""
TAG: Final = "doctor-live"


@dataclass
class LivePlan:
    """What would be sent, ready for consent; nothing was sent to make it."""

    probes: list[tuple[GenerationRequest, PlannedGeneration]]
    upper_usd: Decimal
    """The most that it can cost."""


def probes(clip: Path, sheet: Path) -> list[GenerationRequest]:
    """The requests, the most telling first; seeds are drawn, so that each run of the doctor asks anew."""
    common: dict[str, Any] = {
        "generate_audio": False,
        "enable_prompt_expansion": False,
        "video_write_mode": "fast",
    }
    return [
        ReferenceVideoRequest(
            prompt="A glass ball bounces along a quay.",
            video_url=str(clip),
            num_frames=12,
            resolution=ImageSize(width=700, height=500),
            seed=secrets.randbelow(2**31),
            **common,
        ),
        ReferenceVideoRequest(
            prompt="A glass ball bounces along a quay.",
            video_url=str(clip),
            num_frames=9,
            resolution="auto",
            seed=secrets.randbelow(2**31),
            **common,
        ),
        IngredientRequest(
            prompt="Reference sheet: a lantern. Generated video: the lantern swings.",
            image_url=str(sheet),
            num_frames=12,
            resolution=ImageSize(width=200, height=136),
            seed=secrets.randbelow(2**31),
            **common,
        ),
    ]


async def plan_live(services: Services, folder: Path, owner: Owner) -> LivePlan:
    """The probes with their prices, as many as fit below `MOST_USD`. Reads prices; sends nothing.

    Raises:
        SettingsError: not even one fits, at this account's price.
        FalError, LedgerError: prices or the ledger cannot be read.
    """
    clip = await make_reference_clip(folder / "clip.mp4", width=512, height=288, frames=25)
    sheet = await make_reference_sheet(folder / "sheet.png", width=448, height=256)
    plan = LivePlan([], Decimal(0))
    for request in probes(clip, sheet):
        planned, settled, inputs = await prepare(services, request, owner=owner)
        for each in inputs.values():
            each.discard()
        price = planned.estimate.price_upper_usd
        if plan.upper_usd + price <= MOST_USD:
            plan.probes.append((settled, planned))
            plan.upper_usd += price
    if not plan.probes:
        raise SettingsError(f"At this account's price none of the probes fits ${MOST_USD}. Nothing was sent.")
    return plan


async def learn(services: Services, plan: LivePlan, owner: Owner, settings: Settings) -> tuple[Learned, Path]:
    """Send the probes, watch the listing, and write down what they told; returns that and the file's path.

    Raises:
        BudgetExceeded: a limit does not allow it; nothing was sent.
        FalError, GenerationStopped, ArchiveError: none of the probes ended with a video; the ledger knows each.
        OSError: the answers cannot be written.
    """
    limit = BudgetLimit(
        usd=MOST_USD, period="total", tag=f"{TAG}:{secrets.token_hex(6)}", name="doctor --live"
    )
    bounded = replace(services, limits=(*services.limits, limit))
    run = Run.begin(bounded, at_fal=len(plan.probes))
    try:
        ends = await asyncio.gather(
            *(_probe(run, request, planned, owner, str(limit.tag)) for request, planned in plan.probes),
            return_exceptions=True,
        )
    finally:
        await run.aclose()
    told = [each for each in ends if not isinstance(each, BaseException)]
    for each in ends:
        if isinstance(each, BaseException) and (not told or not isinstance(each, Exception)):
            raise each
    learned = conclude(services.client.hosts.account_host, told)
    path = await asyncio.to_thread(write_learned, settings.home, services.account, learned)
    return learned, path


async def _probe(
    run: Run, request: GenerationRequest, planned: PlannedGeneration, owner: Owner, tag: str
) -> tuple[Generation, Seen]:
    watching = asyncio.create_task(_watched(run.services, planned.key))
    try:
        ready = Prepared(planned, request, await run.inputs.media(request))
        made = await generate(run.steps(), ready, Order(owner, tags=(TAG, tag), recipe="none"))
        seen = await watching
    finally:
        watching.cancel()
    return await run.services.ledger.get(made.generation_id), seen


async def _watched(services: Services, key: str) -> Seen:
    """Follow one request by its status and in the listing, from its acceptance until the listing has shown it."""
    seen = Seen()
    row = await _accepted(services, key)
    assert row.submitted_at is not None
    while time.time() - row.submitted_at.timestamp() < LISTING_PATIENCE:
        try:
            before = (await services.client.status(row.endpoint, row.request_id or "", logs=False)).status
            if before == "IN_QUEUE":
                seen.queued_for = time.time() - row.submitted_at.timestamp()
            listed = await _in_listing(services, row)
        except FalError as problem:
            seen.problem = problem.what
            return seen
        if listed is not None:
            seen.lag = max(0.0, time.time() - row.submitted_at.timestamp())
            seen.payloads = listed
            seen.shows_queued = before == "IN_QUEUE"
            return seen
        await asyncio.sleep(LOOK_SECONDS)
    seen.shows_queued = False
    seen.problem = f"not listed within {LISTING_PATIENCE:g} s"
    return seen


async def _accepted(services: Services, key: str) -> Generation:
    while True:
        rows = await services.ledger.find(key=key, limit=1)
        if rows and rows[0].request_id:
            return rows[0]
        await asyncio.sleep(0.1)


async def _in_listing(services: Services, row: Generation) -> bool | None:
    """Whether its payload is there, once it is listed."""
    start = row.created_at - CLOCKS_DIFFER
    async for each in services.client.list_requests(
        row.endpoint, start=start, end=None, expand_payloads=True
    ):
        if each.request_id == row.request_id:
            return each.json_input is not None
    return None
