"""A model of fal, of workers that crash and lag, and of people, around a real ledger: for stateful tests.

Time is one number that the test moves. A worker is any process: it claims, posts, looks, polls and collects one
small act at a time, and may vanish or fall asleep between any two.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from ledger_parts import ENDPOINT, Clock, a_plan, an_owner

from prefect_ltx.fal import CancelOutcome, Heard, Moment
from prefect_ltx.ledger import (
    Accepted,
    Archived,
    CancelAnswered,
    CancelRequested,
    Collected,
    Event,
    Generation,
    GoneSaid,
    LeaseLost,
    Ledger,
    NotSent,
    Owner,
    PostNotPermitted,
    ProvablyAbsent,
    Rejected,
    RemoteCancelled,
    RemoteCompleted,
    RemoteFailed,
    ReplyLost,
    Resolved,
    State,
    WebhookReceived,
)
from prefect_ltx.ledger.life.evidence import Trust, Wait, about, verdict

LAG = 600.0
LEASE = 120.0
Wire = Literal["accepted", "accepted, reply lost", "lost before fal", "rejected", "no connection"]


@dataclass
class Request:
    """One request at fal, and the entry of fal's listing."""

    request_id: str
    body: dict[str, Any]
    nonce: str
    submitted_at: float
    listed_at: float
    state: Literal["queued", "running", "done", "failed", "cancelled"] = "queued"
    gone: bool = False
    endpoint_id: str = ENDPOINT

    @property
    def costs(self) -> bool:
        """Whether it is charged, or may still be."""
        return self.state in ("queued", "running", "done")

    @property
    def sent_at(self) -> datetime:
        return datetime.fromtimestamp(self.submitted_at, UTC)

    started_at = sent_at

    @property
    def json_input(self) -> dict[str, Any]:
        return {**self.body, "a_default_of_fal": 1}


@dataclass
class Seen:
    """fal's listing at one moment, all of it."""

    items: list[Request]
    heard: Heard
    complete: bool = True
    unreadable: tuple[str, ...] = ()


@dataclass
class Worker:
    """One run of a generation in some process."""

    owner: Owner
    row_id: str
    may_post: bool = False
    send_before: float | None = None
    reply: Event | None = None


