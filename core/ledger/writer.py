"""How the ledger writes, and what it writes down beside the generations: machines, accounts, uploads, stops,
approvals, rows made again from an archive."""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Self, TypeVar

from sqlalchemy import Connection

from prefect_ltx.fal import usd_to_nano
from prefect_ltx.ledger import (
    accounting,
    accounts,
    approvals,
    quotes,
    reading,
    restoring,
    seen,
    stops,
    sums,
    verdicts,
    watching,
)
from prefect_ltx.ledger.accounts import Acting, KnownAccount, NamedBy
from prefect_ltx.ledger.approvals import Approval
from prefect_ltx.ledger.database import NOT_RECORDED, Database
from prefect_ltx.ledger.errors import NOTHING_SPENT
from prefect_ltx.ledger.group import Outcome
from prefect_ltx.ledger.life.states import State
from prefect_ltx.ledger.owner import Owner
from prefect_ltx.ledger.reader import LedgerReader
from prefect_ltx.ledger.recording import Transaction
from prefect_ltx.ledger.restoring import ArchivedVideo, Restored
from prefect_ltx.ledger.rows import seconds
from prefect_ltx.ledger.spend import REUSED
from prefect_ltx.ledger.stops import STOP_FACTOR, Stop
from prefect_ltx.ledger.sums import WrongSum
from prefect_ltx.ledger.verdicts import Source, Word

T = TypeVar("T")


