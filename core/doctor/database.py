"""What no transaction can set for itself: how a ledger's PostgreSQL keeps commits, and which archive lies beside it."""

import asyncio
from typing import Final

from sqlalchemy import Connection, text

from prefect_ltx.archive import Archive, ArchiveError
from prefect_ltx.doctor.findings import Finding, error, warning
from prefect_ltx.generation.behind import behind
from prefect_ltx.ledger import AsyncLedger, Ledger, LedgerError
from prefect_ltx.ledger.database import Database
from prefect_ltx.settings import Settings, SettingsError

_FLUSHES: Final = {
    "fsync": "a machine that loses its power takes commits with it, and what they say was paid for",
    "full_page_writes": "a machine that loses its power may leave torn pages in the ledger",
}
_SETTINGS: Final = text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)")
_UNLOGGED: Final = text(
    "SELECT relname FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r' AND relname LIKE 'ltx\\_%' "
    "AND relnamespace = ANY(SELECT oid FROM pg_namespace WHERE nspname = ANY(current_schemas(false)))"
)


def check_postgresql(database: Database) -> list[Finding]:
    """Settings that can lose commits and that only the server's owner can change; nothing for SQLite.

    Raises:
        LedgerUnavailable: the database cannot be read.
    """
    if database.is_sqlite:
        return []
    return database.read(_found)


def _found(connection: Connection) -> list[Finding]:
    settings = {row.name: row.setting for row in connection.execute(_SETTINGS, {"names": [*_FLUSHES]})}
    found = [
        warning(
            "ledger",
            f"PostgreSQL runs with {name}=off: {danger}",
            f"Set {name}=on in postgresql.conf and restart the server.",
        )
        for name, danger in _FLUSHES.items()
        if settings.get(name) == "off"
    ]
    unlogged = [row.relname for row in connection.execute(_UNLOGGED)]
    if unlogged:
        found.append(
            warning(
                "ledger",
                f"Tables that a crash of PostgreSQL empties (UNLOGGED): {', '.join(sorted(unlogged))}",
                "ALTER TABLE … SET LOGGED for each.",
            )
        )
    return found


async def check_behind(settings: Settings) -> list[Finding]:
    """Whether the ledger knows what it archived: an empty or older one buys nothing until it is made again."""
    try:
        with Ledger(settings.ledger_url, read_only=True) as ledger:
            async with Archive(settings.archive_location) as archive, asyncio.timeout(60):
                what = await behind(AsyncLedger(ledger), archive)
    except (LedgerError, ArchiveError, SettingsError, TimeoutError):
        return []  # what is wrong with either is found by its own check
    if what is None:
        return []
    return [error("ledger", what, "Run `prefect-ltx ledger rebuild`, or name the right ledger or archive.")]
