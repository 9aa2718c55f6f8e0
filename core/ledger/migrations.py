"""Opening a database as a ledger: made when empty, brought up to date when older, refused otherwise.

Everything happens in one transaction, so an interrupted migration has not happened.
"""

import uuid
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from sqlalchemy import Connection, inspect, select
from sqlalchemy.exc import NoSuchTableError

from prefect_ltx.ledger import sums, upgrades
from prefect_ltx.ledger.errors import LedgerSchemaUnknown
from prefect_ltx.ledger.schema import APPLICATION, SCHEMA_VERSION, meta, metadata

Migration = Callable[[Connection], None]

MIGRATIONS: Final[Mapping[int, Migration]] = MappingProxyType(
    {1: upgrades.from_1, 2: upgrades.from_2, 3: upgrades.from_3, 4: upgrades.from_4}
)
"""The step from each version to the next."""


def prepare(
    connection: Connection,
    *,
    migrations: Mapping[int, Migration] = MIGRATIONS,
    version: int = SCHEMA_VERSION,
) -> str:
    """Make or upgrade the ledger in `connection`'s open transaction, and return the ledger's id.

    Raises:
        LedgerSchemaUnknown: the database is not a ledger, or is one of a newer release.
    """
    known = _known(connection)
    if known is None:
        return _create(connection, version)
    _upgrade(connection, int(known["schema_version"]), version, migrations)
    # SQLite turns BEGIN IMMEDIATE into a reading transaction on a read-only file: only a write tells.
    connection.execute(meta.update().where(meta.c.name == "application").values(value=APPLICATION))
    return known["ledger_id"]


def identify(connection: Connection) -> tuple[str, int] | None:
    """The ledger's id and schema version, found by only reading; None where the database is empty.

    Raises:
        LedgerSchemaUnknown: the database is not a ledger.
    """
    known = _known(connection)
    return None if known is None else (known["ledger_id"], int(known["schema_version"]))


def _known(connection: Connection) -> dict[str, str] | None:
    inspector = inspect(connection)
    try:
        columns = {column["name"] for column in inspector.get_columns(meta.name)}
    except NoSuchTableError:
        if tables := inspector.get_table_names():
            raise _not_a_ledger(f"it holds {len(tables)} tables of something else") from None
        return None
    if not {"name", "value"} <= columns:
        raise _not_a_ledger(f"its table {meta.name} is something else")
    known: dict[str, str] = {row[0]: row[1] for row in connection.execute(select(meta.c.name, meta.c.value))}
    if known.get("application") != APPLICATION or not known.get("schema_version", "").isdigit():
        raise _not_a_ledger(f"its table {meta.name} does not say so")
    return known


def _create(connection: Connection, version: int) -> str:
    metadata.create_all(connection, checkfirst=False)  # no table is there: `prepare` has looked
    sums.create(connection)
    ledger_id = str(uuid.uuid4())
    facts = {"application": APPLICATION, "schema_version": str(version), "ledger_id": ledger_id}
    connection.execute(meta.insert(), [{"name": name, "value": value} for name, value in facts.items()])
    return ledger_id


def _upgrade(connection: Connection, found: int, wanted: int, migrations: Mapping[int, Migration]) -> None:
    if found > wanted:
        raise LedgerSchemaUnknown(
            f"The ledger has schema version {found}, and this release knows versions up to {wanted}",
            next_step="Install the release of prefect-ltx that wrote it, or a newer one",
        )
    for step in range(found, wanted):
        if step not in migrations:
            raise LedgerSchemaUnknown(
                f"The ledger has schema version {found}, and this release cannot bring it to {wanted}",
                next_step="Open it once with a release in between",
            )
        migrations[step](connection)
    if found != wanted:
        connection.execute(meta.update().where(meta.c.name == "schema_version").values(value=str(wanted)))


def _not_a_ledger(why: str) -> LedgerSchemaUnknown:
    return LedgerSchemaUnknown(
        f"The database is not a ledger: {why}",
        next_step="Give the ledger a database of its own (PREFECT_LTX_LEDGER, --ledger)",
    )
