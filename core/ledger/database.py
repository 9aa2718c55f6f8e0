"""The database under the ledger: transactions that hold between threads, processes and machines.

What a writing transaction has read is still true when it commits, budgets included: it is alone (BEGIN IMMEDIATE on
SQLite), or has locked what it decides about (PostgreSQL, see `locks`). Nothing is ever sent inside a transaction.

What fails in passing is run again as a whole, for half a minute. A COMMIT whose reply was lost is looked up by its
transaction id, and what it did is never done twice. Time for leases is the database server's where several machines
may share it (PostgreSQL), else this machine's.
"""

import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import URL, Connection, Engine, text

from prefect_ltx.ledger import postgresql, schema, sqlite_file
from prefect_ltx.ledger.addressing import file_of, ledger_url
from prefect_ltx.ledger.again import (
    OPENING_SECONDS,
    RETRY_SECONDS,
    Patience,
    ReplyLost,
    dropped_if_broken,
    told,
)
from prefect_ltx.ledger.errors import (
    NOTHING_SPENT,
    LedgerError,
    LedgerUnavailable,
    NotRecordable,
)
from prefect_ltx.ledger.group import FailedGroup, Here, OpenGroup, Outcome, outcome_of
from prefect_ltx.ledger.locks import NeedsAlone
from prefect_ltx.ledger.passing import Failure, concerns_database, failure_of
from prefect_ltx.runtime import THIS_MACHINE, Runtime

T = TypeVar("T")

NOT_RECORDED: Final = "Nothing more was sent, and this change was not recorded; a request sent before goes on"
_PERHAPS_RECORDED: Final = (
    "Nothing more was sent, and whether this change was recorded is not known; a request sent before goes on"
)


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
        engine: Engine | None = None,
    ) -> None:
        """Read the URL; the first connection is made by the first transaction.

        An `engine` that is given is used in place of one of its own, and closed by whoever gave it.
        """
        self.url = ledger_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.read_only = read_only
        self.reads_as_empty = False
        self._clock = clock
        self.runtime = runtime
        self._engine: Engine | None = None
        self._given_engine = engine
        self._pid = 0
        self._inherited: list[Engine] = []
        self._opening = threading.Lock()
        self._was_open = False
        self._here = Here()
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
        shares: bool = False,
    ) -> T:
        """Run `work` in a transaction: committed if it returns, else rolled back.

        No other writer overlaps it, unless it `shares` the ledger with those whose `locks` differ from its own.
        `work` may be called again with a new transaction, so it changes nothing outside the database.

        Raises:
            LedgerUnavailable: the database cannot be reached or written; `bill` says what that means for the
                money.
            NotRecordable: the database does not take these values.
        """
        if self.read_only:
            raise LedgerUnavailable(f"The ledger {self.name} was opened for reading only", bill=bill)
        if (group := self._here.group) is not None:
            return group.write(work, bill, shares=shares)
        return self._patiently(work, bill, True, statement_seconds, shares and not self.is_sqlite)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that only reads; it may be called again, as with `write`.

        Raises:
            LedgerUnavailable: the database cannot be reached.
        """
        if (group := self._here.group) is not None:
            return group.read(work)
        return self._patiently(work, NOTHING_SPENT, False, postgresql.STATEMENT_SECONDS)

    def together(self, calls: Sequence[Callable[[], Any]]) -> list[Outcome]:
        """Make calls that write here in one transaction, each in its own savepoint; what became of each, in order.

        When this returns, what succeeded is committed.
        """
        if len(calls) == 1 or self.read_only:
            return [outcome_of(call) for call in calls]

        def whole(connection: Connection) -> list[Outcome]:
            return [self._here.make(call, OpenGroup(connection, partial(told, self.name))) for call in calls]

        try:
            outcomes = self.write(whole, shares=True)
        except NotRecordable:
            return [outcome_of(call) for call in calls]  # of which nobody knows whose it is
        except LedgerError as error:
            failed = FailedGroup(error, self._bill_of(error))
            return [self._here.make(call, failed) for call in calls]
        for outcome in outcomes:
            for each in outcome.afterwards:
                each()
        return outcomes

    def after_commit(self, what: Callable[[], None]) -> None:
        """Do this once what this thread has written is committed."""
        self._here.after_commit(what)

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
            if self._engine not in (None, self._given_engine) and self._pid == os.getpid():
                self._engine.dispose()
            self._engine = None
            if self._same_file is not None:
                self._same_file.forget_log()

    # -- one transaction, and again ----------------------------------------------------------------------

    def _bill_of(self, error: LedgerError) -> Callable[[str], str]:
        perhaps = error.bill == _PERHAPS_RECORDED
        return lambda bill: _PERHAPS_RECORDED if perhaps and bill == NOT_RECORDED else bill

    def _patiently(
        self,
        work: Callable[[Connection], T],
        bill: str,
        writes: bool,
        statement_seconds: int,
        shares: bool = False,
    ) -> T:
        patience = Patience(self.runtime)
        while True:
            try:
                return self._once(work, bill, writes, statement_seconds, shares)
            except NeedsAlone:
                shares = False
            except ReplyLost as lost:
                if self._was_committed(lost, bill, patience):
                    result: T = lost.result
                    return result
            except LedgerError:
                raise
            except Exception as error:
                self._pass_or_raise(error, bill, patience)

    def _was_committed(self, lost: ReplyLost, bill: str, patience: Patience) -> bool:
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
        shares: bool = False,
    ) -> T:
        if self._same_file is not None:
            self._same_file.check(bill)
        with self._connected().connect() as connection:
            if self.is_sqlite:
                with dropped_if_broken(connection), connection.begin():
                    connection.exec_driver_sql(sqlite_file.begin_statement(writes=writes))
                    self._was_open = True
                    result = work(connection)
            else:
                connection.execution_options(**postgresql.transaction_options(writes=writes, shares=shares))
                with postgresql.watched(connection) as silence, dropped_if_broken(connection):
                    number = postgresql.begin(connection, writes=writes, statement_seconds=statement_seconds)
                    self._was_open = True
                    result = work(connection)
                    silence.expect_answer_within(postgresql.SILENCE_SECONDS)
                    try:
                        connection.commit()
                    except Exception as error:
                        if number is None or postgresql.was_rolled_back(error):
                            raise
                        raise ReplyLost(number, result) from None
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
        if self._given_engine is not None:
            return self._given_engine
        if self.reads_as_empty:
            engine = sqlite_file.empty_engine()
            schema.metadata.create_all(engine)
            return engine
        if self.is_sqlite:
            return sqlite_file.engine_for(self.url, read_only=self.read_only)
        return postgresql.engine_for(self.url, read_only=self.read_only)

    def _pass_or_raise(self, error: Exception, bill: str, patience: Patience) -> None:
        """Pause where it may go well the next time."""
        if not concerns_database(error):
            raise error
        failure = failure_of(error, was_open=self._was_open)
        limit = RETRY_SECONDS if self._was_open else OPENING_SECONDS
        if failure is not Failure.PASSING or patience.is_over(limit):
            # `from None`: the driver's own text may quote a whole row, with its URLs.
            raise told(self.name, error, failure, bill) from None
        patience.pause()
