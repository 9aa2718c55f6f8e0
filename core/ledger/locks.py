"""What a writing transaction keeps other writers from, on PostgreSQL. On SQLite every writer is alone, and nothing is
needed.

A transaction is `alone`, as every one was in older releases, or it shares the ledger with others that name what they
decide about: a lock for each key (its rows, open or closed, and its strays) and for each budget. A claim shares every
budget that it adds to, and has those alone that it checks: what it read of them is still true when it commits, and
claims that check nothing pass each other. Who needs more than that asks to be `alone`, and is run again.

Locks end with the transaction. Two that wait for each other are told by the server (a deadlock), and one runs again.
"""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, text

SHARES: Final = "prefect_ltx_shares"
"""The execution option of a transaction that shares the ledger with others."""

# The second argument keeps apart what keys and budgets are called.
_KEY: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 1))")
_ROW: Final = text(
    "SELECT pg_advisory_xact_lock(hashtextextended(key, 1)) FROM ltx_generation WHERE id = :id"
)
_BUDGET: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 2))")
_SHARED_BUDGET: Final = text("SELECT pg_advisory_xact_lock_shared(hashtextextended(:name, 2))")


class NeedsAlone(BaseException):
    """This transaction cannot share the ledger; it is run again alone. No `Exception`: nobody else catches it."""


def shares(connection: Connection) -> bool:
    """Whether other writers work on the ledger at the same time."""
    return bool(connection.get_execution_options().get(SHARES, False))


def alone(connection: Connection) -> None:
    """What follows needs the ledger to itself.

    Raises:
        NeedsAlone: others are there; `Database` runs the whole transaction again without them.
    """
    if shares(connection):
        raise NeedsAlone


def keys(connection: Connection, names: Iterable[str]) -> None:
    """Nobody else changes a row or a stray of these keys, or makes one."""
    if shares(connection):
        for name in sorted(names):
            connection.execute(_KEY, {"name": name})


def row(connection: Connection, generation_id: str) -> None:
    """The same for the key of this row; without effect where the row has no key."""
    if shares(connection):
        connection.execute(_ROW, {"id": generation_id})


def budgets(connection: Connection, added_to: Iterable[str], checked: Iterable[str]) -> None:
    """Nobody else adds to the budgets that are checked, nor checks those that are added to."""
    if shares(connection):
        only = set(checked)
        for name in sorted(only.union(added_to)):
            connection.execute(_BUDGET if name in only else _SHARED_BUDGET, {"name": name})
