"""Limits on spending, and what a row holds of one. The reservation is the ledger row itself.

A limit counts every row whose intent falls in its period (UTC day, UTC month, or all time) and, where it
names a tag, only rows that carry that tag.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Literal

from prefect_ltx.fal import Billed
from prefect_ltx.ledger.life.states import State

LOW_SHARE: Final = Decimal("0.2")
"""A limit is low once less than this share of it is left."""

Period = Literal["day", "month", "total"]


@dataclass(frozen=True, slots=True)
class BudgetLimit:
    """At most `usd` in each period, for all rows or for those with `tag`.

    Raises:
        ValueError: when the amount is not a finite Decimal of zero or more, or the period is unknown.
    """

    usd: Decimal
    period: Period = "day"
    tag: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be a limit."""
        if not isinstance(self.usd, Decimal) or not self.usd.is_finite() or self.usd < 0:
            raise ValueError(f"A budget must be a Decimal of 0 or more, not {self.usd!r}.")
        if self.period not in ("day", "month", "total"):
            raise ValueError(f"A budget's period is day, month or total, not {self.period!r}.")

    def is_low(self, left: Decimal) -> bool:
        """Whether `left` of this limit is so little that somebody should know."""
        return left < self.usd * LOW_SHARE

    def since(self, now: float) -> float:
        """Start of the period that holds `now`, both in Unix seconds; total starts at 0."""
        if self.period == "total":
            return 0.0
        start = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return (start.replace(day=1) if self.period == "month" else start).timestamp()

    def start(self, now: float) -> str:
        """The same as a name: the UTC day (2026-11-26), the month (2026-11), or nothing for total."""
        day = datetime.fromtimestamp(now, UTC).date().isoformat()
        return day[: {"day": 10, "month": 7, "total": 0}[self.period]]

    def __str__(self) -> str:
        """Its name and amount, for messages."""
        per = {"day": "a UTC day", "month": "a UTC month", "total": "in all"}[self.period]
        name = f"'{self.name}' " if self.name else ""
        tag = f" for tag '{self.tag}'" if self.tag else ""
        return f"{name}of {dollars(self.usd)} {per}{tag}"


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """How a limit stands: `held_usd` is reserved and not settled yet, `settled_usd` is known to be spent."""

    limit: BudgetLimit
    held_usd: Decimal
    settled_usd: Decimal

    @property
    def left_usd(self) -> Decimal:
        """What may still be reserved; never below zero."""
        return max(self.limit.usd - self.held_usd - self.settled_usd, Decimal(0))


def dollars(usd: Decimal) -> str:
    """An amount for messages, exact: `$0.26964`, `$10.00`."""
    places = -int(usd.normalize().as_tuple().exponent)
    return f"${usd:.{max(places, 2)}f}"


def held_nano(state: State, *, billed: Billed | None, expected: int, upper: int, settled: int | None) -> int:
    """Nano-dollars that budgets count for a row.

    The cost once it is known; until then the upper bound, also for a failure or a cancel that may have been
    billed; nothing where nothing is owed; the expected price, as an estimate, once an archived or written-off
    row can only be settled by billing events.
    """
    if settled is not None:
        return settled
    match state:
        case State.RELEASED:
            return 0
        case State.FAILED | State.CANCELLED:
            return 0 if billed == "no" else upper
        case State.ARCHIVED | State.WRITTEN_OFF:
            return expected
        case _:
            return upper


def is_estimate(state: State, *, settled: int | None) -> bool:
    """Whether what is held is the expected price, for want of a known one."""
    return settled is None and state in (State.ARCHIVED, State.WRITTEN_OFF)
