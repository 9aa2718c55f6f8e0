"""The database under the ledger: transactions that hold between threads, processes and machines.

Every writing transaction is alone: BEGIN IMMEDIATE on SQLite, one advisory lock on PostgreSQL. What is read
in one is therefore still true when it commits, budgets included. Nothing is ever sent inside a transaction.

SQLite runs in WAL with synchronous=FULL: a commit that returned has reached the disk. Time for leases is the
database server's where several machines may share it (PostgreSQL), else this machine's.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from prefect_ltx.ledger.errors import NOTHING_SPENT, LedgerSchemaUnknown, LedgerUnavailable

T = TypeVar("T")

BUSY_SECONDS: Final = 30
"""How long a transaction waits for its turn before the ledger counts as unavailable."""

_CONNECT_SECONDS: Final = 10
_ADVISORY_LOCK: Final = 0x6C74785F6C656467  # "ltx_ledg"
NOT_RECORDED: Final = "Nothing more was sent, and this change was not recorded; a request sent before goes on"
_WRITES: Final = "prefect_ltx_writes"


class Database:
    """A SQLite file or a PostgreSQL database. Safe to share between threads, and usable after a fork.

    Raises:
        LedgerUnavailable: the URL is not one of a ledger, or nothing answers there.
    """

    def __init__(self, url: str | URL, clock: Callable[[], float] | None = None) -> None:
        """Read the URL; the first connection is made by the first transaction."""
        self.url = _ledger_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._clock = clock
        self._engine: Engine | None = None
        self._pid = 0
        self._inherited: list[Engine] = []

    @property
    def name(self) -> str:
        """The database for messages: no password, no query."""
        return self.url.set(query={}).render_as_string(hide_password=True)

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for another database or one in memory."""
        name = self.url.database or ""
        if not self.is_sqlite or name in ("", ":memory:"):
            return None
        return Path(name.removeprefix("file:").partition("?")[0]).absolute()

    def write(self, work: Callable[[Connection], T], *, bill: str = NOT_RECORDED) -> T:
        """Run `work` in a transaction that no other writer overlaps: committed if it returns, else rolled back.

        `work` may be called again with a new transaction, so it changes nothing outside the database.

        Raises:
            LedgerUnavailable: the database cannot be reached or written; `bill` says what that means for the
                money.
        """
        with self._transaction(bill, writes=True) as connection:
            return work(connection)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that only reads; it may be called again, as with `write`.

        Raises:
            LedgerUnavailable: the database cannot be reached.
        """
        with self._transaction(NOTHING_SPENT, writes=False) as connection:
            return work(connection)

    def now(self, connection: Connection) -> float:
        """Unix seconds, by the clock that all users of this database share."""
        if self._clock is not None:
            return self._clock()
        if self.is_sqlite:
            return time.time()
        # Not now(): that is the start of the transaction, before it waited for its turn.
        return float(connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0)

    def close(self) -> None:
        """Close this process's connections. The next transaction opens new ones."""
        if self._engine is not None and self._pid == os.getpid():
            self._engine.dispose()
        self._engine = None

    @contextmanager
    def _transaction(self, bill: str, *, writes: bool) -> Iterator[Connection]:
        try:
            with self._connected().connect() as plain:
                connection = plain.execution_options(**{_WRITES: writes})
                with connection.begin():
                    if writes and not self.is_sqlite:
                        connection.execute(
                            text("SELECT set_config('lock_timeout', :limit, true)"),
                            {"limit": f"{BUSY_SECONDS}s"},
                        )
                        connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": _ADVISORY_LOCK})
                    yield connection
        except (SQLAlchemyError, sqlite3.Error) as error:
            # `from None`: the driver's own text may quote a whole row, with its URLs.
            raise self._unavailable(error, bill) from None

    def _connected(self) -> Engine:
        if self._engine is not None and self._pid != os.getpid():
            # After a fork the parent's connections are not ours: not used, not closed, not collected.
            self._inherited.append(self._engine)
            self._engine = None
        if self._engine is None:
            self._engine, self._pid = _engine(self.url), os.getpid()
        return self._engine

    def _unavailable(self, error: Exception, bill: str) -> LedgerUnavailable | LedgerSchemaUnknown:
        cause = error.orig if isinstance(error, DBAPIError) else error
        reason = str(cause).strip().partition("\n")[0] or type(cause).__name__
        if "file is not a database" in reason:
            return LedgerSchemaUnknown(
                f"{self.name} is not a SQLite database", bill=bill, next_step="Name another file"
            )
        return LedgerUnavailable(
            f"The ledger {self.name} cannot be used: {reason}",
            bill=bill,
            next_step="Check that it is there, reachable and writable (PREFECT_LTX_LEDGER, --ledger)",
        )


def _ledger_url(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The text is not shown: what cannot be read as a URL may still hold a password.
        raise _wrong_url("it is not a database URL") from None
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        if not parsed.database:
            raise _wrong_url("it names no PostgreSQL database")
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        kind, _, driver = parsed.drivername.partition("+")
        if driver and kind in ("sqlite", "postgresql"):
            # Prefect's own URL of a database has one: postgresql+asyncpg, sqlite+aiosqlite.
            raise _wrong_url(f"the driver '{driver}' is none that a ledger uses; leave '+{driver}' out")
        raise _wrong_url(f"'{parsed.drivername}' is not a database that a ledger can live in")
    if not parsed.database or parsed.database == ":memory:":
        raise _wrong_url("a database in memory forgets what was paid for")
    if not parsed.database.startswith("file:"):
        # Absolute, so that a later change of the working directory does not lead to another file.
        parsed = parsed.set(database=str(Path(parsed.database).expanduser().absolute()))
    return parsed


def _wrong_url(why: str) -> LedgerUnavailable:
    return LedgerUnavailable(
        f"The ledger's URL cannot be used: {why}",
        # No user:password@ in the example: where messages are cleaned of secrets it would go, and mislead.
        next_step="Use sqlite:////absolute/path/ledger.db, or postgresql://host/database with the user and "
        "the password, user:password@, before the host (PREFECT_LTX_LEDGER, --ledger)",
    )


def _engine(url: URL) -> Engine:
    common: dict[str, Any] = {"hide_parameters": True, "max_overflow": 40, "pool_timeout": BUSY_SECONDS}
    if url.get_backend_name() != "sqlite":
        try:
            # No server-side prepared statements: a pooler in between may hand out another session.
            arguments = {"connect_timeout": _CONNECT_SECONDS, "prepare_threshold": None}
            return create_engine(url, pool_pre_ping=True, connect_args=arguments, **common)
        except (ModuleNotFoundError, NoSuchModuleError):
            raise LedgerUnavailable(
                "PostgreSQL needs the psycopg driver, which is not installed",
                next_step="pip install 'prefect-ltx[postgres]'",
            ) from None
    if url.database and not url.database.startswith("file:"):
        _make_folder(Path(url.database).parent)
    arguments = {"timeout": BUSY_SECONDS, "check_same_thread": False}
    engine = create_engine(url, connect_args=arguments, **common)
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerUnavailable(
            f"The ledger's folder {folder} cannot be made: {error.strerror}",
            next_step="Name a folder that can be written (PREFECT_LTX_LEDGER, --ledger)",
        ) from None


def _on_connect(connection: sqlite3.Connection, record: object) -> None:
    connection.isolation_level = None  # transactions are begun below, by name
    _patiently(connection, "PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _on_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _patiently(connection: sqlite3.Connection, statement: str) -> None:
    # SQLite's busy timeout does not cover the switch to WAL when several processes open a new file at once.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
