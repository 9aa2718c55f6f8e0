"""One request, or the takes of one, shown with its price and its pictures before anything is spent."""

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal

from prefect_ltx.fal import GenerationRequest
from prefect_ltx.flows.approval import ShownPlan, approved, purchase_of
from prefect_ltx.flows.input_pictures import pictures_of
from prefect_ltx.flows.naming import code_block, words_of
from prefect_ltx.generation import PlanReport, Prepared, Run, Services, plan_request
from prefect_ltx.generation.plan import Estimate
from prefect_ltx.ledger import Approval, Purchase, budget_terms
from prefect_ltx.ledger.approvals import APPROVAL_SECONDS
from prefect_ltx.ledger.life.budget import dollars


async def approved_request(
    services: Services,
    ready: Prepared,
    again: Callable[[], Awaitable[Prepared]],
    *,
    most: int,
    within: float,
) -> tuple[Prepared, Approval | None]:
    """The request as it was approved, and by whom.

    `again` prepares it anew, and up to `most` takes of it may be bought.

    Raises:
        NotApproved: nobody approved; nothing was sent or spent.
    """
    current = [ready]

    async def shown() -> ShownPlan:
        plan, request = current[0].plan, current[0].request
        estimate = plan.estimate
        return await _shown(
            services,
            request,
            [Purchase(plan.key, estimate.price_expected_usd, estimate.price_upper_usd)],
            estimate,
            to_send=0 if plan.known else 1,
            expected_usd=estimate.price_expected_usd,
            at_most_usd=estimate.price_upper_usd * most,
            takes=f"up to {most} takes" if most > 1 else "",
        )

    async def planned_again() -> ShownPlan:
        current[0] = await again()
        return await shown()

    bought_by = await approved(services.ledger, await shown(), planned_again, within=within)
    return current[0], bought_by


async def approve_takes(
    services: Services,
    requests: Sequence[GenerationRequest],
    *,
    all_made: bool,
    within: float,
    holds: float = APPROVAL_SECONDS,
) -> Approval | None:
    """Ask a person for the takes of one request, each with its seed; without `all_made` the first may do.

    Raises:
        NotApproved: nobody approved; nothing was sent or spent.
    """

    async def shown() -> ShownPlan:
        reports = [await plan_request(services, each) for each in requests]
        new = [each for each in reports if each.status in ("new", "unknown")]
        return await _shown(
            services,
            requests[0],
            [purchase_of(each) for each in reports],
            reports[0],
            to_send=len(new),
            expected_usd=_sum(new if all_made else new[:1]),
            at_most_usd=sum((each.price_upper_usd for each in new), Decimal(0)),
            takes=f"{'' if all_made else 'up to '}{len(requests)} takes",
        )

    return await approved(services.ledger, await shown(), shown, within=within, holds=holds)


def _sum(reports: Sequence[PlanReport]) -> Decimal:
    return sum((each.price_expected_usd for each in reports), Decimal(0))


async def _shown(
    services: Services,
    request: GenerationRequest,
    purchases: list[Purchase],
    estimate: Estimate,
    *,
    to_send: int,
    expected_usd: Decimal,
    at_most_usd: Decimal,
    takes: str,
) -> ShownPlan:
    run = Run.begin(services, at_fal=1)
    try:
        (picture,) = await pictures_of(run, [request])
    finally:
        await run.aclose()
    facts = {
        "**Expected**": f"**{dollars(expected_usd)}**",
        "**At most**": f"**{dollars(at_most_usd)}**",
        "Size": f"{estimate.width}x{estimate.height}",
        "Frames": request.num_frames,
        "Seed": request.seed,
        "Takes": takes or "one",
        **{
            f"Left of {each.limit.name}": dollars(each.left_usd)
            for each in await services.ledger.spending(services.limits)
        },
        "Made from": picture,
    }
    table = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items() if value != "")]
    parts = ["\n".join(table), *(f"- {each}" for each in estimate.warnings), code_block(request.prompt)]
    return ShownPlan(
        title=f"“{words_of(request.prompt)}”",
        purchases=purchases,
        to_send=to_send,
        at_most_usd=at_most_usd,
        markdown="\n\n".join(parts),
        beside=budget_terms(services.limits),
    )
