"""`--plan --approve`: a person at a shell approves the plan that they see, for whoever buys it later."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from prefect_ltx.cli.ledger_repair import opened, person
from prefect_ltx.cli.progress import say

if TYPE_CHECKING:
    from prefect_ltx.ledger import Approval, BudgetLimit, Purchase

DAY = 24 * 3600.0


def approve_plan(
    title: str,
    purchases: "Iterable[Purchase]",
    limits: "Sequence[BudgetLimit]",
    *,
    to_send: int,
    at_most_usd: Decimal,
    days: float,
) -> "Approval | None":
    """Write down that who sits here approves it; None, and a line, where it buys nothing.

    The approval is bound to every request of the plan, their prices and the budget that holds.

    Raises:
        LedgerError: it cannot be written.
    """
    from prefect_ltx.ledger import budget_terms, plan_digest
    from prefect_ltx.ledger.life.budget import dollars

    if not to_send:
        say(f"{title} buys nothing: there is nothing to approve.")
        return None
    with opened(read_only=False) as ledger:
        found = ledger.approve(
            plan_digest(purchases, budget_terms(limits)),
            title=title,
            at_most_usd=at_most_usd,
            by=person(),
            valid_seconds=days * DAY,
        )
    say(
        f"{title}: {found}, at most {dollars(at_most_usd)}, until {found.valid_until:%Y-%m-%d %H:%M} UTC. "
        f"It holds for this plan alone (approval {found.id}); nothing was sent or spent."
    )
    return found


def say_who_decides(*, approve: bool, choice: bool = False) -> None:
    """Say that the run will ask a person, and where: for a yes to the plan, or the choice of a take.

    Raises:
        NoServerToAskOn: for a choice, which only Prefect's UI has. A plan may be approved already.
    """
    from prefect_ltx.flows.asking import NoServerToAskOn, ui_address

    try:
        if choice:
            say(f"The run will pause; answer in Prefect's UI: {ui_address()}")
        elif approve:
            say(
                f"Unless this plan is approved already, the run will pause; answer in Prefect's UI: {ui_address()}"
            )
    except NoServerToAskOn:
        if choice:
            raise


def approval_facts(found: "Approval | None") -> dict[str, Any] | None:
    """An approval as names and JSON-like values."""
    if found is None:
        return None
    return {
        "id": found.id,
        "plan": found.plan,
        "title": found.title,
        "at_most_usd": found.at_most_usd,
        "approved_by": found.approved_by,
        "approved_at": found.approved_at,
        "valid_until": found.valid_until,
    }
