"""Money read from the rows: budgets, totals, what is not settled yet, and what cost more than expected."""

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, or_, select

from prefect_ltx.fal import nano_to_usd
from prefect_ltx.ledger import schema, sums
from prefect_ltx.ledger.life.budget import BudgetLimit, BudgetStatus
from prefect_ltx.ledger.life.states import State
from prefect_ltx.ledger.records import Drift, Generation, Total
from prefect_ltx.ledger.rows import generation_of
from prefect_ltx.ledger.sums import exact_sum

Grouping = Literal["day", "tag", "endpoint", "state"]

_table = schema.generation
_PRICED: Final = (
    State.COMPLETED,
    State.COLLECTED,
    State.ARCHIVED,
    State.LOST,
    State.FAILED,
    State.CANCELLED,
    State.WRITTEN_OFF,
)
"""States in which fal has finished with the request, so that its cost can be asked."""


def spending(connection: Connection, limits: Sequence[BudgetLimit], now: float) -> list[BudgetStatus]:
    """How each limit stands now."""
    found = []
    for limit in limits:
        held, spent = sums.held_and_settled(connection, limit, now)
        found.append(BudgetStatus(limit, held - spent, spent))
    return found


def totals(connection: Connection, by: Grouping, inside: ColumnElement[bool] | None = None) -> list[Total]:
    """Sums over rows by UTC day of the intent, tag, endpoint or state. A row counts for each of its tags.

    `inside` is a condition on the rows that count.
    """
    columns: dict[str, ColumnElement[Any]] = {
        "day": _table.c.created_day,
        "tag": schema.tag.c.tag,
        "endpoint": _table.c.endpoint,
        "state": _table.c.state,
    }
    name = columns[by]
    query = select(
        name,
        func.count(),
        exact_sum(_table.c.price_expected_nano),
        exact_sum(_table.c.held_nano),
        exact_sum(_table.c.settled_nano),
    ).group_by(name)
    if by == "tag":
        query = query.select_from(_table.join(schema.tag))
    if inside is not None:
        query = query.where(inside)
    rows = connection.execute(query.order_by(name)).all()
    return [Total(row[0], row[1], _usd(row[2]), _usd(row[3]), _usd(row[4])) for row in rows]


def unsettled(connection: Connection, before: float, *, by_billing: bool) -> list[Generation]:
    """Finished rows that nobody has priced, or with `by_billing` none but fal's billing events could."""
    return [generation_of(row) for row in connection.execute(_unsettled(by_billing), {"before": before})]


@lru_cache(maxsize=2)
def _unsettled(by_billing: bool) -> Select[Any]:
    open_ones: ColumnElement[bool] = _table.c.settled_by.is_(None) & or_(
        _table.c.billed.is_(None), _table.c.billed != "no"
    )
    if by_billing:
        open_ones = or_(_table.c.settled_by.is_(None), _table.c.settled_by != "billing_events")
    query = select(_table).where(
        _table.c.state.in_([state.value for state in _PRICED]),
        _table.c.request_id.is_not(None),
        func.coalesce(_table.c.completed_at, _table.c.closed_at, _table.c.updated_at) <= bindparam("before"),
        open_ones,
    )
    return query.order_by(_table.c.created_at)


def billed_since(connection: Connection, since: float) -> list[Generation]:
    """Rows made since then that billing events have settled: more of these may still come."""
    return [generation_of(row) for row in connection.execute(_BILLED, {"since": since})]


def drift(connection: Connection) -> list[Drift]:
    """Settled rows that cost something else than expected, the newest first."""
    rows = [generation_of(row) for row in connection.execute(_DRIFT)]
    return [Drift(row, row.price_expected_usd, row.settled_usd or Decimal(0)) for row in rows]


# Built once: building a statement costs more than running it.
_BILLED: Final = (
    select(_table)
    .where(_table.c.settled_by == "billing_events", _table.c.created_at >= bindparam("since"))
    .order_by(_table.c.created_at)
)
_DRIFT: Final = (
    select(_table)
    .where(_table.c.settled_nano.is_not(None), _table.c.settled_nano != _table.c.price_expected_nano)
    .order_by(_table.c.created_at.desc())
)


def _usd(nano: Any) -> Decimal:
    return nano_to_usd(int(nano or 0))
