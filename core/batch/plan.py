"""What a batch will make and cost, row by row, before anything is spent: seeds settled, duplicates and hits found.

A row without a seed stands for one video of its request. Where an earlier run of the same batch began or made
one, that one counts; else a seed is drawn from the batch's name and the row's place, so that two runs of one file
are one purchase, even at the same time.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel

from prefect_ltx.batch.problems import BatchInvalid, Problem
from prefect_ltx.batch.read import Batch
from prefect_ltx.batch.rows import Row
from prefect_ltx.fal import FalRequestInvalid, FrameRule, GenerationRequest
from prefect_ltx.generation.inputs import MediaDigest
from prefect_ltx.generation.plan import NO_ACCOUNT, PlannedGeneration, draw_seed, key_of, plan_of, status_of
from prefect_ltx.generation.retake import is_retake
from prefect_ltx.generation.services import Services
from prefect_ltx.generation.steps import Run
from prefect_ltx.ledger import UNFINISHED, Generation, Purchase

PlanStatus = Literal["new", "in_flight", "archived", "parked", "lost", "duplicate"]

_BREATH = 100
_KEYS_AT_ONCE = 500


@dataclass(frozen=True)
class PlannedRow:
    """One row, ready to be paid for."""

    row: Row
    request: GenerationRequest
    """With its seed and frame count settled."""
    plan: PlannedGeneration
    status: PlanStatus
    same_as: int | None = None
    """The place of an earlier row of this batch that asks for the very same video."""


class BudgetLeft(BaseModel, frozen=True):
    """A limit and what is left of it, in USD."""

    name: str
    period: str
    limit_usd: Decimal
    left_usd: Decimal


class BatchPlan(BaseModel, frozen=True):
    """A batch's frames, megapixels and price; nothing was spent to learn them."""

    name: str
    requests: int
    to_send: int
    in_flight: int
    hits: int
    """Rows whose video is archived already."""
    duplicates: int
    needs_a_person: int
    """Rows that are parked or lost: they are not sent again by themselves."""
    num_frames: int
    """Of what would be sent, as are the sums below."""
    megapixels: int
    price_expected_usd: Decimal
    price_upper_usd: Decimal
    budget: list[BudgetLeft]
    over_budget: list[str]
    """Names of the limits that do not cover all of it."""
    warnings: list[str]
    stopped: str = ""
    """Why nothing is bought at all until a person has looked; empty where nothing stops it."""


def batch_tag(name: str) -> str:
    """The ledger's tag of everything that a batch of this name made."""
    return f"batch:{name}"


async def plan_rows(
    run: Run,
    batch: Batch,
    *,
    frame_rule: FrameRule = "as_is",
    flow_run_id: str | None = None,
    fresh: bool = False,
    seed_scope: str = "",
) -> list[PlannedRow]:
    """Hash every input once, settle every seed, and look every row up in the ledger. Writes and sends nothing.

    Seeds are drawn from the batch's name, or from `seed_scope`: runs of the same rows draw the same ones, even side
    by side. With `fresh`, rows without a seed get new videos, whatever other runs archived or are making.

    Raises:
        BatchInvalid: inputs that cannot be used, by row and field.
        LedgerError: the ledger cannot be read.
    """
    media = await _media(run, batch)
    rows = [
        (row, row.request.with_frames(frame_rule), digests)
        for row, digests in zip(batch.rows, media, strict=True)
    ]
    seeds = await _seeds(run.services, batch.name, rows, flow_run_id, fresh, seed_scope)
    settled_rows: list[tuple[Row, GenerationRequest, PlannedGeneration]] = []
    for number, (row, request, digests) in enumerate(rows):
        if number % _BREATH == 0:
            await asyncio.sleep(0)
        drawn = seeds.get(row.place)
        settled = request if drawn is None else request.with_seed(drawn)
        plan = await plan_of(run.services, settled, digests, seed_drawn=drawn is not None)
        settled_rows.append((row, settled, plan))
    known = await _known(run.services, {key for _, _, plan in settled_rows for key in plan.all_keys})
    first: dict[str, int] = {}
    found: list[PlannedRow] = []
    for row, settled, plan in settled_rows:
        status: PlanStatus = next((known[key] for key in plan.all_keys if key in known), "new")
        same_as = first.setdefault(plan.key, row.place)
        duplicate = same_as != row.place
        found.append(
            PlannedRow(
                row,
                settled,
                plan,
                "duplicate" if duplicate else status,
                same_as if duplicate else None,
            )
        )
    return found


