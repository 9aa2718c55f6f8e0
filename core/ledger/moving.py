"""A ledger copied into another database, SQLite to PostgreSQL or back: every table, whole, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Table, func, select, text

from prefect_ltx.ledger import schema
from prefect_ltx.ledger.errors import LedgerUnavailable
from prefect_ltx.ledger.ledger import Ledger
from prefect_ltx.ledger.sums import WrongSum

_AT_ONCE: Final = 500
_NOTHING: Final = "Nothing was copied, sent or spent"
# `meta` says which ledger it is; sums are kept by the copy's own triggers as its rows arrive.
_COPIED: Final[Sequence[Table]] = [
    table for table in schema.metadata.sorted_tables if table not in (schema.meta, schema.sum_)
]


@dataclass(frozen=True, slots=True)
class CopiedLedger:
    """What was copied, rows by table, and what of the copy's sums does not add up (nothing, or it is a fault)."""

    source: str
    target: str
    rows: dict[str, int]
    wrong: list[WrongSum]


def copy_ledger(source_url: str, target_url: str) -> CopiedLedger:
    """Copy a ledger into an empty database. The source stays as it is; the copy has its id, so it is the same ledger.

    Stop every worker first: what is written into the source afterwards is not in the copy.

    Raises:
        LedgerUnavailable: one of them cannot be used, the target has rows already, or somebody works on the source.
    """
    with Ledger(source_url, read_only=True) as source, Ledger(target_url) as target:
        if source.id == "":
            raise LedgerUnavailable(f"There is no ledger at {source.name}", bill=_NOTHING)
        busy = source._database.read(lambda each: _held(each, source._database.now(each)))
        if busy:
            raise LedgerUnavailable(
                f"{busy} generations of {source.name} are being worked on",
                bill=_NOTHING,
                next_step="Stop every worker and command that uses it, wait two minutes, and copy it again",
            )

        def from_source(reading: Connection) -> dict[str, int]:
            return target._database.write(
                lambda writing: _copy(reading, writing, target.name, source.id), bill=_NOTHING
            )

        rows = source._database.read(from_source)
        return CopiedLedger(source.name, target.name, rows, target.wrong_sums())


def _held(connection: Connection, now: float) -> int:
    held = select(func.count()).where(
        schema.generation.c.owner.is_not(None), schema.generation.c.lease_until > now
    )
    return int(connection.scalar(held) or 0)


def _copy(reading: Connection, writing: Connection, name: str, ledger_id: str) -> dict[str, int]:
    if any(writing.scalar(select(func.count()).select_from(table)) for table in _COPIED):
        raise LedgerUnavailable(
            f"The database {name} holds a ledger with rows already",
            bill=_NOTHING,
            next_step="Name an empty database",
        )
    rows: dict[str, int] = {}
    for table in _COPIED:
        rows[table.name] = 0
        found = reading.execute(select(table)).mappings()
        while some := [dict(each) for each in found.fetchmany(_AT_ONCE)]:
            writing.execute(table.insert(), some)
            rows[table.name] += len(some)
    if writing.dialect.name == "postgresql":
        writing.execute(
            text("SELECT setval('ltx_event_id_seq', (SELECT COALESCE(max(id), 1) FROM ltx_event))")
        )
    writing.execute(schema.meta.update().where(schema.meta.c.name == "ledger_id").values(value=ledger_id))
    return rows
