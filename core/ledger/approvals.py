"""A person's yes to a plan: bound to what the plan buys and for how much, by whom, and until when.

A plan's digest is made from every purchase in it, its key and its prices. Another file, another seed or another price
is another plan, and has to be approved anew.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, select

from prefect_ltx.fal import nano_to_usd, usd_to_nano
from prefect_ltx.ledger import schema
from prefect_ltx.ledger.life.budget import BudgetLimit
from prefect_ltx.ledger.rows import moment, storable

APPROVAL_SECONDS: Final = 7 * 24 * 3600.0
"""How long an approval holds where nobody says otherwise."""

TAG: Final = "approval:"

_approvals = schema.approval


class Purchase(NamedTuple):
    """One video of a plan: what it is (`generation_key`), and what it costs in USD."""

    key: str
    price_expected_usd: Decimal
    price_upper_usd: Decimal


@dataclass(frozen=True, slots=True)
class Approval:
    """Who said yes to which plan, when, up to which amount in USD, and until when it holds."""

    id: str
    plan: str
    """`plan_digest` of what was approved."""
    title: str
    at_most_usd: Decimal
    approved_by: str
    approved_at: datetime
    valid_until: datetime

    def __str__(self) -> str:
        """It in one line, for a person."""
        return f"approved by {self.approved_by} on {self.approved_at:%Y-%m-%d %H:%M} UTC"


def plan_digest(purchases: Iterable[Purchase], beside: Mapping[str, str] = MappingProxyType({})) -> str:
    """What names a plan: the SHA-256, in hex, of all its purchases in any order, and of what is `beside` them.

    Those that are paid for already belong to it, so that a plan of which a part is made meanwhile is still the same.
    Beside them are the budget that holds (`budget_terms`) and what was shown to decide by, such as an animatic.
    """
    lines: list[Any] = sorted([key, *map(_exact, (expected, upper))] for key, expected, upper in purchases)
    if beside:
        lines = [lines, sorted(beside.items())]
    return hashlib.sha256(json.dumps(lines, separators=(",", ":")).encode()).hexdigest()


def budget_terms(limits: Iterable[BudgetLimit]) -> dict[str, str]:
    """The budget as a part of a plan: every limit, not what is left of it, which each purchase changes."""
    return {f"budget {each}": _exact(each.usd) for each in limits}


def approval_tag(approval: Approval) -> str:
    """The ledger's tag of what was bought because of an approval."""
    return f"{TAG}{approval.id}"


def approve(
    connection: Connection,
    now: float,
    plan: str,
    *,
    approval_id: str,
    title: str,
    at_most_usd: Decimal,
    by: str,
    valid_seconds: float,
) -> Approval:
    """Write down that a person approved the plan."""
    connection.execute(
        _approvals.insert().values(
            id=approval_id,
            plan=plan,
            title=storable(title),
            at_most_nano=usd_to_nano(at_most_usd),
            approved_by=storable(by),
            approved_at=now,
            valid_until=now + valid_seconds,
        )
    )
    return _approval_of(connection.execute(select(_approvals).where(_approvals.c.id == approval_id)).one())


def find(connection: Connection, now: float, plan: str, at_most_usd: Decimal) -> Approval | None:
    """The newest approval of this plan that still holds and covers `at_most_usd`; None without one."""
    row = connection.execute(
        select(_approvals)
        .where(
            _approvals.c.plan == plan,
            _approvals.c.valid_until > now,
            _approvals.c.at_most_nano >= usd_to_nano(at_most_usd),
        )
        .order_by(_approvals.c.approved_at.desc(), _approvals.c.id)
        .limit(1)
    ).one_or_none()
    return None if row is None else _approval_of(row)


def everything(connection: Connection) -> list[Approval]:
    """Every approval, the newest first."""
    query = select(_approvals).order_by(_approvals.c.approved_at.desc(), _approvals.c.id)
    return [_approval_of(row) for row in connection.execute(query)]


def _approval_of(row: Row[Any]) -> Approval:
    values: Mapping[Any, Any] = row._mapping
    return Approval(
        id=values["id"],
        plan=values["plan"],
        title=values["title"],
        at_most_usd=nano_to_usd(values["at_most_nano"]),
        approved_by=values["approved_by"],
        approved_at=moment(values["approved_at"]),
        valid_until=moment(values["valid_until"]),
    )


def _exact(usd: Decimal) -> str:
    # 0.30 and 0.3 are one price.
    return str(usd_to_nano(usd))
