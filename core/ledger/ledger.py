"""The ledger: what was intended, sent, paid, collected and archived, in one database for all workers.

Every method is one transaction and safe between threads, processes and machines. Nothing here sends anything;
methods say what may be sent. Methods block on the database: asynchronous code calls them in a worker thread.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Self

from sqlalchemy import select

from prefect_ltx.ledger import accounting, claiming, reading, schema
from prefect_ltx.ledger.budget import BudgetLimit, BudgetStatus
from prefect_ltx.ledger.database import Database
from prefect_ltx.ledger.errors import NOTHING_SPENT
from prefect_ltx.ledger.events import Event
from prefect_ltx.ledger.machine import Step
from prefect_ltx.ledger.migrations import prepare
from prefect_ltx.ledger.owner import Owner
from prefect_ltx.ledger.recording import Transaction, check_lease, is_held, record
from prefect_ltx.ledger.records import (
    Claim,
    DoubleCharge,
    Drift,
    Generation,
    LedgerEvent,
    Plan,
    Stray,
    StrayKind,
    Total,
)
from prefect_ltx.ledger.rows import generation_of
from prefect_ltx.ledger.states import State

_table = schema.generation


class Ledger:
    """The money record in a SQLite file or a PostgreSQL database.

    Args:
        url: `sqlite:////absolute/path.db` or `postgresql://user:password@host/database`.
        clock: Unix seconds; for tests. Default: this machine's on SQLite, the database's on PostgreSQL.
        lease_seconds: how long a row stays its owner's without `renew`.

    Raises:
        LedgerUnavailable: it cannot be opened or written. Nothing was sent or spent.
        LedgerSchemaUnknown: the database is not a ledger, or one of a newer release.
    """

    def __init__(
        self, url: str, *, clock: Callable[[], float] | None = None, lease_seconds: float = 120
    ) -> None:
        """Open the ledger; its tables are made when the database is empty."""
        self.lease_seconds = lease_seconds
        self._database = Database(url, None if clock is time.time else clock)
        try:
            with self._database.write(bill=NOTHING_SPENT) as connection:
                self.id = prepare(connection)  # names this ledger for ever, wherever its database moves
        except BaseException:
            self._database.close()
            raise

    @property
    def name(self) -> str:
        """The database for people, without password and query."""
        return self._database.name

    # -- who works on it ---------------------------------------------------------------------------------

    def claim(self, plan: Plan, owner: Owner, limits: Sequence[BudgetLimit] = ()) -> Claim:
        """Write the intent, or find the row that the key has already. Of all callers at once one may send.

        The limits are checked, and the upper bound reserved, in the same transaction; a row that exists
        already is not checked again. A request that ran after the key's row was closed is adopted, unpaid.

        Raises:
            BudgetExceeded: a limit would be passed; no row was written.
            LedgerUnavailable: nothing was sent or spent.
        """
        with self._writing(bill=NOTHING_SPENT) as tx:
            return claiming.claim(tx, plan, owner, limits)

    def take(self, generation_id: str, owner: Owner) -> Claim:
        """As `claim`, for a row that exists: take it over unless a living owner has it.

        Raises:
            GenerationNotFound: there is no such row.
        """
        with self._writing() as tx:
            return claiming.take(tx, tx.load(generation_id), owner)

    def adopt_seedless(self, seedless_key: str, owner: Owner) -> Generation | None:
        """Take over one unfinished row that drew its seed and whose owner is gone; None if there is none.

        Rows that can go on come first, then parked and lost ones, each the oldest first; rows that are being
        cancelled are left alone. Two callers never get the same row. Go on with `take(generation.id, owner)`.
        """
        with self._writing(bill=NOTHING_SPENT) as tx:
            return claiming.adopt_seedless(tx, seedless_key, owner)

    def begin_post(self, generation_id: str, owner: Owner) -> Generation:
        """Announce the one POST of this attempt, renew the lease, and return the row; then send at once.

        Succeeds once an attempt. An owner made with `announces_posts=True` must call it before every POST.

        Raises:
            LeaseLost: another owner has the row.
            PostNotPermitted: it may have been sent already, was cancelled, or has moved on.
        """
        with self._writing(bill=NOTHING_SPENT) as tx:
            return claiming.begin_post(tx, tx.load(generation_id), owner)

    def renew(self, generation_id: str, owner: Owner) -> bool:
        """Keep the lease for another `lease_seconds`. False when it is not this owner's any more."""
        with self._writing() as tx:
            mine = _table.update().where(_table.c.id == generation_id, _table.c.owner == owner.token)
            return tx.connection.execute(mine.values(lease_until=tx.now + self.lease_seconds)).rowcount == 1

    def release(self, generation_id: str, owner: Owner) -> None:
        """Give the lease back on a clean exit. An intent that may have been sent becomes UNKNOWN."""
        with self._writing() as tx:
            row = tx.load(generation_id)
            if row.owner == owner.token:
                claiming.hand_back(tx, row, owner.label)

    def expire_dead_leases(self) -> list[Generation]:
        """Take every lease from owners that are dead or too late, and return those rows as they are now."""
        with self._writing() as tx:
            held = [
                generation_of(row)
                for row in tx.connection.execute(select(_table).where(_table.c.owner.is_not(None)))
            ]
            return [claiming.hand_back(tx, row, "lease expired") for row in held if not is_held(row, tx.now)]

    # -- what happened -----------------------------------------------------------------------------------

    def record(
        self, generation_id: str, event: Event, *, owner: Owner | None = None, actor: str | None = None
    ) -> Step:
        """Apply an event, write its facts and its line of history, and return what follows.

        Facts are recorded whoever brings them. PostStarted, Rejected, NotSent and ProvablyAbsent need the
        lease; so do ReplyLost and Undecidable while anybody holds it.

        Raises:
            LeaseLost: `owner` may not decide this.
            RequestClaimed: the request belongs to another live row.
            GenerationNotFound: there is no such row.
        """
        with self._writing() as tx:
            row = tx.load(generation_id)
            check_lease(tx, row, event, owner)
            who = actor or (owner.label if owner else "")
            return record(tx, row, event, owner=owner, actor=who)

    # -- reading -----------------------------------------------------------------------------------------

    def get(self, name: str) -> Generation:
        """The row with this id, request id, or unique prefix (4 characters or more) of either.

        Raises:
            GenerationNotFound: none, or several.
        """
        with self._database.read() as connection:
            return reading.get(connection, name)

    def find(
        self,
        *,
        key: str | None = None,
        live: bool | None = None,
        states: Iterable[State] | None = None,
        flow_run_id: str | None = None,
        request_id: str | None = None,
        nonce: str | None = None,
        tag: str | None = None,
        limit: int | None = None,
    ) -> list[Generation]:
        """Rows that meet all conditions, the newest first."""
        with self._database.read() as connection:
            return reading.find(
                connection,
                key=key,
                live=live,
                states=states,
                flow_run_id=flow_run_id,
                request_id=request_id,
                nonce=nonce,
                tag=tag,
                limit=limit,
            )

    def unfinished(self) -> list[Generation]:
        """Live rows on which something is left to do, the oldest first."""
        with self._database.read() as connection:
            return reading.unfinished(connection)

    def events(self, generation_id: str) -> list[LedgerEvent]:
        """The row's history, the oldest first."""
        with self._database.read() as connection:
            return reading.events(connection, generation_id)

    def released_attempts(self, key: str) -> int:
        """How many rows of this key were closed without a video."""
        return len(self.find(key=key, live=False))

    def claimed_request_ids(self, endpoint: str | None = None) -> frozenset[str]:
        """Every request id that a row (closed ones too) or a stray has."""
        with self._database.read() as connection:
            return reading.claimed_request_ids(connection, endpoint)

    def is_claimed(self, request_id: str) -> bool:
        """Whether a row or a stray has this request."""
        with self._database.read() as connection:
            return reading.is_claimed(connection, request_id)

    def strays(
        self, *, key: str | None = None, kind: StrayKind | None = None, adopted: bool | None = None
    ) -> list[Stray]:
        """Requests kept beside the rows: double charges, and requests that ran after their row was closed."""
        with self._database.read() as connection:
            return reading.strays(connection, key=key, kind=kind, adopted=adopted)

    def double_charges(self) -> list[DoubleCharge]:
        """Rows for which more than one request was made, with the ids of the others."""
        with self._database.read() as connection:
            return reading.double_charges(connection)

    # -- money -------------------------------------------------------------------------------------------

    def spending(self, limits: Sequence[BudgetLimit]) -> list[BudgetStatus]:
        """How each limit stands now."""
        with self._database.read() as connection:
            return accounting.spending(connection, limits, self._database.now(connection))

    def totals(self, by: accounting.Grouping = "day") -> list[Total]:
        """Sums by UTC day of the intent, tag, endpoint or state."""
        with self._database.read() as connection:
            return accounting.totals(connection, by)

    def unsettled(self, older_than: float = 0, *, by_billing: bool = False) -> list[Generation]:
        """Rows that fal finished `older_than` seconds ago or more and whose cost is not known.

        With `by_billing` also those that only billable units or a person have priced.
        """
        with self._database.read() as connection:
            before = self._database.now(connection) - older_than
            return accounting.unsettled(connection, before, by_billing=by_billing)

    def drift(self) -> list[Drift]:
        """Settled rows that cost something else than expected, the newest first."""
        with self._database.read() as connection:
            return accounting.drift(connection)

    # -- uploads -----------------------------------------------------------------------------------------

    def find_upload(
        self, account: str, sha256: str, *, now: float | datetime | None = None, valid_for: float = 0
    ) -> str | None:
        """The URL of an earlier upload of these bytes that stays for `valid_for` seconds, else None."""
        with self._database.read() as connection:
            at = self._database.now(connection) if now is None else _seconds(now)
            return reading.find_upload(connection, account, sha256, at + valid_for)

    def save_upload(
        self,
        account: str,
        sha256: str,
        url: str,
        content_type: str = "",
        size: int = 0,
        expires_at: float | datetime | None = None,
    ) -> None:
        """Remember where these bytes were uploaded. Without `expires_at` the upload stays for good."""
        with self._writing() as tx:
            values = {
                "account": account,
                "sha256": sha256,
                "url": url,
                "content_type": content_type,
                "size": size,
                "saved_at": tx.now,
                "expires_at": None if expires_at is None else _seconds(expires_at),
            }
            reading.save_upload(tx.connection, values)

    # -- life --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close this process's connections; the next call opens new ones."""
        self._database.close()

    def __enter__(self) -> Self:
        """The ledger itself; closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def __repr__(self) -> str:
        """Names the database, without password and query."""
        return f"Ledger({self.name!r})"

    @contextmanager
    def _writing(self, **bill: str) -> Iterator[Transaction]:
        with self._database.write(**bill) as connection:
            yield Transaction(connection, self._database.now(connection), self.lease_seconds)


def _seconds(moment: float | datetime) -> float:
    return moment.timestamp() if isinstance(moment, datetime) else moment
