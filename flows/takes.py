"""Several seeds of one request, and the best of them."""

import asyncio
from decimal import Decimal
from typing import Any, Literal, cast

from prefect.runtime import flow_run
from pydantic import BaseModel

from prefect_ltx.blocks.services import BlockNames, services_for
from prefect_ltx.fal import FrameRule
from prefect_ltx.film import TakePolicy, take_seeds
from prefect_ltx.flows.approve_requests import approve_takes
from prefect_ltx.flows.asking import ui_address
from prefect_ltx.flows.cancellation import cancel_paid_job
from prefect_ltx.flows.choice import person_chooses, publish_comparison
from prefect_ltx.flows.forms import (
    DAY,
    ApprovalDays,
    AtOnce,
    JudgeName,
    OneRequest,
    RecipeChoice,
    Seconds,
    TakesCount,
)
from prefect_ltx.flows.judge import Judge, load_judge
from prefect_ltx.flows.naming import words_of
from prefect_ltx.flows.parameters import flow
from prefect_ltx.flows.take import check_archived, draw_posters, make_takes, rank
from prefect_ltx.flows.take_row import FailedTake, NoTakePassed, Take, TakeRow
from prefect_ltx.generation import Services, draw_seed
from prefect_ltx.generation.store import QUALITY_CONTROL
from prefect_ltx.ledger import approval_tag
from prefect_ltx.ledger.verdicts import Word
from prefect_ltx.tasks.context import flow_run_id

CHOICE_SECONDS = 24 * 3600.0


class TakesResult(BaseModel):
    """The chosen take, all others, and the page that shows them side by side (in the archive)."""

    chosen: Take
    takes: list[Take]
    failed: list[FailedTake]
    page: str
    spent_usd: Decimal = Decimal(0)
    """What this run bought: billed where fal said so, else expected."""
    may_have_cost_usd: Decimal = Decimal(0)
    """What takes without a video may have cost beyond that."""


def _run_name() -> str:
    request: Any = flow_run.parameters["request"]
    data = request if isinstance(request, dict) else request.model_dump()
    return f"{words_of(str(data.get('prompt', '')))} (best of {flow_run.parameters.get('n', 4)})"


