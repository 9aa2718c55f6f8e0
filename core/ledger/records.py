"""The ledger's rows as values: a plan goes in, a generation comes out, and a claim says what may be done now.

Fields that may hold signed URLs, prompts or capabilities stay out of every repr.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from prefect_ltx.fal import Billed, FalRequestInvalid, nano_to_usd, usd_to_nano
from prefect_ltx.ledger.errors import PlanInvalid
from prefect_ltx.ledger.life.budget import is_estimate
from prefect_ltx.ledger.life.events import SettlementSource
from prefect_ltx.ledger.life.states import LIVE, Cancel, Effect, Snapshot, State

ClaimOutcome = Literal["submit", "resume", "busy", "done", "parked", "lost", "closed", "refused"]
StrayKind = Literal["double_charge", "ran_after_all"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is written down before a POST.

    Args:
        key: `generation_key` of the request with its seed.
        seedless_key: `generation_key` of the request without a seed.
        body: the wire body exactly as it will be sent.
        seed_drawn: whether the seed was drawn by this package, so that nobody else's request has it.
        price_expected_usd: what it should cost.
        price_upper_usd: what it may cost at most; this is reserved.
        asked: size, frames and so on, for later comparison with what was delivered.
        price_is_guess: whether nobody who could know has said the price; under a budget such a plan is refused.
        older_keys: the other keys under which an earlier release may know the same video (`generation_keys`).
        keys_elsewhere: keys of the same request in other accounts; a video under one of them is asked about first.

    Raises:
        PlanInvalid: an amount is not a finite Decimal of zero or more, or a text is empty.
    """

    key: str
    seedless_key: str
    endpoint: str
    account: str
    body: Mapping[str, Any] = field(repr=False)
    seed: int
    seed_drawn: bool
    price_expected_usd: Decimal
    price_upper_usd: Decimal
    flow_run_id: str | None = None
    tags: tuple[str, ...] = ()
    asked: Mapping[str, Any] = field(default_factory=dict, repr=False)
    older_keys: tuple[str, ...] = field(default=(), repr=False)
    price_is_guess: bool = False
    keys_elsewhere: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Refuse what could not be accounted for."""
        for name in ("key", "seedless_key", "endpoint", "account"):
            if not getattr(self, name):
                raise PlanInvalid(f"A plan needs its {name}")
        for name in ("price_expected_usd", "price_upper_usd"):
            try:
                nano = usd_to_nano(getattr(self, name))
            except FalRequestInvalid as error:
                raise PlanInvalid(f"{name}: {error.what}") from error
            if not 0 <= nano < 2**62:
                raise PlanInvalid(f"{name} is {getattr(self, name)}, which is no price")
        if isinstance(self.seed, bool) or not -(2**63) <= self.seed < 2**63:
            raise PlanInvalid("The seed does not fit into 64 bits")
        object.__setattr__(self, "tags", tuple(dict.fromkeys(self.tags)))


@dataclass(frozen=True, slots=True)
class Generation:
    """One row of the ledger. Times are aware datetimes in UTC; amounts are exact."""

    id: str
    key: str
    seedless_key: str
    endpoint: str
    account: str
    body: Mapping[str, Any] = field(repr=False)
    seed: int
    seed_drawn: bool
    flow_run_id: str | None
    tags: tuple[str, ...]
    asked: Mapping[str, Any] = field(repr=False)
    nonce: str = field(repr=False)
    """Goes into the webhook URL; whoever knows it can name this row's request."""

    state: State
    attempt: int
    post_may_have_left: bool
    request_id: str | None
    cancel: Cancel
    cancel_by: str | None
    reason: str | None
    """Why it last failed, was parked, or got lost."""

    price_expected_nano: int
    price_upper_nano: int
    held_nano: int
    """What budgets count: the upper bound while open, the cost once known."""
    settled_nano: int | None
    settled_by: SettlementSource | None
    billed: Billed | None
    units: Decimal | None

    owner: str | None = field(repr=False)
    lease_until: datetime | None

    created_at: datetime
    posted_at: datetime
    """When this attempt's POST was last permitted or begun; the POST left at this time or later."""
    unknown_at: datetime | None
    """When the owner was lost or the reply missing; the POST left before this time, or never."""
    submitted_at: datetime | None
    completed_at: datetime | None
    collected_at: datetime | None
    closed_at: datetime | None
    """When it was archived, or closed without a video."""
    updated_at: datetime

    video_url: str | None = field(repr=False)
    delivered_seed: int | None
    prompt_expanded: str | None = field(repr=False)
    file_size: int | None
    video_seen: bool

    sha256: str | None
    size: int | None
    path: str | None = field(repr=False)
    facts: Mapping[str, Any] = field(repr=False)

    location: str | None
    folder: str | None
    manifest_sha256: str | None

    service: str = ""
    """Which service it was sent to ("fal.ai", "embedded:…", "custom:…"); empty where nobody wrote it down."""
    fal_since: float | None = None
    """The earliest that its first POST can have begun, Unix seconds by fal's clock; None: not known."""
    first_look_at: float | None = None
    """The latest that this attempt's first look for the request can have been asked, by fal's clock."""
    gone_at: float | None = None
    """When fal first said that it is gone, by fal's clock, with nothing to the contrary since."""
    looks: int = 0
    """How often fal was asked in vain since it last said something."""
    look_again_at: datetime | None = None
    """When to ask next, after such a question; None: at any time."""
    oddities: tuple[str, ...] = field(default=(), repr=False)
    """What was odd about fal's answers, in words."""
    refused_for_good: bool = False
    """Whether fal refuses this very request, so that sending it again would be paid in vain."""

    @property
    def snapshot(self) -> Snapshot:
        """What the machine reads of this row."""
        return Snapshot(
            state=self.state,
            attempt=self.attempt,
            request_id=self.request_id,
            post_may_have_left=self.post_may_have_left,
            cancel=self.cancel,
            billed=self.billed,
            sha256=self.sha256,
            video_seen=self.video_seen,
            settled_by=self.settled_by,
            settled_usd=self.settled_usd,
            gone_at=self.gone_at,
        )

    @property
    def is_live(self) -> bool:
        """Whether its key must not be paid for again."""
        return self.state in LIVE

    @property
    def cancel_requested(self) -> bool:
        """Whether a person asked to cancel it."""
        return self.cancel != "none"

    @property
    def cancel_was_too_late(self) -> bool:
        """Whether fal had finished it before the cancel arrived; it is paid for."""
        return self.cancel == "too_late"

    @property
    def price_expected_usd(self) -> Decimal:
        """What it should cost."""
        return nano_to_usd(self.price_expected_nano)

    @property
    def price_upper_usd(self) -> Decimal:
        """What it may cost at most."""
        return nano_to_usd(self.price_upper_nano)

    @property
    def held_usd(self) -> Decimal:
        """What budgets count for it."""
        return nano_to_usd(self.held_nano)

    @property
    def held_is_estimate(self) -> bool:
        """Whether what is held is the expected price, for want of a known one."""
        return is_estimate(self.state, settled=self.settled_nano)

    @property
    def settled_usd(self) -> Decimal | None:
        """What it cost, where that is known."""
        return None if self.settled_nano is None else nano_to_usd(self.settled_nano)


