"""What a period cost, from the rows: by day, tag, endpoint and state, expected against billed, what went wrong.

A row belongs to the period in which it was intended, as it does for budgets; a reuse to the one in which it
happened. The command line and the spend report read the same sums here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, func, select, true

from prefect_ltx.fal import nano_to_usd
from prefect_ltx.ledger import accounting, reading, schema, stops
from prefect_ltx.ledger.accounting import Grouping
from prefect_ltx.ledger.life.budget import BudgetLimit, BudgetStatus
from prefect_ltx.ledger.life.states import State
from prefect_ltx.ledger.records import DoubleCharge, Generation, Total
from prefect_ltx.ledger.rows import generation_of
from prefect_ltx.ledger.stops import Stop
from prefect_ltx.ledger.sums import exact_sum

REUSED: Final = "Reused"
"""The line of a row's history that says that its video was given out again instead of bought again."""

GROUPINGS: Final[tuple[Grouping, ...]] = ("day", "tag", "endpoint", "state")
_table = schema.generation


@dataclass(frozen=True, slots=True)
class Period:
    """From the start of the UTC day `since` to the start of `until`, which does not count; None: no bound."""

    since: date | None = None
    until: date | None = None

    def of(self, column: ColumnElement[Any]) -> ColumnElement[bool]:
        """The condition that a column of Unix seconds lies in it."""
        condition: ColumnElement[bool] = true()
        if self.since is not None:
            condition &= column >= _start(self.since)
        if self.until is not None:
            condition &= column < _start(self.until)
        return condition

    def __str__(self) -> str:
        """For people: the first and the last day."""
        if self.since is None and self.until is None:
            return "all time"
        last = "" if self.until is None else date.fromordinal(self.until.toordinal() - 1).isoformat()
        return f"{self.since or '…'} to {last or 'now'} (UTC)"


@dataclass(frozen=True, slots=True)
class Spend:
    """The money of one period. All amounts are exact, in USD."""

    period: Period
    generations: int
    """Rows that were intended in the period, whatever became of them."""
    expected_usd: Decimal
    """What they should cost; for those that were released as well."""
    held_usd: Decimal
    """What budgets count for them: billed, and reserved or estimated where that is not known yet."""
    billed_usd: Decimal
    """What is known to have been billed."""
    billed: int
    """Rows of which it is known; the next two are about these."""
    billed_expected_usd: Decimal
    off: int
    """Rows that cost something else than expected."""
    by: Mapping[Grouping, Sequence[Total]]
    lost: Sequence[Generation]
    """Paid for, and the video is gone."""
    parked: Sequence[Generation]
    """Nobody can tell whether they were bought: a person decides."""
    double_charges: Sequence[DoubleCharge]
    reuses: int
    """How often an archived video was given out again instead of bought again."""
    saved_usd: Decimal
    """What those would have cost."""
    budgets: Sequence[BudgetStatus]
    """How each limit stands now, whatever the period."""
    stops: Sequence[Stop]
    """Bills far beyond their bound at which nobody has looked: while there is one nothing is bought."""

    @property
    def difference_usd(self) -> Decimal:
        """Billed minus expected, over the rows whose bill is known."""
        return self.billed_usd - self.billed_expected_usd

    @property
    def open_usd(self) -> Decimal:
        """Reserved or estimated: not billed yet, as far as is known."""
        return self.held_usd - self.billed_usd


def spend(connection: Connection, period: Period, limits: Sequence[BudgetLimit], now: float) -> Spend:
    """See `Ledger.spend`."""
    inside = period.of(_table.c.created_at)
    by = {each: accounting.totals(connection, each, inside) for each in GROUPINGS}
    whole = by["state"]
    known = connection.execute(
        select(
            func.count(),
            exact_sum(_table.c.price_expected_nano),
            func.count().filter(_table.c.settled_nano != _table.c.price_expected_nano),
        ).where(inside, _table.c.settled_nano.is_not(None))
    ).one()
    lost = _rows(connection, select(_table).where(inside, _table.c.state == State.LOST.value))
    parked = _rows(connection, select(_table).where(inside, _table.c.state == State.PARKED.value))
    reuses, saved = connection.execute(
        select(func.count(), exact_sum(func.coalesce(_table.c.settled_nano, _table.c.price_expected_nano)))
        .select_from(schema.event.join(_table))
        .where(schema.event.c.event == REUSED, period.of(schema.event.c.at))
    ).one()
    ids = set(connection.scalars(select(_table.c.id).where(inside))) if period != Period() else None
    return Spend(
        period=period,
        generations=sum(each.count for each in whole),
        expected_usd=sum((each.expected_usd for each in whole), Decimal(0)),
        held_usd=sum((each.held_usd for each in whole), Decimal(0)),
        billed_usd=sum((each.settled_usd for each in whole), Decimal(0)),
        billed=known[0],
        billed_expected_usd=_usd(known[1]),
        off=known[2],
        by=by,
        lost=lost,
        parked=parked,
        double_charges=[each for each in reading.double_charges(connection) if ids is None or each.id in ids],
        reuses=reuses,
        saved_usd=_usd(saved),
        budgets=accounting.spending(connection, limits, now),
        stops=stops.find(connection, resolved=False),
    )


def _rows(connection: Connection, query: Select[Any]) -> list[Generation]:
    return [generation_of(row) for row in connection.execute(query.order_by(_table.c.created_at))]


def _start(day: date) -> float:
    return datetime.combine(day, time.min, tzinfo=UTC).timestamp()


def _usd(nano: Any) -> Decimal:
    return nano_to_usd(int(nano or 0))
