"""Whose rows are whose: the gate that every path to a row goes through, and the accounts that the ledger knows.

A row belongs to an account of a service. Another account's rows are listed and counted, and left alone: nothing that
is asked with this account's key says anything about them. Rows of version 1 name no service and go by the account.
"""

from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, func, or_, select

from prefect_ltx.ledger import schema
from prefect_ltx.ledger.errors import AnotherAccount
from prefect_ltx.ledger.life.states import UNFINISHED
from prefect_ltx.ledger.records import Generation
from prefect_ltx.ledger.rows import storable

NamedBy = Literal["user", "fal", "none"]
"""Who gave an account its name: a person, fal's Platform API, or nobody yet."""

_table = schema.generation
_accounts = schema.account
_UNFINISHED: Final = [state.value for state in UNFINISHED]


class Acting(NamedTuple):
    """In whose name a ledger is used: an account, and the service that its key is for ("": any)."""

    account: str
    service: str = ""

    def owns(self, row: Generation) -> bool:
        """Whether the row is this account's, on this service."""
        return row.account == self.account and (not self.service or row.service in ("", self.service))

    def ours(self) -> ColumnElement[bool]:
        """The same as a condition on rows."""
        same = _table.c.account == self.account
        return and_(same, _table.c.service.in_(["", self.service])) if self.service else same


class KnownAccount(NamedTuple):
    """A key that was used with a service, and the account that it belongs to. Times are Unix seconds."""

    key_id: str
    service: str
    account: str
    name: str | None
    named_by: NamedBy
    first_seen: float
    last_seen: float


def check_ours(acting: Acting | None, row: Generation) -> None:
    """The gate.

    Raises:
        AnotherAccount: the row is another account's, or of another service.
    """
    if acting is not None and not acting.owns(row):
        raise AnotherAccount(row.id, account=row.account, service=row.service)


def count_others(connection: Connection, acting: Acting | None) -> int:
    """How many unfinished rows belong to other accounts or services."""
    if acting is None:
        return 0
    query = select(func.count()).where(_table.c.state.in_(_UNFINISHED), ~acting.ours())
    return int(connection.scalar(query) or 0)


def known_accounts(
    connection: Connection, *, service: str | None = None, key_id: str | None = None
) -> list[KnownAccount]:
    """Every key and its account, the last used first."""
    asked = {name: value for name, value in (("service", service), ("key_id", key_id)) if value is not None}
    rows = connection.execute(_known(frozenset(asked)), asked)
    return [KnownAccount(**row._mapping) for row in rows]


@lru_cache(maxsize=4)
def _known(names: frozenset[str]) -> Select[Any]:
    query = select(_accounts).order_by(_accounts.c.last_seen.desc(), _accounts.c.key_id)
    for column in (_accounts.c.service, _accounts.c.key_id):
        if column.name in names:
            query = query.where(column == bindparam(column.name))
    return query


def accounts_of_rows(connection: Connection, service: str) -> list[str]:
    """The accounts that have rows on this service, or rows that name no service; the last used first."""
    return list(connection.scalars(_OF_ROWS, {"on": service}))


def note_account(
    connection: Connection,
    now: float,
    *,
    key_id: str,
    service: str,
    account: str,
    name: str | None,
    named_by: NamedBy,
) -> KnownAccount:
    """Write down that this key of this service belongs to `account`, or that it was used again."""
    mine = {"of_key": key_id, "on": service}
    known = connection.execute(_MINE, mine).one_or_none()
    values: dict[str, Any] = {
        "key_id": key_id,
        "service": service,
        "account": account,
        "name": storable(name),
        "named_by": named_by,
        "first_seen": now if known is None else known.first_seen,
        "last_seen": now,
    }
    if known is None:
        connection.execute(_accounts.insert(), values)
    else:
        connection.execute(_AGAIN, values | mine)
    return KnownAccount(**values)


# Built once: building a statement costs more than running it.
_OF_ROWS: Final = (
    select(_table.c.account)
    .where(or_(_table.c.service == bindparam("on"), _table.c.service == ""))
    .group_by(_table.c.account)
    .order_by(func.max(_table.c.created_at).desc())
)
_IS_MINE: Final = and_(_accounts.c.key_id == bindparam("of_key"), _accounts.c.service == bindparam("on"))
_MINE: Final = select(_accounts).where(_IS_MINE)
_AGAIN: Final = _accounts.update().where(_IS_MINE)
