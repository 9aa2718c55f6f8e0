"""Reservations, settlement, budgets and sums, on both databases."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_parts import VIDEO, Clock, a_plan, an_owner, archived, completed, lost, submitted

from prefect_ltx.ledger import (
    BudgetExceeded,
    BudgetLimit,
    CancelAnswered,
    Collected,
    Ledger,
    NotSent,
    RemoteCancelled,
    RemoteCompleted,
    RemoteFailed,
    ReplyLost,
    Resolved,
    Settled,
    State,
    Undecidable,
)
from prefect_ltx.ledger.life.budget import dollars, held_nano

ME = an_owner("me")
UPPER, EXPECTED, FREE = Decimal("0.30"), Decimal("0.25"), Decimal(0)
COST = Decimal("0.2407500001")


def test_the_upper_bound_is_held_until_the_cost_is_known(ledger: Ledger) -> None:
    """From the intent to the video the most that it may cost is reserved."""
    row = completed(ledger, a_plan(), ME)
    assert (row.held_usd, row.settled_usd) == (UPPER, None)

    ledger.record(row.id, Settled(Decimal(100), COST, "billing_events"))

    # Rounded up to the nano-dollar, so that a sum is never too low.
    settled = ledger.get(row.id)
    assert (settled.held_usd, settled.settled_usd) == (Decimal("0.240750001"), Decimal("0.240750001"))
    assert (settled.units, settled.settled_by) == (Decimal(100), "billing_events")


def test_a_result_with_its_price_settles_in_the_same_step(ledger: Ledger) -> None:
    """No crash can come between the video and its cost."""
    row = completed(ledger, a_plan(), ME, units=Decimal(100), usd=Decimal("0.24075"))

    assert (row.settled_usd, row.settled_by, row.billed) == (Decimal("0.24075"), "billable_units", "yes")
    assert ledger.unsettled() == []


def test_an_archived_row_without_a_cost_holds_an_estimate(ledger: Ledger) -> None:
    """The expected price stands in, and says that it does, until billing events come."""
    row = archived(ledger, a_plan(), ME)
    assert (row.held_usd, row.held_is_estimate) == (EXPECTED, True)

    ledger.record(row.id, Settled(None, Decimal("0.31"), "billing_events"))

    settled = ledger.get(row.id)
    assert (settled.held_usd, settled.held_is_estimate, settled.state) == (
        Decimal("0.31"),
        False,
        State.ARCHIVED,
    )


def test_billing_events_outrank_people_who_outrank_units(ledger: Ledger) -> None:
    """A weaker source never overwrites a stronger one; the same source may correct itself."""
    row = archived(ledger, a_plan(), ME, units=Decimal(100), usd=Decimal("0.24"))
    for usd, source, expected in (
        ("0.23", "person", "0.23"),
        ("0.99", "billable_units", "0.23"),
        ("0.22", "billing_events", "0.22"),
        ("0.99", "person", "0.22"),
        ("0.21", "billing_events", "0.21"),
    ):
        ledger.record(row.id, Settled(None, Decimal(usd), source))  # type: ignore[arg-type]
        assert ledger.get(row.id).settled_usd == Decimal(expected)


@pytest.mark.parametrize(
    ("end", "state", "held"),
    [
        (RemoteFailed("500", "no"), State.FAILED, FREE),
        (RemoteFailed("422", "maybe"), State.FAILED, UPPER),
        (RemoteCancelled("no"), State.CANCELLED, FREE),
        (RemoteCancelled("maybe"), State.CANCELLED, UPPER),
        (CancelAnswered("cancelled"), State.CANCELLED, FREE),
        (Resolved("write_off", by="me"), State.WRITTEN_OFF, EXPECTED),
    ],
)
def test_what_an_end_holds(ledger: Ledger, end: object, state: State, held: Decimal) -> None:
    """Nothing where nothing is owed, the upper bound where something may be, until it is settled."""
    row = submitted(ledger, a_plan(), ME)

    ledger.record(row.id, end)  # type: ignore[arg-type]

    ended = ledger.get(row.id)
    assert (ended.state, ended.held_usd) == (state, held)
    assert [open_one.id for open_one in ledger.unsettled()] == ([row.id] if held else [])
    ledger.record(row.id, Settled(None, FREE, "billing_events"))
    assert ledger.get(row.id).held_usd == FREE


def test_a_released_intent_holds_nothing(ledger: Ledger) -> None:
    """A definite refusal gives the whole reservation back."""
    row = ledger.claim(a_plan(), ME, [BudgetLimit(UPPER)]).generation
    ledger.record(row.id, NotSent("no route", attempt=1), owner=ME)

    assert ledger.get(row.id).held_usd == FREE
    assert ledger.claim(a_plan(), ME, [BudgetLimit(UPPER)]).outcome == "submit"


def test_a_lost_video_that_turns_up_is_collected(ledger: Ledger) -> None:
    """LOST is not the end: a late webhook, or fal's stored payload, brings the paid video back."""
    row = completed(ledger, a_plan(), ME)
    assert lost(ledger, row).state is State.LOST

    ledger.record(row.id, RemoteCompleted(VIDEO))

    assert ledger.get(row.id).state is State.COMPLETED


