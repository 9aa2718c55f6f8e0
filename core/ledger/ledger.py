"""The ledger: what was intended, sent, paid, collected and archived, in one database for all workers.

Every method is one transaction and safe between threads, processes and machines. Nothing here sends anything;
methods say what may be sent. Methods block on the database: asynchronous code calls them in a worker thread.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import Connection, select

from prefect_ltx.ledger import accounting, claiming, reading, schema, seen, watching
from prefect_ltx.ledger.announcing import Announcement, due, take_announcements
from prefect_ltx.ledger.database import NOT_RECORDED, Database
from prefect_ltx.ledger.deliveries import Delivery, Receipt, receive
from prefect_ltx.ledger.errors import NOTHING_SPENT
from prefect_ltx.ledger.life.budget import BudgetLimit
from prefect_ltx.ledger.life.events import Event
from prefect_ltx.ledger.life.machine import Step
from prefect_ltx.ledger.life.states import State
from prefect_ltx.ledger.migrations import identify, prepare
from prefect_ltx.ledger.owner import Owner
from prefect_ltx.ledger.reader import LedgerReader
from prefect_ltx.ledger.recording import Transaction, check_lease, is_held, record
from prefect_ltx.ledger.records import Claim, Generation, Plan
from prefect_ltx.ledger.rows import generation_of, seconds
from prefect_ltx.ledger.schema import SCHEMA_VERSION
from prefect_ltx.ledger.spend import REUSED

T = TypeVar("T")

_table = schema.generation

_MIGRATION_SECONDS = 600

ANNOUNCE_AGAIN_SECONDS = 900.0
"""How long a finished generation that nobody collects waits for its first reminder."""


class Ledger(LedgerReader):
    """The money record in a SQLite file or a PostgreSQL database.

    Args:
        url: `sqlite:////absolute/path.db` or `postgresql://user:password@host/database`.
        clock: Unix seconds; for tests. Default: this machine's on SQLite, the database's on PostgreSQL.
        lease_seconds: how long a row stays its owner's without `renew`.
        read_only: nothing is made or written, and a ledger that does not exist yet reads as an empty one. (One of
            an older release is brought up to date, where that can be.)

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
    ) -> None:
        """Open the ledger; its tables are made when the database is empty."""
        self.lease_seconds = lease_seconds
        super().__init__(Database(url, None if clock is time.time else clock, read_only=read_only))
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

    def note_machine(self) -> list[seen.Machine]:
        """Write down that this machine uses the ledger, and tell which others use it as well, the last first.

        A machine counts once it was seen both before and after this one; a reboot is not another machine.
        """
        return self._write(lambda tx: seen.note(tx.connection, tx.now), bill=NOTHING_SPENT)

    # -- who works on it ---------------------------------------------------------------------------------

    def claim(self, plan: Plan, owner: Owner, limits: Sequence[BudgetLimit] = ()) -> Claim:
        """Write the intent, or find the row that the key has already. Of all callers at once one may send.

        The limits are checked, and the upper bound reserved, in the same transaction; a row that exists
        already is not checked again. A request that ran after the key's row was closed is adopted, unpaid.

        Raises:
            BudgetExceeded: a limit would be passed; no row was written.
            LedgerUnavailable: nothing was sent or spent.
        """
        return self._write(lambda tx: claiming.claim(tx, plan, owner, limits), bill=NOTHING_SPENT)

    def take(self, generation_id: str, owner: Owner) -> Claim:
        """As `claim`, for a row that exists: take it over unless a living owner has it.

        Raises:
            GenerationNotFound: there is no such row.
        """
        return self._write(lambda tx: claiming.take(tx, tx.load(generation_id), owner))

    def adopt_seedless(self, seedless_key: str, owner: Owner) -> Generation | None:
        """Take over one unfinished row that drew its seed and whose owner is gone; None if there is none.

        Rows that can go on come first, then parked and lost ones, each the oldest first; rows that are being
        cancelled are left alone. Two callers never get the same row. Go on with `take(generation.id, owner)`.
        """
        return self._write(lambda tx: claiming.adopt_seedless(tx, seedless_key, owner), bill=NOTHING_SPENT)

    def adopt_stray(self, request_id: str, owner: Owner) -> Claim | None:
        """Go on with a request that ran after its row was closed, in a new row of its key. For a sweep.

        None when there is no such stray, it is adopted already, or its key has a live row: then it is a double
        charge, or it will be adopted by the next claim. Nothing is sent, and no budget stands in its way.
        """
        return self._write(lambda tx: claiming.adopt_stray(tx, request_id, owner), bill=NOTHING_SPENT)

    def begin_post(self, generation_id: str, owner: Owner) -> Generation:
        """Announce the one POST of this attempt, renew the lease, and return the row; then send at once.

        Succeeds once an attempt. An owner made with `announces_posts=True` must call it before every POST.

        Raises:
            LeaseLost: another owner has the row.
            PostNotPermitted: it may have been sent already, was cancelled, or has moved on.
        """
        return self._write(
            lambda tx: claiming.begin_post(tx, tx.load(generation_id), owner), bill=NOTHING_SPENT
        )

    def renew(self, generation_id: str, owner: Owner) -> bool:
        """Keep the lease for another `lease_seconds`. False when it is not this owner's any more."""
        mine = _table.update().where(_table.c.id == generation_id, _table.c.owner == owner.token)

        def longer(tx: Transaction) -> bool:
            return tx.connection.execute(mine.values(lease_until=tx.now + self.lease_seconds)).rowcount == 1

        return self._write(longer)

    def release(self, generation_id: str, owner: Owner) -> None:
        """Give the lease back on a clean exit. An intent that may have been sent becomes UNKNOWN."""

        def hand_back(tx: Transaction) -> None:
            row = tx.load(generation_id)
            if row.owner == owner.token:
                claiming.hand_back(tx, row, owner.label)

        self._write(hand_back)

    def expire_dead_leases(self) -> list[Generation]:
        """Take every lease from owners that are dead or too late, and return those rows as they are now."""

        def expire(tx: Transaction) -> list[Generation]:
            held = [
                generation_of(row)
                for row in tx.connection.execute(select(_table).where(_table.c.owner.is_not(None)))
            ]
            return [claiming.hand_back(tx, row, "lease expired") for row in held if not is_held(row, tx.now)]

        return self._write(expire)

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
        return self._write(lambda tx: self._recorded(tx, generation_id, event, owner, actor))

    def record_and_get(
        self, generation_id: str, event: Event, *, owner: Owner | None = None, actor: str | None = None
    ) -> Generation:
        """As `record`, and the row as it is afterwards: one transaction in place of two."""

        def recorded(tx: Transaction) -> Generation:
            self._recorded(tx, generation_id, event, owner, actor)
            return tx.load(generation_id)

        return self._write(recorded)

    def note_reuse(self, generation_id: str, *, flow_run_id: str | None = None, actor: str = "") -> None:
        """Write into an archived row's history that its video was given out again instead of bought again.

        Not when the run that bought it asks: its retry saved nothing.
        """

        def note(tx: Transaction) -> None:
            row = tx.load(generation_id)
            if row.state is State.ARCHIVED and (flow_run_id is None or row.flow_run_id != flow_run_id):
                tx.log(row, REUSED, actor, flow_run_id=flow_run_id)

        self._write(note)

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
        """The generations to tell the world about now: fal has finished them, and nobody living works on them.

        Each call gives a generation once; while it is still not collected it is given again after `again_after`
        seconds, and then after pauses that double up to a day.
        """
        # Most of the time there are none, and nobody has to wait for a writer.
        if not self._database.read(lambda each: due(each, self._database.now(each), again_after)):
            return []
        return self._write(lambda tx: take_announcements(tx, again_after, actor))

    # -- uploads -----------------------------------------------------------------------------------------

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
        values = {
            "account": account,
            "sha256": sha256,
            "url": url,
            "content_type": content_type,
            "size": size,
            "expires_at": None if expires_at is None else seconds(expires_at),
        }
        self._write(lambda tx: reading.save_upload(tx.connection, values | {"saved_at": tx.now}))

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

    def _recorded(
        self, tx: Transaction, generation_id: str, event: Event, owner: Owner | None, actor: str | None
    ) -> Step:
        row = tx.load(generation_id)
        check_lease(tx, row, event, owner)
        who = actor or (owner.label if owner else "")
        return record(tx, row, event, owner=owner, actor=who)

    def _write(self, work: Callable[[Transaction], T], *, bill: str = NOT_RECORDED) -> T:
        """One writing transaction. `work` may be called again with a new one, so it changes nothing else.

        Watchers are told once, after the commit.
        """

        def whole(connection: Connection) -> tuple[T, list[watching.News]]:
            tx = Transaction(connection, self._database.now(connection), self.lease_seconds)
            result = work(tx)
            return result, self._news(tx) if watching.is_watched() else []

        result, news = self._database.write(whole, bill=bill)
        for each in news:
            watching.tell(each)
        return result

    def _news(self, tx: Transaction) -> list[watching.News]:
        # Read before the commit: after it, another owner may have moved the row already.
        rows = {row_id: tx.after.get(row_id) or tx.load(row_id) for row_id, _ in tx.moves}
        statuses = accounting.spending(tx.connection, tx.lowered, tx.now)
        return [
            *(watching.Moved(state, rows[row_id]) for row_id, state in tx.moves),
            *(watching.BudgetLow(self.id, each, each.limit.since(tx.now)) for each in statuses),
        ]


def _opened_to_write(database: Database) -> str:
    return database.write(prepare, bill=NOTHING_SPENT, statement_seconds=_MIGRATION_SECONDS)
