"""Many calls of a ledger in one transaction: each in its own savepoint, one commit for all.

Nobody is answered before the commit that holds the change. A call that fails takes back its own savepoint; what
concerns the database ends the whole transaction, which is then run again, or fails for each call as it would have
alone. A call may therefore be made several times, and changes nothing but the database.
"""

import contextvars
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

from prefect_ltx.ledger import locks
from prefect_ltx.ledger.errors import NOTHING_SPENT, LedgerError
from prefect_ltx.ledger.passing import Failure, concerns_database, failure_of

T = TypeVar("T")

Told = Callable[[Exception, Failure, str], LedgerError]
"""An error of the database, what it is, and what it means for the money, as an error of the ledger."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call: its result, or its error."""

    value: Any = None
    error: BaseException | None = None
    afterwards: Sequence[Callable[[], None]] = ()
    """What is to be done once it is committed."""


@dataclass
class OpenGroup:
    """The transaction that a thread is in: what its call reads and writes goes there."""

    connection: Connection
    told: Told
    afterwards: list[Callable[[], None]] = field(default_factory=list)

    def write(self, work: Callable[[Connection], T], bill: str, *, shares: bool) -> T:
        """See `Database.write`."""
        if not shares:
            locks.alone(self.connection)
        try:
            return work(self.connection)
        except LedgerError:
            raise
        except Exception as error:
            if concerns_database(error) and failure_of(error, was_open=True) is Failure.DATA:
                raise self.told(error, Failure.DATA, bill) from None
            raise

    def read(self, work: Callable[[Connection], T]) -> T:
        """See `Database.read`."""
        return work(self.connection)


@dataclass
class FailedGroup:
    """A transaction that has failed for all its calls: each is told so in its own words."""

    error: LedgerError
    bills: Callable[[str], str]
    """What the failure means for the money, from what a plain one would have meant."""
    afterwards: list[Callable[[], None]] = field(default_factory=list)

    def write(self, work: Callable[[Connection], T], bill: str, *, shares: bool) -> T:
        """Fails."""
        raise type(self.error)(self.error.what, bill=self.bills(bill), next_step=self.error.next_step)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Fails."""
        raise type(self.error)(self.error.what, bill=NOTHING_SPENT, next_step=self.error.next_step)


class Here(threading.local):
    """Whether a thread's calls are made in a group, and in which."""

    group: OpenGroup | FailedGroup | None = None

    def make(self, call: Callable[[], Any], group: OpenGroup | FailedGroup) -> Outcome:
        """Make the call in this group.

        Raises:
            Exception: the database failed; the whole transaction has to be given up.
        """
        self.group = group
        try:
            return in_savepoint(group, call) if isinstance(group, OpenGroup) else outcome_of(call)
        finally:
            self.group = None

    def after_commit(self, what: Callable[[], None]) -> None:
        """Do this at once, or when this thread's group is committed."""
        if self.group is None:
            what()
        else:
            # As its caller's: the others' context is not this one's.
            self.group.afterwards.append(partial(contextvars.copy_context().run, what))


def outcome_of(call: Callable[[], Any]) -> Outcome:
    """Make a call in a transaction of its own, or of its own several."""
    try:
        return Outcome(call())
    except BaseException as error:
        return Outcome(error=error)


def in_savepoint(group: OpenGroup, call: Callable[[], Any]) -> Outcome:
    """Make a call inside the open transaction.

    Raises:
        Exception: the database failed; the whole transaction has to be given up.
    """
    savepoint = group.connection.begin_nested()
    try:
        value = call()
    except Exception as error:
        if concerns_database(error):
            raise
        savepoint.rollback()
        return Outcome(error=error)
    savepoint.commit()
    return Outcome(value, afterwards=group.afterwards)