def test_an_exhausted_budget_writes_no_row(ledger: Ledger) -> None:
    """The refusal names the limit and the missing amount, and nothing is left behind."""
    limit = BudgetLimit(Decimal("0.55"), "day", name="team")
    ledger.claim(a_plan("key-1"), ME, [limit])

    with pytest.raises(BudgetExceeded) as refused:
        ledger.claim(a_plan("key-2"), ME, [limit])

    error = refused.value
    assert (error.missing_usd, error.held_usd, error.needed_usd) == (Decimal("0.05"), UPPER, UPPER)
    assert "'team' of $0.55 a UTC day" in str(error)
    assert "$0.05 is missing. Nothing was sent or spent." in str(error)
    assert ledger.find(key="key-2") == []


def test_a_limit_is_reached_exactly(ledger: Ledger) -> None:
    """What fits to the last nano-dollar is allowed; one more is not."""
    limit = BudgetLimit(Decimal("0.60"))
    ledger.claim(a_plan("key-1"), ME, [limit])
    ledger.claim(a_plan("key-2"), ME, [limit])
    with pytest.raises(BudgetExceeded):
        ledger.claim(a_plan("key-3", upper="0.000000001", expected="0"), ME, [limit])
    assert ledger.claim(a_plan("key-4", upper="0", expected="0"), ME, [limit]).outcome == "submit"


def test_a_hit_or_a_resumed_row_needs_no_budget(ledger: Ledger, clock: Clock) -> None:
    """What is paid for already is not paid for again, so no limit stands in its way."""
    nothing = [BudgetLimit(FREE)]
    archived(ledger, a_plan("key-1"), ME, "request-1")
    submitted(ledger, a_plan("key-2"), ME, "request-2")
    clock.sleep(61)

    assert ledger.claim(a_plan("key-1"), ME, nothing).outcome == "done"
    assert ledger.claim(a_plan("key-2"), ME, nothing).outcome == "resume"


def test_a_budget_for_a_tag_counts_and_binds_only_that_tag(ledger: Ledger) -> None:
    """Other work neither uses it nor is stopped by it."""
    film = BudgetLimit(Decimal("0.50"), "month", tag="film")
    ledger.claim(a_plan("key-1", tags=("other",)), ME, [film])
    ledger.claim(a_plan("key-2", tags=("film", "other")), ME, [film])

    assert ledger.spending([film])[0].held_usd == UPPER
    with pytest.raises(BudgetExceeded, match="for tag 'film'"):
        ledger.claim(a_plan("key-3", tags=("film",)), ME, [film])
    assert ledger.claim(a_plan("key-4"), ME, [film]).outcome == "submit"


@pytest.mark.parametrize(
    ("period", "later"),
    [("day", "2026-12-01T00:00:00+00:00"), ("month", "2026-12-01T00:00:00+00:00")],
)
def test_a_period_starts_anew_at_midnight_utc(ledger: Ledger, clock: Clock, period: str, later: str) -> None:
    """The intent's day or month counts, whenever it is settled."""
    clock.now = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC).timestamp()
    limit, total = BudgetLimit(UPPER, period), BudgetLimit(UPPER, "total")  # type: ignore[arg-type]
    old = submitted(ledger, a_plan("key-1"), ME)
    with pytest.raises(BudgetExceeded):
        ledger.claim(a_plan("key-2"), ME, [limit])

    clock.now = datetime.fromisoformat(later).timestamp()

    ledger.record(old.id, Settled(None, EXPECTED, "billing_events"))
    assert ledger.spending([limit])[0].settled_usd == FREE
    assert ledger.claim(a_plan("key-2"), ME, [limit]).outcome == "submit"
    with pytest.raises(BudgetExceeded, match="Raise the limit.$"):
        ledger.claim(a_plan("key-3"), ME, [total])


def test_spending_tells_reserved_from_settled(ledger: Ledger) -> None:
    """Reserved, spent and left add up to the limit."""
    limit = BudgetLimit(Decimal("1.00"))
    archived(ledger, a_plan("key-1"), ME, "request-1", units=Decimal(100), usd=Decimal("0.24075"))
    submitted(ledger, a_plan("key-2"), ME, "request-2")

    status = ledger.spending([limit])[0]

    assert (status.held_usd, status.settled_usd) == (UPPER, Decimal("0.24075"))
    assert status.left_usd == Decimal("0.45925")
    assert ledger.spending([BudgetLimit(FREE)])[0].left_usd == FREE


