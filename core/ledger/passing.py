"""Which failures of the database pass by themselves, so that the whole transaction may be run again.

Only what says that nothing was committed is run again at once: a cut connection, a restart, too many clients, a
lock that others hold, a deadlock. A COMMIT whose reply was lost is looked up instead (`database`).
SQLSTATEs: PostgreSQL's manual, appendix A; codes of SQLite: https://www.sqlite.org/rescode.html.
"""

import sqlite3
from enum import Enum
from typing import Final

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_PASSING_CLASSES: Final = ("08", "40")
"""Connection exceptions; transactions that the server rolled back, for other transactions' sake."""
_PASSING_STATES: Final = frozenset(
    {
        "25006",  # read-only: a server that another one is taking over from
        "25P03",  # idle in a transaction for too long: this process was stopped in the middle
        "25P04",  # a transaction that took too long
        "53000",
        "53200",
        "53300",  # too many clients
        "55P03",  # a lock that others hold
        "57014",  # a statement that took too long
        "57P01",  # the server ends this connection, or shuts down
        "57P02",
        "57P03",  # it is starting up
        "57P05",
    }
)
_UNSUPPORTED: Final = "0A000"
_DATA_CLASSES: Final = ("22", "23")
"""Values that a column does not take; constraints. They concern one row, not the database."""
_WRONG_FROM_THE_START: Final = (
    "password authentication failed",
    "no password supplied",
    "does not exist",
    "pg_hba.conf",
    "is not permitted to log in",
    "name or service not known",
)
"""What a server, or the resolver, says to a wrong address or account; in other languages one waits in vain."""


class Failure(Enum):
    """What may be done about it."""

    PASSING = "run the whole transaction again"
    DATA = "this row's values cannot be stored; other rows are not concerned"
    LASTING = "a person has to mend it"


def failure_of(error: BaseException, *, was_open: bool) -> Failure:
    """Judge an error of the driver. `was_open`: the database has answered this process before."""
    if isinstance(error, PoolTimeout):
        return Failure.PASSING
    if isinstance(error, OverflowError | UnicodeError):
        return Failure.DATA
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return _of_sqlite(cause)
    return _of_postgresql(error, cause, was_open=was_open)


def concerns_database(error: BaseException) -> bool:
    """Whether it comes from the database, its driver or a value on its way there, not from what was to be done."""
    ours = SQLAlchemyError | sqlite3.Error | OverflowError | UnicodeError
    return isinstance(error, ours) or type(error).__module__.partition(".")[0] == "psycopg"


def reason_of(error: BaseException) -> str:
    """The first line of what the driver says."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(cause).strip().partition("\n")[0] or type(cause).__name__


def _of_sqlite(cause: sqlite3.Error) -> Failure:
    if isinstance(cause, sqlite3.IntegrityError | sqlite3.DataError):
        return Failure.DATA
    name = getattr(cause, "sqlite_errorname", "") or ""
    return Failure.PASSING if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) else Failure.LASTING


def _of_postgresql(error: BaseException, cause: BaseException | None, *, was_open: bool) -> Failure:
    state: str | None = getattr(cause, "sqlstate", None)
    if state is not None:
        if state in _PASSING_STATES or state[:2] in _PASSING_CLASSES:
            return Failure.PASSING
        if state == _UNSUPPORTED and "recovery" in str(cause):
            return Failure.PASSING  # a standby that has not taken over yet
        return Failure.DATA if state[:2] in _DATA_CLASSES else Failure.LASTING
    kind = type(cause).__name__
    if kind == "DataError":
        return Failure.DATA
    if kind not in ("OperationalError", "InterfaceError", "ConnectionTimeout"):
        return Failure.LASTING
    # No SQLSTATE: the connection broke, or was never made. psycopg has only the text for the latter.
    said = str(cause).lower()
    if not was_open and any(each in said for each in _WRONG_FROM_THE_START):
        return Failure.LASTING
    return Failure.PASSING
