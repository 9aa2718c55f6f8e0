"""The database under the ledger: transactions that hold between threads, processes and machines.

Every writing transaction is alone: BEGIN IMMEDIATE on SQLite, one advisory lock on PostgreSQL. What is read
in one is therefore still true when it commits, budgets included. Nothing is ever sent inside a transaction.

What fails in passing is run again as a whole, for half a minute. A COMMIT whose reply was lost is looked up by its
transaction id, and what it did is never done twice. Time for leases is the database server's where several machines
may share it (PostgreSQL), else this machine's.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import URL, Connection, Engine, text

from prefect_ltx.ledger import postgresql, schema, sqlite_file
from prefect_ltx.ledger.addressing import file_of, ledger_url
from prefect_ltx.ledger.errors import (
    NOTHING_SPENT,
    LedgerError,
    LedgerSchemaUnknown,
    LedgerUnavailable,
    NotRecordable,
)
from prefect_ltx.ledger.passing import Failure, concerns_database, failure_of, reason_of
from prefect_ltx.runtime import THIS_MACHINE, Runtime

T = TypeVar("T")

RETRY_SECONDS: Final = 30.0
"""How long a transaction that fails in passing is run again."""
OPENING_SECONDS: Final = 10.0
"""The same, for a database that has not answered this process yet: its address may be wrong."""
NOT_RECORDED: Final = "Nothing more was sent, and this change was not recorded; a request sent before goes on"
_PERHAPS_RECORDED: Final = (
    "Nothing more was sent, and whether this change was recorded is not known; a request sent before goes on"
)
_LONGEST_PAUSE: Final = 2.0


class Database:
    """A SQLite file or a PostgreSQL database. Safe to share between threads, and usable after a fork.

    With `read_only` nothing is made or written, and a database that does not exist yet reads as an empty ledger.

    Raises:
        LedgerUnavailable: the URL is not one of a ledger, or nothing answers there.
    """

    def __init__(
        self,
        url: str | URL,
        clock: Callable[[], float] | None = None,
        *,
        read_only: bool = False,
        runtime: Runtime = THIS_MACHINE,
    ) -> None:
        """Read the URL; the first connection is made by the first transaction."""
        self.url = ledger_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.read_only = read_only
        self.reads_as_empty = False
        self._clock = clock
        self.runtime = runtime
        self._engine: Engine | None = None
        self._pid = 0
        self._inherited: list[Engine] = []
        self._opening = threading.Lock()
        self._was_open = False
        file = self.file
        self._same_file = None if file is None or read_only else sqlite_file.SameFile(file)
        if read_only and file is not None and not file.exists():
            self.read_as_empty()

    @property
    def name(self) -> str:
        """The database for messages: no password, no query."""
        return self.url.set(query={}).render_as_string(hide_password=True)

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for another database or one in memory."""
        return file_of(self.url)

    def write(
        self,
        work: Callable[[Connection], T],
        *,
        bill: str = NOT_RECORDED,
        statement_seconds: int = postgresql.STATEMENT_SECONDS,
    ) -> T:
        """Run `work` in a transaction that no other writer overlaps: committed if it returns, else rolled back.

        `work` may be called again with a new transaction, so it changes nothing outside the database.

        Raises:
            LedgerUnavailable: the database cannot be reached or written; `bill` says what that means for the
                money.
            NotRecordable: the database does not take these values.
        """
        if self.read_only:
            raise LedgerUnavailable(f"The ledger {self.name} was opened for reading only", bill=bill)
        return self._patiently(work, bill, True, statement_seconds)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that only reads; it may be called again, as with `write`.

        Raises:
            LedgerUnavailable: the database cannot be reached.
        """
        return self._patiently(work, NOTHING_SPENT, False, postgresql.STATEMENT_SECONDS)

    def read_as_empty(self) -> None:
        """Nobody has made this ledger yet, and a reader does not: read as if it were empty."""
        self.close()
        self.reads_as_empty = self.is_sqlite = True

    def now(self, connection: Connection) -> float:
        """Unix seconds, by the clock that all users of this database share."""
        if self._clock is not None:
            return self._clock()
        if self.is_sqlite:
            return self.runtime.time()
        # Not now(): that is the start of the transaction, before it waited for its turn.
        return float(connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0)

    def close(self) -> None:
        """Close this process's connections. The next transaction opens new ones."""
        with self._opening:
            if self._engine is not None and self._pid == os.getpid():
                self._engine.dispose()
            self._engine = None
            if self._same_file is not None:
                self._same_file.forget_log()

    # -- one transaction, and again ----------------------------------------------------------------------

    def _patiently(
        self, work: Callable[[Connection], T], bill: str, writes: bool, statement_seconds: int
    ) -> T:
        patience = _Patience(self.runtime)
        while True:
            try:
                return self._once(work, bill, writes, statement_seconds)
            except _ReplyLost as lost:
                if self._was_committed(lost, bill, patience):
                    result: T = lost.result
                    return result
            except LedgerError:
                raise
            except Exception as error:
                self._pass_or_raise(error, bill, patience)

    def _was_committed(self, lost: "_ReplyLost", bill: str, patience: "_Patience") -> bool:
        """Ask what became of a COMMIT without a reply; the transaction may have to end first."""
        perhaps = _PERHAPS_RECORDED if bill == NOT_RECORDED else bill
        while True:
            try:
                fate = self._once(lambda connection: postgresql.fate(connection, lost.transaction), perhaps)
            except LedgerError:
                raise
            except Exception as error:
                self._pass_or_raise(error, perhaps, patience)
                continue
            if fate in ("committed", "aborted"):
                return fate == "committed"
            if patience.is_over(RETRY_SECONDS):
                raise LedgerUnavailable(
                    f"The ledger {self.name} does not say what became of a change",
                    bill=perhaps,
                    next_step="Run it again: what was recorded is not done twice",
                )
            patience.pause()

    def _once(
        self,
        work: Callable[[Connection], T],
        bill: str,
        writes: bool = False,
        statement_seconds: int = postgresql.STATEMENT_SECONDS,
    ) -> T:
        if self._same_file is not None:
            self._same_file.check(bill)
        with self._connected().connect() as connection:
            if self.is_sqlite:
                connection.execution_options(**sqlite_file.options(writes=writes))
                with _dropped_if_broken(connection), connection.begin():
                    self._was_open = True
                    result = work(connection)
            else:
                connection.execution_options(**postgresql.transaction_options(writes=writes))
                with postgresql.watched(connection) as silence, _dropped_if_broken(connection):
                    number = postgresql.begin(connection, writes=writes, statement_seconds=statement_seconds)
                    self._was_open = True
                    result = work(connection)
                    silence.expect_answer_within(postgresql.SILENCE_SECONDS)
                    try:
                        connection.commit()
                    except Exception as error:
                        if number is None or postgresql.was_rolled_back(error):
                            raise
                        raise _ReplyLost(number, result) from None
        if self._same_file is not None:
            self._same_file.check(bill)
        return result

    def _connected(self) -> Engine:
        with self._opening:
            if self._engine is not None and self._pid != os.getpid():
                # After a fork the parent's connections are not ours: not used, not closed, not collected.
                self._inherited.append(self._engine)
                self._engine = None
                if self._same_file is not None:
                    self._same_file.forget_log()
            if self._engine is None:
                self._engine, self._pid = self._new_engine(), os.getpid()
            return self._engine

    def _new_engine(self) -> Engine:
        if self.reads_as_empty:
            engine = sqlite_file.empty_engine()
            schema.metadata.create_all(engine)
            return engine
        if self.is_sqlite:
            return sqlite_file.engine_for(self.url, read_only=self.read_only)
        return postgresql.engine_for(self.url, read_only=self.read_only)

    def _pass_or_raise(self, error: Exception, bill: str, patience: "_Patience") -> None:
        """Pause where it may go well the next time."""
        if not concerns_database(error):
            raise error
        failure = failure_of(error, was_open=self._was_open)
        limit = RETRY_SECONDS if self._was_open else OPENING_SECONDS
        if failure is not Failure.PASSING or patience.is_over(limit):
            # `from None`: the driver's own text may quote a whole row, with its URLs.
            raise self._told(error, failure, bill) from None
        patience.pause()

    def _told(self, error: Exception, failure: Failure, bill: str) -> LedgerError:
        reason = reason_of(error)
        if failure is Failure.DATA:
            return NotRecordable(
                f"The ledger {self.name} does not take these values: {reason}",
                bill=bill,
                next_step="Correct the request; others are not concerned",
            )
        if "file is not a database" in reason:
            return LedgerSchemaUnknown(
                f"{self.name} is not a SQLite database", bill=bill, next_step="Name another file"
            )
        if "disk is full" in reason:
            next_step = "Make room on its disk, then run it again"
        else:
            next_step = "Check that it is there, reachable and writable (PREFECT_LTX_LEDGER, --ledger)"
        return LedgerUnavailable(
            f"The ledger {self.name} cannot be used: {reason}", bill=bill, next_step=next_step
        )


class _ReplyLost(Exception):
    """COMMIT was sent, and nobody said whether it was done."""

    def __init__(self, transaction: int, result: Any) -> None:
        super().__init__(f"transaction {transaction}")
        self.transaction = transaction
        self.result = result


class _Patience:
    """Growing pauses between attempts, with some chance in them, so that processes do not come all at once."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._began = runtime.awake()
        self._pause = 0.05

    def is_over(self, limit: float) -> bool:
        return self._runtime.awake() - self._began > limit

    def pause(self) -> None:
        self._runtime.sleep(self._pause * self._runtime.random.uniform(0.5, 1))
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)


@contextmanager
def _dropped_if_broken(connection: Connection) -> Iterator[None]:
    """Close a connection on which something failed, where it cannot be brought back to a clean state."""
    try:
        yield
    except BaseException:
        try:
            connection.rollback()
        except Exception:
            connection.invalidate()
        raise