async def summary(services: Services, name: str, rows: Sequence[PlannedRow]) -> BatchPlan:
    """The sums over planned rows, and what the budget has left for them."""
    new = [each for each in rows if each.status == "new"]
    count = defaultdict[str, int](int)
    for each in rows:
        count[each.status] += 1
    upper = sum((each.plan.estimate.price_upper_usd for each in new), Decimal(0))
    limits = await services.ledger.spending(services.limits)
    stops = await services.ledger.stops()
    return BatchPlan(
        name=name,
        requests=len(rows),
        to_send=len(new),
        in_flight=count["in_flight"],
        hits=count["archived"],
        duplicates=count["duplicate"],
        needs_a_person=count["parked"] + count["lost"],
        num_frames=sum(each.request.num_frames for each in new),
        megapixels=sum(each.plan.estimate.megapixels for each in new),
        price_expected_usd=sum((each.plan.estimate.price_expected_usd for each in new), Decimal(0)),
        price_upper_usd=upper,
        budget=[
            BudgetLeft(
                name=each.limit.name,
                period=each.limit.period,
                limit_usd=each.limit.usd,
                left_usd=each.left_usd,
            )
            for each in limits
        ],
        over_budget=[each.limit.name for each in limits if each.left_usd < upper],
        stopped=stops[0].why if stops and new else "",
        warnings=[
            *(stop.why for stop in stops[:1]),
            *([] if services.has_account else [NO_ACCOUNT]),
            *_warnings(new),
        ],
    )


def purchases_of(rows: Sequence[PlannedRow]) -> list[Purchase]:
    """What an approval of these rows is bound to (`plan_digest`): every video of them, paid for already or not."""
    return [
        Purchase(each.plan.key, each.plan.estimate.price_expected_usd, each.plan.estimate.price_upper_usd)
        for each in rows
        if each.status != "duplicate"
    ]


def _warnings(rows: Sequence[PlannedRow]) -> list[str]:
    """Each warning once, with the first of its rows and how many more there are."""
    places: dict[str, list[str]] = defaultdict(list)
    for each in rows:
        for warning in each.plan.estimate.warnings:
            places[warning].append(each.row.where)
    return [
        f"{where[0]}{f' and {len(where) - 1} more' if len(where) > 1 else ''}: {warning}"
        for warning, where in places.items()
    ]


_Settled = tuple[Row, GenerationRequest, dict[str, MediaDigest]]


async def _media(run: Run, batch: Batch) -> list[dict[str, MediaDigest]]:
    found = await asyncio.gather(
        *(run.inputs.digests(row.request) for row in batch.rows), return_exceptions=True
    )
    problems: list[Problem] = []
    media: list[dict[str, MediaDigest]] = []
    for row, each in zip(batch.rows, found, strict=True):
        if isinstance(each, FalRequestInvalid):
            field, _, what = each.what.partition(": ")
            problems.append(Problem(row.where, field, what))
        elif isinstance(each, BaseException):
            raise each
        else:
            media.append(each)
    if problems:
        raise BatchInvalid(batch.name, list(dict.fromkeys(problems)))
    return media


async def _seeds(
    services: Services,
    name: str,
    rows: list[_Settled],
    flow_run_id: str | None,
    fresh: bool,
    seed_scope: str,
) -> dict[int, int]:
    """By place, for rows without a seed: the seed."""
    groups: dict[str, list[int]] = defaultdict(list)
    for row, request, media in rows:
        if request.seed is None:
            groups[key_of(services, request, media)].append(row.place)
    if not groups:
        return {}
    scope = flow_run_id if fresh else f"batch {name}"
    before: dict[str, list[int]] = defaultdict(list)
    for each in await _made_before(services, name, flow_run_id, fresh):
        before[each.seedless_key].append(each.seed)
    seeds: dict[int, int] = {}
    for key, places in groups.items():
        # The newest first: the oldest is taken from the end.
        seeds |= _shared_out(places, before[key], seed_scope or scope)
    return seeds


async def _made_before(
    services: Services, name: str, flow_run_id: str | None, fresh: bool
) -> list[Generation]:
    """What runs of a batch of this name drew the seeds of, the newest first; with `fresh`, what this run did and
    what others left unfinished.
    """
    found = await services.ledger.find(tag=batch_tag(name), live=True)
    # A take after the first is not a row's own video: another row must not be given it for its own.
    drawn = [each for each in found if each.seed_drawn and not is_retake(each.tags)]
    if not fresh:
        return drawn
    left = {each.id for each in await services.ledger.unheld(UNFINISHED)}
    return [each for each in drawn if each.id in left or (flow_run_id and each.flow_run_id == flow_run_id)]


def _shared_out(places: list[int], made: list[int], scope: str | None) -> dict[int, int]:
    """Seeds for rows that ask for the same thing: their own of before, then any of before, then a drawn one."""
    own = {place: draw_seed(None if scope is None else f"{scope}/{place}") for place in places}
    left = list(made)
    seeds: dict[int, int] = {}
    for place in places:
        if own[place] in left:
            left.remove(own[place])
            seeds[place] = own[place]
    for place in places:
        if place not in seeds:
            seeds[place] = left.pop() if left else own[place]
    return seeds


async def _known(services: Services, keys: set[str]) -> dict[str, PlanStatus]:
    # Some keys at a time: a ledger of years is larger than a batch, and a statement takes so many.
    found: dict[str, PlanStatus] = {}
    wanted = sorted(keys)
    for first in range(0, len(wanted), _KEYS_AT_ONCE):
        some = wanted[first : first + _KEYS_AT_ONCE]
        found |= {each.key: status_of(each) for each in await services.ledger.find(keys=some, live=True)}
    return found
