"""What a ledger's PostgreSQL is set to that no transaction can set for itself."""

from typing import Final

from sqlalchemy import Connection, text

from prefect_ltx.doctor.findings import Finding, warning
from prefect_ltx.ledger.database import Database

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