def test_totals_by_day_tag_endpoint_and_state(ledger: Ledger, clock: Clock) -> None:
    """Sums over all rows; a row counts under each of its tags."""
    clock.now = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
    archived(
        ledger, a_plan("key-1", tags=("film", "a")), ME, "request-1", usd=Decimal("0.2"), units=Decimal(1)
    )
    clock.sleep(86400)
    submitted(ledger, a_plan("key-2", tags=("film",), endpoint="other"), ME, "request-2")

    by_day = ledger.totals("day")
    assert [(total.name, total.count, total.held_usd) for total in by_day] == [
        ("2026-11-30", 1, Decimal("0.2")),
        ("2026-12-01", 1, UPPER),
    ]
    assert [(total.name, total.count, total.settled_usd) for total in ledger.totals("tag")] == [
        ("a", 1, Decimal("0.2")),
        ("film", 2, Decimal("0.2")),
    ]
    assert {total.name for total in ledger.totals("state")} == {"ARCHIVED", "SUBMITTED"}
    assert [total.expected_usd for total in ledger.totals("endpoint")] == [EXPECTED, EXPECTED]


def test_drift_is_what_settled_rows_cost_beside_the_expected(ledger: Ledger) -> None:
    """Rows that cost what was expected are not reported."""
    archived(ledger, a_plan("key-1"), ME, "request-1", usd=EXPECTED, units=Decimal(1))
    dear = archived(ledger, a_plan("key-2"), ME, "request-2", usd=Decimal("0.28"), units=Decimal(1))
    archived(ledger, a_plan("key-3"), ME, "request-3")

    assert [(drift.generation.id, drift.difference_usd) for drift in ledger.drift()] == [
        (dear.id, Decimal("0.03"))
    ]


def test_unsettled_rows_by_age_and_by_source(ledger: Ledger, clock: Clock) -> None:
    """A sweep asks for what nobody priced, or for all that only billing events can confirm."""
    unknown = completed(ledger, a_plan("key-1"), ME, "request-1")
    by_units = archived(ledger, a_plan("key-2"), ME, "request-2", usd=EXPECTED, units=Decimal(1))
    submitted(ledger, a_plan("key-3"), ME, "request-3")

    assert ledger.unsettled(older_than=10) == []
    clock.sleep(11)
    assert [row.id for row in ledger.unsettled(older_than=10)] == [unknown.id]
    assert {row.id for row in ledger.unsettled(by_billing=True)} == {unknown.id, by_units.id}


def test_a_person_settles_a_written_off_park(ledger: Ledger) -> None:
    """A parked row that is given up counts its expected price until somebody knows better."""
    row = ledger.claim(a_plan(), ME).generation
    ledger.begin_post(row.id, ME)
    ledger.record(row.id, ReplyLost(attempt=1), owner=ME)
    ledger.record(row.id, Undecidable("absence unproven", attempt=1), owner=ME)
    ledger.record(row.id, Resolved("write_off", by="me"))
    assert ledger.get(row.id).held_usd == EXPECTED

    ledger.record(row.id, Settled(None, FREE, "person"))

    assert (ledger.get(row.id).held_usd, ledger.get(row.id).settled_usd) == (FREE, FREE)


def test_the_bytes_recorded_first_stay(ledger: Ledger) -> None:
    """The same bytes may be fetched again to another place; other bytes change nothing."""
    row = completed(ledger, a_plan(), ME)
    ledger.record(row.id, Collected("a" * 64, 10, "/one", {"frames": 1}))
    ledger.record(row.id, Collected("b" * 64, 11, "/two"))
    assert (ledger.get(row.id).sha256, ledger.get(row.id).path) == ("a" * 64, "/one")

    ledger.record(row.id, Collected("a" * 64, 10, "/three"))
    assert (ledger.get(row.id).path, ledger.get(row.id).size) == ("/three", 10)


def test_amounts_are_shown_exactly() -> None:
    """Cents at least, and every digit that matters."""
    amounts = ["0", "0E-9", "1E+2", "0.26964", "0.2696400", "10.5"]
    assert [dollars(Decimal(amount)) for amount in amounts] == [
        "$0.00",
        "$0.00",
        "$100.00",
        "$0.26964",
        "$0.26964",
        "$10.50",
    ]


@pytest.mark.parametrize(
    ("usd", "period"), [("-1", "day"), ("NaN", "day"), ("Infinity", "day"), ("1", "week")]
)
def test_a_limit_that_cannot_hold_is_refused(usd: str, period: str) -> None:
    """A budget is a finite amount for a known period."""
    with pytest.raises(ValueError, match="budget"):
        BudgetLimit(Decimal(usd), period)  # type: ignore[arg-type]


@given(
    state=st.sampled_from(State),
    billed=st.sampled_from([None, "no", "maybe", "yes"]),
    expected=st.integers(0, 10**12),
    more=st.integers(0, 10**12),
    settled=st.none() | st.integers(0, 10**12),
)
def test_what_is_held_is_the_cost_or_nothing_too_low(
    state: State, billed: str | None, expected: int, more: int, settled: int | None
) -> None:
    """A known cost is held exactly; an open row holds its upper bound; nothing is held twice."""
    held = held_nano(state, billed=billed, expected=expected, upper=expected + more, settled=settled)  # type: ignore[arg-type]
    if settled is not None:
        assert held == settled
    else:
        assert held in (0, expected, expected + more)
        if state in (
            State.INTENDED,
            State.UNKNOWN,
            State.PARKED,
            State.SUBMITTED,
            State.COMPLETED,
            State.LOST,
        ):
            assert held == expected + more