@flow(name="best-of-takes", flow_run_name=_run_name, on_cancellation=[cancel_paid_job])
async def best_of_takes(
    request: OneRequest,
    n: TakesCount = 4,
    stop: Literal["first_pass", "all"] | None = None,
    choose: Literal["judge", "person"] = "judge",
    judge: JudgeName = "",
    choice_timeout_seconds: Seconds = CHOICE_SECONDS,
    concurrency: AtOnce = 2,
    credentials: str = "",
    ledger: str = "",
    archive: str = "",
    budget: str = "",
    recipe: RecipeChoice = "web",
    tags: list[str] | None = None,
    frame_rule: FrameRule = "as_is",
    approve: bool = False,
    approval_days: ApprovalDays = 7,
) -> TakesResult:
    """Make several takes of one request, reject those with defects, and choose one.

    The takes' seeds follow from the request's seed, or from the flow run where it has none, so that a retry makes
    the same takes and pays for none of them twice.

    Args:
        request: What to make. A request with a reference sheet or with a reference video.
        n: How many takes at most; each is paid for.
        stop: first_pass stops at the first take without a defect; all makes n. Left out: all where somebody chooses.
        choose: judge ranks the takes; person pauses this run until somebody chooses in the UI.
        judge: module:object that scores the takes, one that the worker's owner allows (PREFECT_LTX_JUDGES); empty takes
            the first one without a defect.
        choice_timeout_seconds: How long to wait for a person, for the approval and for the choice.
        concurrency: How many takes are made at the same time.
        credentials: Name of a fal Credentials block; empty for FAL_KEY and PREFECT_LTX_FAL_URL.
        ledger: Name of a Generation Ledger block; empty for PREFECT_LTX_LEDGER.
        archive: Name of a Video Archive block; empty for PREFECT_LTX_ARCHIVE.
        budget: Name of a Spending Budget block; empty for PREFECT_LTX_BUDGET_USD.
        recipe: Which renditions to make of each take: by name, or a recipe of your own.
        tags: Words to find it by in the ledger; budgets may be set for a tag.
        frame_rule: as_is sends the frame count as asked; nearest and floor fit it to 8k+1, as the model works.
        approve: Show what the takes will cost and wait until a person approves it in the UI; nothing is sent before.
        approval_days: How many days an approval of these very takes holds, for runs that come later.
    """
    policy = TakePolicy(
        n=n, stop=stop or ("all" if choose == "person" or judge else "first_pass"), choose=choose, judge=judge
    )
    if choose == "person":
        ui_address()  # raises where nobody can be asked: before the takes are paid for
    # Loaded before anything is sent: a mistyped name must not cost the takes.
    ranking = load_judge(policy.judge, named_in_code=True) if policy.judge else None
    names = BlockNames(credentials=credentials, ledger=ledger, archive=archive, budget=budget)
    if request.seed is None:
        request = request.with_seed(draw_seed(flow_run_id()))
    async with services_for(names) as services:
        marks = list(tags or [])
        if approve:
            seeds = take_seeds(cast(int, request.seed), n)
            bought_by = await approve_takes(
                services,
                [request.with_frames(frame_rule).with_seed(seed) for seed in seeds],
                all_made=policy.stop == "all",
                within=choice_timeout_seconds,
                holds=approval_days * DAY,
            )
            marks += [approval_tag(bought_by)] if bought_by else []
        row = await make_takes(
            services,
            request,
            names,
            policy,
            slots=asyncio.Semaphore(concurrency),
            recipe=recipe,
            tags=marks,
            frame_rule=frame_rule,
        )
        label = f"“{words_of(request.prompt, 60)}”"
        chosen = await choose_take(services, row, ranking, label=label, choice_timeout=choice_timeout_seconds)
        await publish_comparison(row, label=label)
        page = await row.publish_page(services)
    return TakesResult(
        chosen=chosen,
        takes=row.takes,
        failed=row.failed,
        page=page,
        spent_usd=row.spent_usd,
        may_have_cost_usd=row.may_have_cost_usd,
    )


async def choose_take(
    services: Services, row: TakeRow, judge: Judge | None, *, label: str, choice_timeout: float
) -> Take:
    """One take of a row, chosen as its policy says: by itself only one without a defect, by a person any.

    Raises:
        NobodyChose, NoTakePassed, JudgeError: no choice was made; every take is archived.
        ArchiveNotFound: what a person chose has left the archive meanwhile.
    """
    await draw_posters(services, row)
    if judge is not None and row.passed:
        best = await rank(row, judge)
        if row.policy.choose == "judge":
            await _note_choice(services, row, best, by=f"judge {row.policy.judge}")
            return best
    if row.policy.choose == "person":
        chosen, note = await person_chooses(row, label=label, timeout=choice_timeout)
        if chosen is None:
            for refused in row.takes:
                await _note_person(services, refused, "rejected", note)
            raise NoTakePassed(row.refused_all(services.archive.location))
        await check_archived(services, row, chosen)
        await _note_person(services, chosen, "chosen", note)
        return chosen
    first = row.choose(row.passed[0].number)
    await _note_choice(services, row, first, by=QUALITY_CONTROL)
    return first


async def _note_person(services: Services, take: Take, word: Word, reason: str) -> None:
    await services.ledger.note_verdict(
        take.generation.generation_id, word, source="person", by="a person in the Prefect UI", reason=reason
    )


async def _note_choice(services: Services, row: TakeRow, take: Take, *, by: str) -> None:
    """One of several takes is used, so the others are not: a fact for what usable clips cost."""
    if len(row.takes) > 1:
        await services.ledger.note_verdict(
            take.generation.generation_id, "chosen", source="machine", by=by, reason="the best of its takes"
        )
