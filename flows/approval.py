"""A plan is shown, and a person approves it before anything is spent: this plan, at these prices, and no other.

The approval is bound to the plan's digest and kept in the ledger. What changed while a person thought is asked about
again: other rows, other files, a higher price.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal

from prefect.input import RunInput
from pydantic import Field

from prefect_ltx.fal import usd_to_nano
from prefect_ltx.flows.asking import WHERE, NobodyAnswered, asked, must_say
from prefect_ltx.flows.naming import in_markdown
from prefect_ltx.generation import PlanReport
from prefect_ltx.ledger import Approval, AsyncLedger, Purchase, plan_digest
from prefect_ltx.ledger.approvals import APPROVAL_SECONDS
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.tasks.context import run_logger

APPROVE_SECONDS = 24 * 3600.0


class PlanApproval(RunInput):
    """What a person answers before anything is spent."""

    model_config = must_say("approve")

    approve: bool = Field(
        default=True,
        title="Approve and spend",
        description="On: the plan above is carried out when you press Resume. Off: the run ends, nothing is spent.",
    )
    name: str = Field(
        default="",
        title="Your name",
        description="Kept with the approval.",
        json_schema_extra={"maxLength": 200},
    )


class NotApproved(Exception):
    """A person said no, or nobody said yes. Nothing was sent or spent."""


@dataclass(frozen=True)
class ShownPlan:
    """A plan as a person is shown it."""

    title: str
    """Such as `Batch night`."""
    purchases: list[Purchase]
    """Every video of it, paid for already or not."""
    to_send: int
    at_most_usd: Decimal
    """What is still to be sent can cost no more."""
    markdown: str
    beside: dict[str, str] = field(default_factory=dict)
    """What belongs to the plan beside its purchases: the budget (`budget_terms`), and what was made to decide by."""

    @property
    def digest(self) -> str:
        """What the approval is bound to."""
        return plan_digest(self.purchases, self.beside)

    @property
    def question(self) -> str:
        """What the form says above its switch."""
        most = dollars(self.at_most_usd)
        return f"**{in_markdown(self.title)}: approve spending at most {most}?** {WHERE}\n\n{self.markdown}"


def purchase_of(report: PlanReport) -> Purchase:
    """A planned request with its seed, as what an approval is bound to."""
    assert report.key is not None  # its seed is settled
    return Purchase(report.key, report.price_expected_usd, report.price_upper_usd)


async def approved(
    ledger: AsyncLedger,
    plan: ShownPlan,
    again: Callable[[], Awaitable[ShownPlan]],
    *,
    within: float,
    holds: float = APPROVAL_SECONDS,
    refusal: type[Exception] = NotApproved,
) -> Approval | None:
    """Ask until a person has approved the plan as it then is; `again` makes it anew after each answer.

    A plan that buys nothing needs nobody: None. What was approved before, here or with the command line, is not asked
    again while it holds; an approval holds for `holds` seconds.

    Raises:
        refusal: they said no, or nobody answered within `within` seconds.
        prefect.exceptions.Pause: the run is suspended until somebody answers; it has to pass through.
    """
    while plan.to_send:
        known = await ledger.approval(plan.digest, at_most_usd=plan.at_most_usd)
        if known is not None:
            run_logger().info("%s: %s, at most %s", plan.title, known, dollars(known.at_most_usd))
            return known
        await _ask(ledger, plan, within, holds, refusal)
        fresh = await again()
        if fresh.digest != plan.digest or fresh.at_most_usd > plan.at_most_usd:
            run_logger().warning(
                "%s changed while it waited for approval: at most %s then, %s now. It has to be approved again",
                plan.title,
                dollars(plan.at_most_usd),
                dollars(fresh.at_most_usd),
            )
        plan = fresh
    return None


async def _ask(
    ledger: AsyncLedger, plan: ShownPlan, within: float, holds: float, refusal: type[Exception]
) -> Approval:
    form = PlanApproval.with_initial_data(description=plan.question)
    key = f"approve-{plan.digest[:16]}-{usd_to_nano(plan.at_most_usd)}"
    try:
        answer = await asked(form, key=key, timeout=within)
    except NobodyAnswered as error:
        raise refusal(
            f"{plan.title} was not approved: {error}. Nothing was sent or spent. Run it again to be asked again."
        ) from None
    who = " ".join(answer.name.split())[:200] or "a person in the Prefect UI"
    if not answer.approve:
        raise refusal(
            f"{plan.title} was not approved by {who}. Nothing was sent or spent. Run it again to be asked again."
        )
    run_logger().info("%s was approved by %s: at most %s", plan.title, who, dollars(plan.at_most_usd))
    return await ledger.approve(
        plan.digest, title=plan.title, at_most_usd=plan.at_most_usd, by=who, valid_seconds=holds
    )
