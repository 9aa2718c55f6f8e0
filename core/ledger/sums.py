"""What budgets count, added up as the rows change: for each UTC day, each UTC month and all time, of all rows and of
each tag's. So a look at a budget costs the same however many rows there are.

The database itself adds up, in the transaction that changes a row (triggers): what another release or a person writes
is counted as well. `check` compares the sums with the rows, `recount` makes them again from the rows.

On PostgreSQL a sum is spread over some lines, by connection, or writers of different generations would wait for each
other's commits.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Connection, bindparam, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from prefect_ltx.fal import nano_to_usd
from prefect_ltx.ledger import schema
from prefect_ltx.ledger.life.budget import BudgetLimit
from prefect_ltx.ledger.sum_triggers import FILL_3, FROM_ROWS_3, TRIGGERS_3

ALL_ROWS: Final = ""
"""The name of the sums over all rows; a tag's are called after it (`tag_name`)."""

_sums = schema.sum_
# A row that a clock in the future has written counts now as well, as every row since the period's start does.
_OF_LIMIT: Final = select(func.sum(_sums.c.held_nano), func.sum(_sums.c.settled_nano)).where(
    _sums.c.name == bindparam("name"),
    _sums.c.period == bindparam("period"),
    _sums.c.start >= bindparam("start"),
)


def held_and_settled(connection: Connection, limit: BudgetLimit, now: float) -> tuple[Decimal, Decimal]:
    """USD that count against `limit` in the period that holds `now`, and what of it is known to be spent."""
    wanted = {"name": name_of(limit), "period": limit.period, "start": limit.start(now)}
    held, settled = connection.execute(_OF_LIMIT, wanted).one()
    return nano_to_usd(int(held or 0)), nano_to_usd(int(settled or 0))


def name_of(limit: BudgetLimit) -> str:
    """Under which name the sums of this limit are kept."""
    return ALL_ROWS if limit.tag is None else tag_name(limit.tag)


def tag_name(tag: str) -> str:
    """Under which name the sums of a tag are kept."""
    return f"#{tag}"


@dataclass(frozen=True, slots=True)
class WrongSum:
    """A sum that is not what the rows add up to. `start` is a day, a month or empty; `name` a `#tag`, or empty."""

    name: str
    period: str
    start: str
    kept_held_usd: Decimal
    held_usd: Decimal
    kept_settled_usd: Decimal
    settled_usd: Decimal

    @property
    def tag(self) -> str | None:
        """The tag whose rows it adds up; None for all rows."""
        return self.name[1:] if self.name else None


def check(connection: Connection) -> list[WrongSum]:
    """Every sum that differs from its rows; reads all rows."""
    kept = _added(connection, _KEPT)
    rows = _added(connection, _boundless(connection, FROM_ROWS_3))
    wrong = []
    for place in sorted(kept.keys() | rows.keys()):
        (kept_held, kept_settled), (held, settled) = kept.get(place, (0, 0)), rows.get(place, (0, 0))
        if (kept_held, kept_settled) != (held, settled):
            usd = [nano_to_usd(each) for each in (kept_held, held, kept_settled, settled)]
            wrong.append(WrongSum(*place, *usd))
    return wrong


def recount(connection: Connection) -> None:
    """Make the sums again from the rows. Nobody else may write meanwhile."""
    connection.execute(_sums.delete())
    connection.exec_driver_sql(_boundless(connection, FILL_3))


def create(connection: Connection) -> None:
    """Make what keeps the sums; the tables are there."""
    for statement in TRIGGERS_3[connection.dialect.name]:
        connection.exec_driver_sql(statement)


class exact_sum(ColumnElement[int]):  # noqa: N801 - as SQLAlchemy spells its functions
    """The sum of a column of nano-dollars that are 0 or more. SQLite ends with "integer overflow" where a sum of its
    own takes more than 63 bits (9.2 billion dollars); this one is digits there, which `int` reads.
    """

    inherit_cache = True
    type = BigInteger()

    def __init__(self, column: ColumnElement[int]) -> None:
        self.column = column


@compiles(exact_sum)
def _sum(element: exact_sum, compiler: SQLCompiler, **how: Any) -> str:
    return f"sum({compiler.process(element.column, **how)})"


@compiles(exact_sum, "sqlite")
def _sum_in_sqlite(element: exact_sum, compiler: SQLCompiler, **how: Any) -> str:
    return _digits(compiler.process(element.column, **how))


def _digits(amount: str) -> str:
    usd, rest = f"sum({amount} / 1000000000)", f"sum({amount} % 1000000000)"
    whole = f"{usd} + {rest} / 1000000000"
    return f"CASE WHEN count({amount}) > 0 THEN printf('%d%09d', {whole}, {rest} % 1000000000) END"


def _boundless(connection: Connection, query: str) -> str:
    """As the triggers add up: what takes more than 63 bits is a float in SQLite."""
    if connection.dialect.name != "sqlite":
        return query
    for amount in ("g.held_nano", "coalesce(g.settled_nano, 0)"):
        query = query.replace(f"sum({amount})", f"CAST({_digits(amount)} AS NUMERIC)")
    return query


def _added(connection: Connection, query: str) -> dict[tuple[str, str, str], tuple[int, int]]:
    added: dict[tuple[str, str, str], tuple[int, int]] = {}
    found: Any = connection.exec_driver_sql(query)
    for name, period, start, held, settled in found:
        so_far = added.get((name, period, start), (0, 0))
        added[name, period, start] = (so_far[0] + int(held), so_far[1] + int(settled))
    return added


_KEPT: Final = "SELECT name, period, start, held_nano, settled_nano FROM ltx_sum"
