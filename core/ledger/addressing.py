"""Which database a ledger's URL names: a SQLite file or a PostgreSQL database, and nothing else."""

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from prefect_ltx.ledger.errors import LedgerUnavailable
from prefect_ltx.reading import Unreadable, local_path

_ESCAPE = "an @, ? or / in its user or password has to be percent-encoded (an @ is written %40)"


def ledger_url(url: str | URL) -> URL:
    """Return the URL with the driver that a ledger uses, and the file's path made absolute.

    Raises:
        LedgerUnavailable: it is not the URL of a database that a ledger can live in. No password is shown.
    """
    if isinstance(url, str) and not url.startswith("sqlite"):
        before, _, query = url.partition("?")
        if before.count("@") > 1 or "@" in query:
            # Read as it stands, a part of the password would be the host, and be in every message.
            raise _wrong_url(_ESCAPE)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The text is not shown: what cannot be read as a URL may still hold a password.
        raise _wrong_url("it is not a database URL") from None
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        if not parsed.database:
            raise _wrong_url("it names no PostgreSQL database")
        if "@" in f"{parsed.host}{parsed.database}{parsed.username}":
            raise _wrong_url(_ESCAPE)
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        kind, _, driver = parsed.drivername.partition("+")
        if driver and kind in ("sqlite", "postgresql"):
            # Prefect's own URL of a database has one: postgresql+asyncpg, sqlite+aiosqlite.
            raise _wrong_url(f"the driver '{driver}' is not one that a ledger uses; leave '+{driver}' out")
        raise _wrong_url(f"'{parsed.drivername}' is not a database that a ledger can live in")
    if not parsed.database or parsed.database == ":memory:":
        raise _wrong_url("a database in memory forgets what was paid for")
    if not parsed.database.startswith("file:"):
        # Absolute, so that a later change of the working directory does not lead to another file.
        try:
            parsed = parsed.set(database=str(local_path(parsed.database).absolute()))
        except Unreadable as error:
            raise _wrong_url(error.what) from None
    return parsed


def file_of(url: URL) -> Path | None:
    """The SQLite file that a ledger's URL names; None for PostgreSQL, and for a database in memory."""
    name = url.database or ""
    if url.get_backend_name() != "sqlite" or name in ("", ":memory:"):
        return None
    return Path(name.removeprefix("file:").partition("?")[0]).absolute()


def _wrong_url(why: str) -> LedgerUnavailable:
    return LedgerUnavailable(
        f"The ledger's URL cannot be used: {why}",
        # No user:password@ in the example: where messages are cleaned of secrets it would go, and mislead.
        next_step="Use sqlite:////absolute/path/ledger.db, or postgresql://host/database with the user and "
        "the password, user:password@, before the host (PREFECT_LTX_LEDGER, --ledger)",
    )