@dataclass(frozen=True, slots=True)
class Claim:
    """What the caller may do now.

    `outcome`: submit (POST now, once) · resume (the row is yours; `effects` say what is next) · busy (a
    living owner has it) · done (archived: a hit) · parked and lost (a person decides) · closed (ended
    without a video; only from `take`) · refused (fal has refused it in this very flow run, and would again).
    """

    outcome: ClaimOutcome
    generation: Generation
    effects: tuple[Effect, ...] = ()


@dataclass(frozen=True, slots=True)
class LedgerEvent:
    """One line of a row's history. Holds no secret, URL or prompt."""

    id: int
    generation_id: str
    at: datetime
    actor: str
    event: str
    detail: Mapping[str, Any]
    outcome: str
    from_state: State
    to_state: State
    attempt: int
    effects: tuple[Effect, ...]
    because: str


@dataclass(frozen=True, slots=True)
class Stray:
    """A request that belongs to a key and to none of its live rows: a second run, or one that ran after all.

    `adopted_by` is the row that took it over instead of paying again.
    """

    request_id: str
    key: str
    endpoint: str
    generation_id: str
    kind: StrayKind
    noticed_at: datetime
    adopted_by: str | None


@dataclass(frozen=True, slots=True)
class DoubleCharge:
    """A row for which more than one request was made.

    `id` is the row's, `request_id` the one that it goes on with.
    """

    id: str
    key: str
    endpoint: str
    request_id: str | None
    extra_request_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Total:
    """Sums over a group of rows. `name` is the day, tag, endpoint or state."""

    name: str
    count: int
    expected_usd: Decimal
    held_usd: Decimal
    settled_usd: Decimal


@dataclass(frozen=True, slots=True)
class Drift:
    """A settled row whose cost differs from what was expected. `difference_usd` is settled minus expected."""

    generation: Generation
    expected_usd: Decimal
    settled_usd: Decimal

    @property
    def difference_usd(self) -> Decimal:
        """Positive where it cost more."""
        return self.settled_usd - self.expected_usd