@dataclass
class World:
    """Everything around one key."""

    ledger: Ledger
    clock: Clock
    seed_drawn: bool
    absence_is_proof: bool
    requests: list[Request] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    given_up: set[str] = field(default_factory=set)
    count: int = 0

    # -- fal ---------------------------------------------------------------------------------------------

    def accept(self, row: Generation, listing_delay: float) -> Request:
        """fal takes the request; its id carries its time."""
        self.count += 1
        bits = (int(self.clock.now * 1000) << 80) | (7 << 76) | (0b10 << 62) | self.count
        request = Request(
            str(UUID(int=bits)), dict(row.body), row.nonce, self.clock.now, self.clock.now + listing_delay
        )
        self.requests.append(request)
        return request

    def ask_to_cancel(self, request: Request) -> CancelOutcome:
        """fal's answer to a cancel."""
        match request.state:
            case "queued":
                request.state = "cancelled"
                return "cancelled"
            case "running":
                return "requested"
            case _:
                return "already_completed"

    def listing(self) -> list[Request]:
        """What fal's listing shows by now."""
        return [request for request in self.requests if request.listed_at <= self.clock.now]

    def by_id(self, request_id: str | None) -> Request:
        """The request with this id."""
        return next(request for request in self.requests if request.request_id == request_id)

    def charges(self) -> list[Request]:
        """Requests that are charged or may still be, without those that a person has given up."""
        return [
            request for request in self.requests if request.costs and request.request_id not in self.given_up
        ]

    # -- workers -----------------------------------------------------------------------------------------

    def start(self) -> str:
        """A new run of the same generation; returns what the ledger told it."""
        self.count += 1
        owner = an_owner(f"worker-{self.count}")
        claim = self.ledger.claim(a_plan(seed_drawn=self.seed_drawn), owner)
        if claim.outcome in ("submit", "resume"):
            self.workers.append(Worker(owner, claim.generation.id, may_post=claim.outcome == "submit"))
        return claim.outcome

    def act(self, worker: Worker, wire: Wire, listing_delay: float) -> None:
        """The worker's next small act. One that has lost its row stops."""
        try:
            going_on = self._act(worker, wire, listing_delay)
        except (LeaseLost, PostNotPermitted):
            going_on = False
        if not going_on:
            self.workers.remove(worker)

    def _act(self, worker: Worker, wire: Wire, listing_delay: float) -> bool:
        row = self.ledger.get(worker.row_id)
        if worker.reply is not None:
            event, worker.reply = worker.reply, None
            self.ledger.record(row.id, event, owner=worker.owner)
            return True
        if worker.send_before is not None:
            return self._send(worker, row, wire, listing_delay)
        if worker.may_post:
            worker.may_post = False
            begun = self.ledger.begin_post(row.id, worker.owner, since=self.clock.now)
            assert begun.lease_until is not None
            worker.send_before = begun.lease_until.timestamp()
            return True
        return self._work(worker, row)

    def _send(self, worker: Worker, row: Generation, wire: Wire, listing_delay: float) -> bool:
        send_before, worker.send_before = worker.send_before, None
        assert send_before is not None
        if self.clock.now >= send_before:
            # The rule that makes leases sound: whoever slept through its lease does not send any more.
            worker.reply = NotSent("slept too long", attempt=1)
            return True
        match wire:
            case "accepted":
                worker.reply = Accepted(self.accept(row, listing_delay).request_id)
            case "accepted, reply lost":
                self.accept(row, listing_delay)
                worker.reply = ReplyLost("reset", attempt=1)
            case "lost before fal":
                worker.reply = ReplyLost("reset", attempt=1)
            case "rejected":
                worker.reply = Rejected("401", attempt=1)
            case "no connection":
                worker.reply = NotSent("refused", attempt=1)
        return True

    def _work(self, worker: Worker, row: Generation) -> bool:
        record = self.ledger.record
        match row.state:
            case State.UNKNOWN:
                return self._reconcile(worker, row)
            case State.SUBMITTED if row.cancel == "wanted":
                outcome = self.ask_to_cancel(self.by_id(row.request_id))
                record(row.id, CancelAnswered(outcome))
            case State.SUBMITTED:
                if (event := self._answer(row)) is not None:
                    record(row.id, event)
            case State.COMPLETED:
                gone = self.by_id(row.request_id).gone
                said = GoneSaid(self.clock.now, "404")
                record(row.id, said if gone else Collected(f"{row.attempt:064x}", 10))
            case State.COLLECTED:
                record(row.id, Archived("file:///archive", row.id, "f" * 64))
            case _:
                return False
        return True

    def _reconcile(self, worker: Worker, row: Generation) -> bool:
        moment = Moment(self.clock.now, self.clock.now)
        seen = Seen(self.listing(), Heard("fal", moment))
        trust = Trust(LAG, lists_unfinished=True, absence_is_proof=self.absence_is_proof)
        found = verdict(
            row,
            about(row, account=row.account, service="fal.ai"),
            seen,
            trust,
            claimed=self.ledger.claimed_request_ids(ENDPOINT),
        )
        if not isinstance(found, Wait):
            step = self.ledger.record(row.id, found, owner=worker.owner)
            worker.may_post = isinstance(found, ProvablyAbsent) and step.state is State.INTENDED
        return True

    def _answer(self, row: Generation) -> Event | None:
        request = self.by_id(row.request_id)
        match request.state:
            case "done":
                return GoneSaid(self.clock.now, "404") if request.gone else self.completed(request)
            case "failed":
                return RemoteFailed("500", "no")
            case "cancelled":
                return RemoteCancelled("no")
            case _:
                return None

    def completed(self, request: Request) -> RemoteCompleted:
        """The video, as a result or a webhook's payload."""
        return RemoteCompleted(
            "https://cdn/v", units=Decimal(1), usd=Decimal("0.25"), request_id=request.request_id
        )

    # -- webhooks and people -----------------------------------------------------------------------------

    def webhook(self, request: Request, *, with_payload: bool) -> None:
        """fal calls, perhaps for the third time, perhaps late."""
        (row,) = self.ledger.find(nonce=request.nonce)
        done = request.state == "done"
        self.ledger.record(row.id, WebhookReceived(request.request_id, ok=done), actor="webhook")
        if done and with_payload:
            self.ledger.record(row.id, self.completed(request), actor="webhook")

    def cancel(self) -> None:
        """Somebody cancels whatever is under way."""
        for row in self.ledger.unfinished():
            self.ledger.record(row.id, CancelRequested("somebody"))

    def decide(self) -> None:
        """A person who knows fal's dashboard resolves what is parked or lost, and never lies."""
        for row in self.ledger.find(states=[State.PARKED, State.LOST]):
            mine = [request for request in self.requests if request.nonce == row.nonce and request.costs]
            if row.state is State.LOST:
                self.given_up |= {str(row.request_id)}
                self.ledger.record(row.id, Resolved("write_off", by="ada"))
            elif mine:
                self.ledger.record(row.id, Resolved("adopt", mine[0].request_id, by="ada"))
            else:
                self.ledger.record(row.id, Resolved("absent", by="ada"))

    # -- to the end --------------------------------------------------------------------------------------

    def finish(self) -> str:
        """Run honestly until the key is archived; returns the last outcome. Nothing is lost on the way now."""
        outcome = ""
        for _ in range(12):
            self.clock.sleep(LEASE + 1)
            for _ in range(30):
                self._everything_runs_to_its_end()
                if not self.workers:
                    break
                row = self.ledger.get(self.workers[0].row_id)
                self.act(self.workers[0], "accepted", 0.0)
                pause = 2 * LAG if row.state is State.UNKNOWN else 200 if row.gone_at is not None else 1
                self.clock.sleep(pause)
            self.decide()
            outcome = self.start()
            if outcome == "done":
                break
        return outcome

    def _everything_runs_to_its_end(self) -> None:
        for request in self.requests:
            if request.state in ("queued", "running"):
                request.state = "done"
