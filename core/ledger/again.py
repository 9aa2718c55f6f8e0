"""Running a transaction again: how long, with which pauses, on which connections, and what is said in the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection

from prefect_ltx.ledger.errors import LedgerError, LedgerSchemaUnknown, LedgerUnavailable, NotRecordable
from prefect_ltx.ledger.passing import Failure, reason_of
from prefect_ltx.runtime import Runtime

RETRY_SECONDS: Final = 30.0
"""How long a transaction that fails in passing is run again."""
OPENING_SECONDS: Final = 10.0
"""The same, for a database that has not answered this process yet: its address may be wrong."""
_LONGEST_PAUSE: Final = 2.0


class ReplyLost(Exception):
    """COMMIT was sent, and nobody said whether it was done."""

    def __init__(self, transaction: int, result: Any) -> None:
        super().__init__(f"transaction {transaction}")
        self.transaction = transaction
        self.result = result


class Patience:
    """Growing pauses between attempts, with some chance in them, so that processes do not come all at once."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._began = runtime.awake()
        self._pause = 0.05

    def is_over(self, limit: float) -> bool:
        """Whether so many seconds have passed since the first attempt."""
        return self._runtime.awake() - self._began > limit

    def pause(self) -> None:
        """Let some time pass, each time more."""
        self._runtime.sleep(self._pause * self._runtime.random.uniform(0.5, 1))
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)


@contextmanager
def dropped_if_broken(connection: Connection) -> Iterator[None]:
    """Close a connection on which something failed, where it cannot be brought back to a clean state."""
    try:
        yield
    except BaseException:
        try:
            connection.rollback()
        except Exception:
            connection.invalidate()
        raise


def told(name: str, error: Exception, failure: Failure, bill: str) -> LedgerError:
    """An error of the database as one of the ledger called `name`; `bill` is what it means for the money."""
    reason = reason_of(error)
    if failure is Failure.DATA:
        return NotRecordable(
            f"The ledger {name} does not take these values: {reason}",
            bill=bill,
            next_step="Correct the request; others are not concerned",
        )
    if "file is not a database" in reason:
        return LedgerSchemaUnknown(
            f"{name} is not a SQLite database", bill=bill, next_step="Name another file"
        )
    if "disk is full" in reason:
        next_step = "Make room on its disk, then run it again"
    else:
        next_step = "Check that it is there, reachable and writable (PREFECT_LTX_LEDGER, --ledger)"
    return LedgerUnavailable(f"The ledger {name} cannot be used: {reason}", bill=bill, next_step=next_step)
