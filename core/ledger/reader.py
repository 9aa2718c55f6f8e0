"""What can be asked of the ledger: rows, histories, strays, sums. Nothing here changes anything."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Connection

from prefect_ltx.ledger import (
    accounting,
    accounts,
    approvals,
    quotes,
    reading,
    restoring,
    spend,
    stops,
    sums,
    usable,
    verdicts,
)
from prefect_ltx.ledger.accounts import Acting, KnownAccount
from prefect_ltx.ledger.approvals import Approval
from prefect_ltx.ledger.database import Database
from prefect_ltx.ledger.life.budget import BudgetLimit, BudgetStatus
from prefect_ltx.ledger.life.evidence import is_due
from prefect_ltx.ledger.life.states import State
from prefect_ltx.ledger.owner import Owner
from prefect_ltx.ledger.quotes import Quote
from prefect_ltx.ledger.reading import StoredUpload
from prefect_ltx.ledger.recording import is_held
from prefect_ltx.ledger.records import DoubleCharge, Drift, Generation, LedgerEvent, Stray, StrayKind, Total
from prefect_ltx.ledger.rows import seconds
from prefect_ltx.ledger.spend import Period, Spend
from prefect_ltx.ledger.stops import Stop
from prefect_ltx.ledger.sums import WrongSum
from prefect_ltx.ledger.usable import Judged, Usable, UsableGrouping
from prefect_ltx.ledger.verdicts import Verdict


class LedgerReader:
    """The reading half of `Ledger`. Each method is one reading transaction and waits for no writer.

    Raises (each method):
        LedgerUnavailable: the database cannot be reached.
    """

    def __init__(self, database: Database, is_dead: Callable[[Owner], bool] = Owner.is_dead) -> None:
        """Read from this database."""
        self._database = database
        self._is_dead = is_dead
        self._acting: Acting | None = None

    @property
    def read_only(self) -> bool:
        """Whether it was opened for reading only."""
        return self._database.read_only

    def get(self, name: str) -> Generation:
        """The row with this id, request id, or unique prefix (4 characters or more) of either.

        Raises:
            GenerationNotFound: none, or several.
        """
        return self._database.read(lambda connection: reading.get(connection, name))

    def find(
        self,
        *,
        key: str | None = None,
        keys: Collection[str] | None = None,
        live: bool | None = None,
        states: Iterable[State] | None = None,
        flow_run_id: str | None = None,
        request_id: str | None = None,
        nonce: str | None = None,
        tag: str | None = None,
        limit: int | None = None,
    ) -> list[Generation]:
        """Rows that meet all conditions, the newest first."""
        wanted = None if states is None else tuple(states)
        return self._database.read(
            lambda connection: reading.find(
                connection,
                key=key,
                keys=keys,
                live=live,
                states=wanted,
                flow_run_id=flow_run_id,
                request_id=request_id,
                nonce=nonce,
                tag=tag,
                limit=limit,
            )
        )

    def unfinished(self) -> list[Generation]:
        """Live rows on which something is left to do, the oldest first."""
        return self._database.read(reading.unfinished)

    def unheld(self, states: Iterable[State]) -> list[Generation]:
        """Rows in these states that no live owner holds, the oldest first."""
        wanted = tuple(states)
        now, rows = self._database.read(
            lambda connection: (
                self._database.now(connection),
                reading.find(connection, states=wanted, oldest_first=True),
            )
        )
        return [row for row in rows if not is_held(row, now, self._is_dead)]

    def due(self, states: Iterable[State] = (State.SUBMITTED, State.LOST)) -> list[Generation]:
        """Rows of this account about which fal is to be asked by id now: unheld, and not asked about in vain lately.

        The oldest first. A lost one is asked about for a week, after growing pauses.
        """
        now = self._database.read(self._database.now)
        return [row for row in self.unheld(states) if self.is_ours(row) and is_due(row, now)]

    # -- accounts and stops ------------------------------------------------------------------------------

    def is_ours(self, row: Generation) -> bool:
        """Whether the row belongs to the account and service in whose name this ledger is used."""
        return self._acting is None or self._acting.owns(row)

    def others(self) -> int:
        """How many unfinished rows belong to other accounts or services; they are left alone."""
        return self._database.read(lambda each: accounts.count_others(each, self._acting))

    def accounts(self, *, service: str | None = None, key_id: str | None = None) -> list[KnownAccount]:
        """Every key that was used and the account it belongs to, the last used first."""
        return self._database.read(lambda each: accounts.known_accounts(each, service=service, key_id=key_id))

    def accounts_of_rows(self, service: str) -> list[str]:
        """The accounts that have rows on this service, or rows that name none; the last used first."""
        return self._database.read(lambda each: accounts.accounts_of_rows(each, service))

    def stops(self, *, resolved: bool | None = False) -> list[Stop]:
        """Bills far beyond their bound, the oldest first: by default those that nobody has looked at yet."""
        return self._database.read(lambda each: stops.find(each, resolved=resolved))

    def approval(self, plan: str, *, at_most_usd: Decimal) -> Approval | None:
        """The approval of the plan of this digest that still holds and covers this amount; None without one."""
        return self._database.read(
            lambda each: approvals.find(each, self._database.now(each), plan, at_most_usd)
        )

    def approvals(self) -> list[Approval]:
        """What people approved, the newest first."""
        return self._database.read(approvals.everything)

    # -- history -----------------------------------------------------------------------------------------

    def events(self, generation_id: str) -> list[LedgerEvent]:
        """The row's history, the oldest first."""
        return self._database.read(lambda connection: reading.events(connection, generation_id))

    def released_attempts(self, key: str) -> int:
        """How many rows of this key were closed without a video."""
        return len(self.find(key=key, live=False))

    def claimed_request_ids(self, endpoint: str | None = None) -> frozenset[str]:
        """Every request id that a row (closed ones too) or a stray has."""
        return self._database.read(lambda connection: reading.claimed_request_ids(connection, endpoint))

    def behind(self, ids: Collection[str]) -> list[str]:
        """Those of these generations, all of which had a video once, of which the ledger does not know that, in
        their order: no row, or one that was never accepted.
        """
        with_video = self._database.read(lambda connection: reading.with_request(connection, ids))
        return [each for each in ids if each not in with_video]

    def knows_any(self, beginnings: Collection[str]) -> bool:
        """Whether a row's id begins with one of these."""
        return self._database.read(lambda connection: reading.knows_any(connection, beginnings))

    def has_joined(self, location: str) -> bool:
        """Whether the rows of the archive at `location` were brought into this ledger (`Ledger.join`)."""
        return self._database.read(lambda connection: restoring.has_joined(connection, location))

    def is_claimed(self, request_id: str) -> bool:
        """Whether a row or a stray has this request."""
        return self._database.read(lambda connection: reading.is_claimed(connection, request_id))

    def strays(
        self, *, key: str | None = None, kind: StrayKind | None = None, adopted: bool | None = None
    ) -> list[Stray]:
        """Requests kept beside the rows: double charges, and requests that ran after their row was closed."""
        return self._database.read(
            lambda connection: reading.strays(connection, key=key, kind=kind, adopted=adopted)
        )

    def double_charges(self) -> list[DoubleCharge]:
        """Rows for which more than one request was made, with the ids of the others."""
        return self._database.read(reading.double_charges)

    # -- money -------------------------------------------------------------------------------------------

    def spending(self, limits: Sequence[BudgetLimit]) -> list[BudgetStatus]:
        """How each limit stands now."""
        return self._database.read(
            lambda connection: accounting.spending(connection, limits, self._database.now(connection))
        )

    def spend(self, period: Period = Period(), limits: Sequence[BudgetLimit] = ()) -> Spend:  # noqa: B008 - frozen
        """What a period cost, in every grouping, with what went wrong in it and what was saved."""
        return self._database.read(
            lambda connection: spend.spend(connection, period, limits, self._database.now(connection))
        )

    def usable(
        self,
        by: UsableGrouping = "all",
        period: Period = Period(),  # noqa: B008 - frozen
        tag: str | None = None,
    ) -> list[Usable]:
        """What usable clips cost: attempts, what became of them and why, and money for those that can be used."""
        return self._database.read(lambda each: usable.usable(each, by, period, tag))

    def judged(self) -> dict[str, Judged]:
        """What became of every attempt, by generation: whether its clip can be used, and why not."""
        return self._database.read(usable.judged_rows)

    def verdicts(self, ids: Collection[str] | None = None) -> dict[str, Verdict]:
        """What counts of what was said of clips, by generation: a person's last word, else the machine's."""
        return self._database.read(lambda each: verdicts.current(each, ids))

    def wrong_sums(self) -> list[WrongSum]:
        """What budgets count and the rows do not add up to; reads all rows. `recount` corrects it."""
        return self._database.read(sums.check)

    def totals(self, by: accounting.Grouping = "day") -> list[Total]:
        """Sums by UTC day of the intent, tag, endpoint or state."""
        return self._database.read(lambda connection: accounting.totals(connection, by))

    def unsettled(self, older_than: float = 0, *, by_billing: bool = False) -> list[Generation]:
        """Rows that fal finished `older_than` seconds ago or more and whose cost is not known.

        With `by_billing` also those that only billable units or a person have priced.
        """
        return self._database.read(
            lambda connection: accounting.unsettled(
                connection, self._database.now(connection) - older_than, by_billing=by_billing
            )
        )

    def drift(self) -> list[Drift]:
        """Settled rows that cost something else than expected, the newest first."""
        return self._database.read(accounting.drift)

    def billed_since(self, since: datetime) -> list[Generation]:
        """Rows intended since then that fal's billing events have settled, the oldest first."""
        return self._database.read(lambda each: accounting.billed_since(each, since.timestamp()))

    def last_quote(self, account: str, endpoint: str) -> Quote | None:
        """What fal last quoted for a megapixel of this endpoint to this account."""
        return self._database.read(lambda each: quotes.last(each, account, endpoint))

    def stored_upload(self, account: str, sha256: str) -> StoredUpload | None:
        """Where these bytes were uploaded and how long ago, unless that has expired."""
        return self._database.read(
            lambda each: reading.stored_upload(each, account, sha256, self._database.now(each))
        )

    def find_upload(
        self, account: str, sha256: str, *, now: float | datetime | None = None, valid_for: float = 0
    ) -> str | None:
        """The URL of an earlier upload of these bytes that stays for `valid_for` seconds, else None."""

        def url(connection: Connection) -> str | None:
            at = self._database.now(connection) if now is None else seconds(now)
            return reading.find_upload(connection, account, sha256, at + valid_for)

        return self._database.read(url)
