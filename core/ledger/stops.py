"""The stop rule: where fal bills one request far more than its bound, nothing more is bought until a person looked.

A bill of several times its bound is not a price that drifted but something that nobody has understood yet: a unit
that is another one, a glitch, somebody else's use of the key. It may be in the next bill as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from prefect_ltx.fal import nano_to_usd
from prefect_ltx.ledger import schema
from prefect_ltx.ledger.errors import GenerationNotFound, SpendingStopped
from prefect_ltx.ledger.records import Generation
from prefect_ltx.ledger.rows import moment, storable

STOP_FACTOR: Final = Decimal(3)
"""How many times its bound a bill may be before everything stops."""

_stops = schema.stop
_OLDEST: Final = select(_stops).where(_stops.c.resolved_at.is_(None)).order_by(_stops.c.opened_at).limit(1)


@dataclass(frozen=True, slots=True)
class Stop:
    """A bill beyond `factor` times its bound, and who has looked at it since. Amounts in USD."""

    id: str
    generation_id: str
    request_id: str | None
    billed_usd: Decimal
    upper_usd: Decimal
    """What it might have cost at most, by its plan."""
    factor: Decimal
    opened_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None

    @property
    def why(self) -> str:
        """What stops spending and what to do about it, in one line."""
        return str(self.refusal())

    def refusal(self) -> SpendingStopped:
        """The error that a purchase meets."""
        return SpendingStopped(
            self.id, self.generation_id, billed_usd=self.billed_usd, upper_usd=self.upper_usd
        )


def open_where_absurd(
    connection: Connection, now: float, row: Generation, billed_nano: int, factor: Decimal, stop_id: str
) -> Stop | None:
    """Open a stop where this bill is beyond `factor` times the row's bound; None where it is not, or is known.

    `stop_id` is the new one's.
    """
    if billed_nano <= factor * row.price_upper_nano:
        return None
    known = select(_stops.c.id).where(_stops.c.generation_id == row.id, _stops.c.billed_nano >= billed_nano)
    if connection.scalar(known.limit(1)) is not None:
        return None
    connection.execute(
        _stops.insert().values(
            id=stop_id,
            generation_id=row.id,
            request_id=row.request_id,
            billed_nano=billed_nano,
            upper_nano=row.price_upper_nano,
            factor=str(factor),
            opened_at=now,
        )
    )
    return stop_of(connection.execute(select(_stops).where(_stops.c.id == stop_id)).one())


def find(connection: Connection, *, resolved: bool | None) -> list[Stop]:
    """Stops, the oldest first; with `resolved` only those that are, or are not."""
    query = select(_stops).order_by(_stops.c.opened_at, _stops.c.id)
    if resolved is not None:
        query = query.where(_stops.c.resolved_at.is_not(None) if resolved else _stops.c.resolved_at.is_(None))
    return [stop_of(row) for row in connection.execute(query)]


def refuse_while_stopped(connection: Connection) -> None:
    """The rule itself.

    Raises:
        SpendingStopped: nobody has looked at an absurd bill yet.
    """
    if (row := connection.execute(_OLDEST).one_or_none()) is not None:
        raise stop_of(row).refusal()


def resolve(connection: Connection, now: float, stop_id: str, by: str) -> Stop:
    """A person has looked: buying goes on. Resolving twice has no effect.

    Raises:
        GenerationNotFound: there is no such stop.
    """
    mine = _stops.c.id == stop_id
    connection.execute(
        _stops.update()
        .where(mine, _stops.c.resolved_at.is_(None))
        .values(resolved_at=now, resolved_by=storable(by))
    )
    row = connection.execute(select(_stops).where(mine)).one_or_none()
    if row is None:
        raise GenerationNotFound(f"The ledger has no stop {stop_id}")
    return stop_of(row)


def stop_of(row: Row[Any]) -> Stop:
    """The row as a value."""
    values: Mapping[Any, Any] = row._mapping
    return Stop(
        id=values["id"],
        generation_id=values["generation_id"],
        request_id=values["request_id"],
        billed_usd=nano_to_usd(values["billed_nano"]),
        upper_usd=nano_to_usd(values["upper_nano"]),
        factor=Decimal(values["factor"]),
        opened_at=moment(values["opened_at"]),
        resolved_at=moment(values["resolved_at"]),
        resolved_by=values["resolved_by"],
    )