class LedgerWriter(LedgerReader):
    """The writing transactions of `Ledger`, and its notes. Each method is one transaction."""

    id: str

    def __init__(
        self, database: Database, lease_seconds: float, is_dead: Callable[[Owner], bool] = Owner.is_dead
    ) -> None:
        """Write into this database."""
        super().__init__(database, is_dead)
        self.lease_seconds = lease_seconds
        self.stop_factor: Decimal = STOP_FACTOR
        """How many times its bound one bill may be before nothing more is bought."""

    def acting_for(self, account: str, service: str = "") -> Self:
        """Use this ledger in the name of an account of a service (`Service.id`) from now on; returns itself.

        What would touch another account's row then raises `AnotherAccount`; reading shows all rows. Before this is
        called every row counts as one's own.
        """
        self._acting = Acting(account, service)
        return self

    def note_machine(self) -> list[seen.Machine]:
        """Write down that this machine uses the ledger, and tell which others use it as well, the last first.

        A machine counts once it was seen both before and after this one; a reboot is not another machine.
        """
        return self._write(lambda tx: seen.note(tx.connection, tx.now), bill=NOTHING_SPENT)

    def note_account(
        self, key_id: str, service: str, account: str, *, name: str | None = None, named_by: NamedBy = "none"
    ) -> KnownAccount:
        """Write down that this key of this service belongs to `account`, or that it was used again."""
        return self._write(
            lambda tx: accounts.note_account(
                tx.connection,
                tx.now,
                key_id=key_id,
                service=service,
                account=account,
                name=name,
                named_by=named_by,
            ),
            bill=NOTHING_SPENT,
        )

    def resolve_stop(self, stop_id: str, by: str) -> Stop:
        """A person has looked at the bill: buying goes on. Resolving twice has no effect.

        Raises:
            GenerationNotFound: there is no such stop.
        """
        return self._write(lambda tx: stops.resolve(tx.connection, tx.now, stop_id, by))

    def approve(
        self,
        plan: str,
        *,
        title: str,
        at_most_usd: Decimal,
        by: str,
        valid_seconds: float = approvals.APPROVAL_SECONDS,
    ) -> Approval:
        """Write down that a person, `by` name, approved the plan of this digest (`plan_digest`) up to an amount."""
        return self._write(
            lambda tx: approvals.approve(
                tx.connection,
                tx.now,
                plan,
                approval_id=tx.runtime.uuid(),
                title=title,
                at_most_usd=at_most_usd,
                by=by,
                valid_seconds=valid_seconds,
            ),
            bill=NOTHING_SPENT,
        )

    def note_verdict(
        self,
        generation_id: str,
        word: Word,
        *,
        source: Source,
        by: str,
        reason: str = "",
        said_at: datetime | None = None,
    ) -> bool:
        """Write down that a clip was chosen or rejected, by a person or by what judges; False where it was before.

        Nothing is sent or spent, and no state or money changes; `by` is who said it, and `said_at` when, if not now.

        Raises:
            GenerationNotFound: there is no such row.
        """
        at = None if said_at is None else said_at.timestamp()
        return self._write(
            lambda tx: verdicts.note(tx, generation_id, word, source=source, by=by, reason=reason, said_at=at)
        )

    def report_bill(self, generation_id: str, usd: Decimal) -> Stop | None:
        """fal has named a price that is not believed as a bill: it settles nothing, and beyond `stop_factor` times the
        bound it stops spending. The stop that it opened, or None.

        Raises:
            GenerationNotFound: there is no such row.
        """

        def report(tx: Transaction) -> Stop | None:
            row = tx.load(generation_id)
            stop = stops.open_where_absurd(
                tx.connection, tx.now, row, usd_to_nano(usd), tx.stop_factor, tx.runtime.uuid()
            )
            if stop is not None:
                tx.stopped.append(stop)
            return stop

        return self._write(report)

    def remember_quote(self, account: str, endpoint: str, usd: Decimal, again_after: float = 0.0) -> None:
        """Keep what fal quotes for a megapixel; the same again is written only `again_after` seconds later."""
        last = self.last_quote(account, endpoint)
        now = self._database.read(self._database.now)
        if last is not None and last.usd == usd and now - last.quoted_at.timestamp() < again_after:
            return
        self._write(
            lambda tx: quotes.remember(tx.connection, tx.now, account, endpoint, usd), bill=NOTHING_SPENT
        )

    def forget_upload(self, account: str, sha256: str, url: str) -> None:
        """These bytes are not at `url` any more; another place that was remembered since stays."""
        self._write(lambda tx: reading.forget_uploads(tx.connection, account, [sha256], url))

    def note_reuse(self, generation_id: str, *, flow_run_id: str | None = None, actor: str = "") -> None:
        """Write into an archived row's history that its video was given out again instead of bought again.

        Not when the run that bought it asks: its retry saved nothing.
        """

        def note(tx: Transaction) -> None:
            row = tx.load_ours(generation_id)
            if row.state is State.ARCHIVED and (flow_run_id is None or row.flow_run_id != flow_run_id):
                tx.log(row, REUSED, actor, flow_run_id=flow_run_id)

        self._write(note, shares=True)

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

    def restore(self, videos: Sequence[ArchivedVideo], *, actor: str) -> list[Restored]:
        """Make the rows of archived videos again, all in one transaction; what became of each, in their order.

        Whoever's they are: a row belongs to the account that its manifest names.

        Raises:
            PlanInvalid, NotRecordable: one of them cannot be written down; none was.
        """
        return self._write(lambda tx: [restoring.restore(tx, each, actor) for each in videos])

    def recount(self) -> list[WrongSum]:
        """Make what budgets count again from the rows; gives what was wrong."""

        def again(tx: Transaction) -> list[WrongSum]:
            wrong = sums.check(tx.connection)
            if wrong:
                sums.recount(tx.connection)
            return wrong

        return self._write(again, bill=NOTHING_SPENT)

    def join(self, location: str) -> None:
        """Write down that what the archive at `location` holds is in this ledger."""
        self._write(lambda tx: restoring.join(tx, location))

    def together(self, calls: Sequence[Callable[[], Any]]) -> list[Outcome]:
        """Make calls of this ledger that write in one transaction; see `Database.together`."""
        return self._database.together(calls)

    def _write(
        self, work: Callable[[Transaction], T], *, bill: str = NOT_RECORDED, shares: bool = False
    ) -> T:
        """One writing transaction. `work` may be called again with a new one, so it changes nothing else.

        With `shares` other writers may overlap it: it locks the keys of what it reads and writes (`locks`).

        Watchers are told once, after the commit.
        """

        def whole(connection: Connection) -> tuple[T, list[watching.News]]:
            now = self._database.now(connection)
            tx = Transaction(
                connection,
                now,
                self.lease_seconds,
                self._acting,
                self.stop_factor,
                runtime=self._database.runtime,
                is_dead=self._is_dead,
            )
            result = work(tx)
            return result, self._news(tx) if watching.is_watched() else []

        result, news = self._database.write(whole, bill=bill, shares=shares)
        for each in news:
            self._database.after_commit(partial(watching.tell, each))
        return result

    def _news(self, tx: Transaction) -> list[watching.News]:
        # Read before the commit: after it, another owner may have moved the row already.
        rows = {row_id: tx.after.get(row_id) or tx.load(row_id) for row_id, _ in tx.moves}
        statuses = accounting.spending(tx.connection, tx.lowered, tx.now)
        return [
            *(watching.Moved(state, rows[row_id]) for row_id, state in tx.moves),
            *(watching.BudgetLow(self.id, each, each.limit.since(tx.now)) for each in statuses),
            *(watching.SpendingStop(self.id, stop, tx.load(stop.generation_id)) for stop in tx.stopped),
        ]
