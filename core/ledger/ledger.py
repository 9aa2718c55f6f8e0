"""The ledger: what was intended, sent, paid, collected and archived, in one database for all workers.

Every method is one transaction and safe between threads, processes and machines. Nothing here sends anything;
methods say what may be sent. Methods block on the database: asynchronous code calls them in a worker thread.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import Engine, select, true

from prefect_ltx.ledger import claiming, locks, schema
from prefect_ltx.ledger.announcing import Announcement, due, take_announcements
from prefect_ltx.ledger.database import Database
from prefect_ltx.ledger.deliveries import Delivery, Receipt, receive
from prefect_ltx.ledger.errors import NOTHING_SPENT
from prefect_ltx.ledger.life.budget import BudgetLimit
from prefect_ltx.ledger.life.events import Event
from prefect_ltx.ledger.life.machine import Step
from prefect_ltx.ledger.migrations import identify, prepare
from prefect_ltx.ledger.owner import Owner
from prefect_ltx.ledger.recording import Transaction, check_lease, record
from prefect_ltx.ledger.records import Claim, Generation, Plan
from prefect_ltx.ledger.rows import generation_of
from prefect_ltx.ledger.schema import SCHEMA_VERSION
from prefect_ltx.ledger.writer import LedgerWriter
from prefect_ltx.runtime import THIS_MACHINE, Runtime

T = TypeVar("T")

_table = schema.generation

_MIGRATION_SECONDS = 600

ANNOUNCE_AGAIN_SECONDS = 900.0
"""How long a finished generation that nobody collects waits for its first reminder."""


class Ledger(LedgerWriter):
    """The money record in a SQLite file or a PostgreSQL database.

    Args:
        url: `sqlite:////absolute/path.db` or `postgresql://user:password@host/database`.
        clock: Unix seconds; for tests. Default: this machine's on SQLite, the database's on PostgreSQL.
        lease_seconds: how long a row stays its owner's without `renew`.
        read_only: nothing is made or written, and a ledger that does not exist yet reads as an empty one. (One of
            an older release is brought up to date, where that can be.)
        account: in whose name it is used; see `acting_for`. None: every row counts as one's own.
        runtime: whose clocks and chance are used.
        is_dead: whether an owner is provably dead, so that its rows may be taken over at once.
        engine: in place of one of its own (`sqlite_file.engine_of`).

    Raises:
        LedgerUnavailable: it cannot be opened or written. Nothing was sent or spent.
        LedgerSchemaUnknown: the database is not a ledger, or one of a newer release.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] | None = None,
        lease_seconds: float = 120,
        read_only: bool = False,
        account: str | None = None,
        runtime: Runtime = THIS_MACHINE,
        is_dead: Callable[[Owner], bool] = Owner.is_dead,
        engine: Engine | None = None,
    ) -> None:
        """Open the ledger; its tables are made when the database is empty."""
        if clock is None and runtime is not THIS_MACHINE:
            clock = runtime.time
        clock = None if clock is time.time else clock
        database = Database(url, clock, read_only=read_only, runtime=runtime, engine=engine)
        super().__init__(database, lease_seconds, is_dead)
        if account is not None:
            self.acting_for(account)
        try:
            # The id names this ledger for ever, wherever its database moves.
            self.id = self._opened_to_read() if read_only else _opened_to_write(self._database)
        except BaseException:
            self._database.close()
            raise

    def _opened_to_read(self) -> str:
        if self._database.reads_as_empty:
            return ""
        found = self._database.read(identify)
        if found is None:
            self._database.read_as_empty()
            return ""
        ledger_id, version = found
        if version != SCHEMA_VERSION:
            # The only thing that a reader ever writes: without it nothing can be read.
            writer = Database(self._database.url)
            try:
                _opened_to_write(writer)
            finally:
                writer.close()
        return ledger_id

    @property
    def name(self) -> str:
        """The database for people, without password and query."""
        return self._database.name

    @property
    def file(self) -> Path | None:
        """The SQLite file, which one machine may use; None for a database that several machines can reach."""
        return self._database.file

    # -- who works on it ---------------------------------------------------------------------------------

    def claim(self, plan: Plan, owner: Owner, limits: Sequence[BudgetLimit] = ()) -> Claim:
        """Write the intent, or find the row that the key has already. Of all callers at once one may send.

        The limits are checked, and the upper bound reserved, in the same transaction; a row that exists
        already is not checked again. A request that ran after the key's row was closed is adopted, unpaid. What fal
        has refused for good in the same flow run is not written again ("refused").

        Raises:
            BudgetExceeded: a limit would be passed; no row was written.
            SpendingStopped: a bill was far beyond its bound and nobody has looked; no row was written.
            AnotherAccount: the plan, or the key's row, is another account's.
            LedgerUnavailable: nothing was sent or spent.
        """
        return self._write(
            lambda tx: claiming.claim(tx, plan, owner, limits), bill=NOTHING_SPENT, shares=True
        )

    def take(self, generation_id: str, owner: Owner) -> Claim:
        """As `claim`, for a row that exists: take it over unless a living owner has it.

        Raises:
            GenerationNotFound: there is no such row.
            AnotherAccount: it is another account's.
        """
        return self._write(lambda tx: claiming.take(tx, tx.load(generation_id), owner), shares=True)

    def adopt_seedless(self, seedless_key: str, owner: Owner) -> Generation | None:
        """Take over one unfinished row that drew its seed and whose run failed or died; None without such a row.

        The row of a run that lives, or that ended and handed its row back, is that run's own. Rows that can go on
        come first, then parked and lost ones, each the oldest first; rows that are being cancelled are left
        alone. Two callers never get the same row. Go on with `take(generation.id, owner)`.
        """
        return self._write(lambda tx: claiming.adopt_seedless(tx, seedless_key, owner), bill=NOTHING_SPENT)

    def leave_behind(self, keys: Sequence[str], owner: Owner) -> None:
        """Note that the run of `owner` failed, so that another one may go on with what it left of these keys.

        No effect where there is no unfinished row, or where somebody else holds it.
        """
        self._write(lambda tx: claiming.leave_behind(tx, keys, owner), shares=True)

    def adopt_stray(self, request_id: str, owner: Owner) -> Claim | None:
        """Go on with a request that ran after its row was closed, in a new row of its key. For a sweep.

        None when there is no such stray, it is adopted already, or its key has a live row: then it is a double
        charge, or it will be adopted by the next claim. Nothing is sent, and no budget stands in its way.
        """
        return self._write(lambda tx: claiming.adopt_stray(tx, request_id, owner), bill=NOTHING_SPENT)

    def begin_post(self, generation_id: str, owner: Owner, *, since: float | None = None) -> Generation:
        """Announce the one POST of this attempt, renew the lease, and return the row; then send at once.

        Succeeds once an attempt. An owner made with `announces_posts=True` must call it before every POST. `since` is
        the earliest that it can be by fal's clock (`FalClient.clock.now().earliest`): without it, what fal does not
        list later is never absent.

        Raises:
            SpendingStopped: a bill was far beyond its bound and nobody has looked.
            AnotherAccount: the row is another account's.
            LeaseLost: another owner has the row.
            PostNotPermitted: it may have been sent already, was cancelled, or has moved on.
        """
        return self._write(
            lambda tx: claiming.begin_post(tx, tx.load(generation_id), owner, since),
            bill=NOTHING_SPENT,
            shares=True,
        )

    def renew(self, generation_id: str, owner: Owner) -> bool:
        """Keep the lease for another `lease_seconds`. False when it is not this owner's any more."""
        mine = _table.update().where(_table.c.id == generation_id, _table.c.owner == owner.token)

        def longer(tx: Transaction) -> bool:
            locks.row(tx.connection, generation_id)
            return tx.connection.execute(mine.values(lease_until=tx.now + self.lease_seconds)).rowcount == 1

        return self._write(longer, shares=True)

    def release(self, generation_id: str, owner: Owner) -> None:
        """Give the lease back on a clean exit. An intent that may have been sent becomes UNKNOWN."""

        def hand_back(tx: Transaction) -> None:
            row = tx.load(generation_id)
            if row.owner == owner.token:
                claiming.hand_back(tx, row, owner.label)

        self._write(hand_back, shares=True)

    def expire_dead_leases(self) -> list[Generation]:
        """Take this account's rows from owners that are dead or too late, and return them as they are now."""
        ours = self._acting.ours() if self._acting is not None else true()

        def expire(tx: Transaction) -> list[Generation]:
            held = [
                generation_of(row)
                for row in tx.connection.execute(select(_table).where(_table.c.owner.is_not(None), ours))
            ]
            return [claiming.expire(tx, row) for row in held if not tx.is_held(row)]

        return self._write(expire)

    # -- what happened -----------------------------------------------------------------------------------

    def record(
        self, generation_id: str, event: Event, *, owner: Owner | None = None, actor: str | None = None
    ) -> Step:
        """Apply an event, write its facts and its line of history, and return what follows.

        Facts are recorded whoever brings them. PostStarted, Rejected, NotSent and ProvablyAbsent need the
        lease; so do ReplyLost and Undecidable while anybody holds it; a person's "absent" waits until nobody else
        does. Recording the same fact again has no effect, so what could not be written (an `Accepted` whose ledger
        was away) is simply recorded later: a request id is never dropped, whatever became of the row meanwhile.

        Raises:
            LeaseLost: `owner` may not decide this.
            AnotherAccount: the row is another account's.
            RequestClaimed: the request belongs to another live row.
            GenerationNotFound: there is no such row.
        """
        return self._write(lambda tx: self._recorded(tx, generation_id, event, owner, actor), shares=True)

    def record_and_get(
        self, generation_id: str, event: Event, *, owner: Owner | None = None, actor: str | None = None
    ) -> Generation:
        """As `record`, and the row as it is afterwards: one transaction in place of two."""

        def recorded(tx: Transaction) -> Generation:
            self._recorded(tx, generation_id, event, owner, actor)
            return tx.load(generation_id)

        return self._write(recorded, shares=True)

    # -- webhooks ----------------------------------------------------------------------------------------

    def receive(self, deliveries: Sequence[Delivery], *, actor: str = "webhook") -> list[Receipt]:
        """Record verified webhooks, all in this one transaction; a receipt for each, in their order.

        The same webhook again is a duplicate and writes nothing. Nothing is sent, and no row may be sent because
        of it.
        """
        return self._write(lambda tx: receive(tx, deliveries, actor))

    def take_announcements(
        self, *, again_after: float = ANNOUNCE_AGAIN_SECONDS, actor: str = "announcer"
    ) -> list[Announcement]:
        """The generations to tell the world about now: fal has finished them, and no live owner holds them.

        Each call gives a generation once; while it is still not collected it is given again after `again_after`
        seconds, and then after pauses that double up to a day.
        """
        # Most of the time nothing is due, and nobody has to wait for a writer.
        if not self._database.read(
            lambda each: due(each, self._database.now(each), again_after, self._acting, self._is_dead)
        ):
            return []
        return self._write(lambda tx: take_announcements(tx, again_after, actor))

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

    def _recorded(
        self, tx: Transaction, generation_id: str, event: Event, owner: Owner | None, actor: str | None
    ) -> Step:
        row = tx.load_ours(generation_id)
        check_lease(tx, row, event, owner)
        who = actor or (owner.label if owner else "")
        return record(tx, row, event, owner=owner, actor=who)


def _opened_to_write(database: Database) -> str:
    return database.write(prepare, bill=NOTHING_SPENT, statement_seconds=_MIGRATION_SECONDS)
