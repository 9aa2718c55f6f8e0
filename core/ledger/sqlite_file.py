"""A ledger in a SQLite file: how it is opened, and that its path still leads to the file that is open.

SQLite runs in WAL with synchronous=FULL: a commit that returned has reached the disk. A file that somebody
deletes or replaces stays open in the processes that use it, and takes their writes along; so its path is compared
with what is open before and after each transaction.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.pool import QueuePool, StaticPool

from prefect_ltx.ledger.errors import LedgerUnavailable

BUSY_SECONDS: Final = 30
"""How long a transaction waits for its turn before the ledger counts as unavailable."""
_ENGINE: Final[dict[str, Any]] = {"hide_parameters": True, "max_overflow": 40, "pool_timeout": BUSY_SECONDS}


def engine_for(url: URL, *, read_only: bool) -> Engine:
    """Connections to this file, which is made where it is missing; with `read_only` nothing is made or written.

    Raises:
        LedgerUnavailable: its folder cannot be made.
    """
    if url.database and not url.database.startswith("file:"):
        if read_only:
            return _readers(Path(url.database))
        _make_folder(Path(url.database).parent)
    arguments = {"timeout": BUSY_SECONDS, "check_same_thread": False}
    return _writers(create_engine(url, connect_args=arguments, **_ENGINE))


def engine_of(connect: Callable[[], sqlite3.Connection]) -> Engine:
    """Connections that `connect` makes: for whoever opens many ledgers one after another, since an engine compiles
    each statement once."""
    return _writers(create_engine("sqlite://", creator=connect, poolclass=QueuePool, **_ENGINE))


def empty_engine() -> Engine:
    """An empty database in memory, for a ledger that nobody has written yet."""
    return create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


class SameFile:
    """Whether a ledger's path leads to the file that this process has open.

    Raises (`check`):
        LedgerUnavailable: it was deleted, moved or replaced.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is looked at yet."""
        self.path = path
        self._log_path = f"{path}-wal"
        self._open: tuple[int, int] | None = None
        self._log: tuple[int, int] | None = None

    def check(self, bill: str) -> None:
        """Compare the path, and that of its write-ahead log, with what was there before."""
        self._open = self._compare(self.path, self._open, bill)
        # The log is only removed by the last who closes the file, which nobody is who still uses it.
        self._log = self._compare(self._log_path, self._log, bill)

    def forget_log(self) -> None:
        """This process has the file open nowhere any more, so the next one to open it may make a new log."""
        self._log = None

    def _compare(self, path: Path | str, known: tuple[int, int] | None, bill: str) -> tuple[int, int] | None:
        try:
            found = os.stat(path)
            now = (found.st_dev, found.st_ino)
        except OSError:
            now = None
        if known in (None, now):
            return now
        raise LedgerUnavailable(
            f"The ledger's file {path} was {'replaced' if now else 'deleted or moved'} while it was in use",
            bill=bill,
            next_step="Stop everything that uses this ledger, put the file that belongs there in its place, start "
            "again; `prefect-ltx ledger rebuild` makes rows again from the archive",
        )


def _writers(engine: Engine) -> Engine:
    event.listen(engine, "connect", _on_connect)
    return engine


def _readers(path: Path) -> Engine:
    """Connections that cannot write."""
    return create_engine("sqlite://", creator=lambda: _open_to_read(path), hide_parameters=True)


def _open_to_read(path: Path) -> sqlite3.Connection:
    # A reader of a file in WAL takes locks in files beside it. Where these cannot be made, nobody can write
    # either, and the file may be read as it lies there; unless a log lies beside it that only they could read.
    address = f"{path.as_uri()}?mode=ro"
    connection = _reading_connection(address)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise
        connection = _reading_connection(f"{address}&immutable=1")
    return connection


def _reading_connection(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)
    connection.isolation_level = None
    return connection


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerUnavailable(
            f"The ledger's folder {folder} cannot be made: {error.strerror}",
            next_step="Name a folder that can be written (PREFECT_LTX_LEDGER, --ledger)",
        ) from None


def _on_connect(connection: sqlite3.Connection, record: object) -> None:
    connection.isolation_level = None  # transactions are begun by name, see `begin_statement`
    _patiently(connection, "PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


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


def begin_statement(*, writes: bool) -> str:
    """What begins a transaction; a writer's waits for its turn at once.

    It is executed, and not left to an event of SQLAlchemy's: an engine with a listener asks at every statement
    who wants to know of it.
    """
    return "BEGIN IMMEDIATE" if writes else "BEGIN"
