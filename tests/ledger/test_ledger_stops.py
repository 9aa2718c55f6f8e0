"""The stop rule: a bill far beyond its bound stops all buying until a person has looked at it."""

from decimal import Decimal

import pytest
from ledger_parts import Clock, a_plan, an_owner, archived, completed, submitted

from prefect_ltx.ledger import (
    Accepted,
    GenerationNotFound,
    Ledger,
    NotSent,
    RemoteCompleted,
    Settled,
    SpendingStop,
    SpendingStopped,
    State,
    unwatch,
    watch,
)

ME = an_owner("me")


def billed(usd: str, source: str = "billing_events") -> Settled:
    return Settled(None, Decimal(usd), source)  # type: ignore[arg-type]


def test_an_absurd_bill_stops_new_rows_and_posts(ledger: Ledger) -> None:
    """The bill itself is written down; what is bought already goes on, and nothing new is."""
    waiting = ledger.claim(a_plan("waiting"), ME).generation
    row = archived(ledger, a_plan(upper="0.30"), ME)
    ledger.record(row.id, billed("40500"))
    assert ledger.get(row.id).settled_usd == 40500
    with pytest.raises(
        SpendingStopped, match=r"\$40500.00 for generation .*at most \$0.30.*Nothing was sent or spent"
    ):
        ledger.claim(a_plan("new"), ME)
    with pytest.raises(SpendingStopped):
        ledger.begin_post(waiting.id, ME)
    assert ledger.get(waiting.id).state is State.INTENDED
    assert ledger.claim(a_plan(), ME).outcome == "done"
    (stop,) = ledger.stops()
    assert (stop.generation_id, stop.billed_usd, stop.upper_usd) == (row.id, 40500, Decimal("0.30"))


def test_a_person_who_has_looked_lets_buying_go_on(ledger: Ledger) -> None:
    """The same bill, told again by the next sweep, opens no second stop; a higher one does."""
    row = archived(ledger, a_plan(), ME)
    ledger.record(row.id, billed("5"))
    (stop,) = ledger.stops()
    resolved = ledger.resolve_stop(stop.id, by="ada")
    assert (resolved.resolved_by, ledger.stops(), len(ledger.stops(resolved=None))) == ("ada", [], 1)
    assert ledger.claim(a_plan("new"), ME).outcome == "submit"
    ledger.record(row.id, billed("5"))
    ledger.record(row.id, billed("4"))
    assert ledger.stops() == []
    ledger.record(row.id, billed("6"))
    assert len(ledger.stops()) == 1
    with pytest.raises(GenerationNotFound):
        ledger.resolve_stop("no such stop", by="ada")


@pytest.mark.parametrize(("usd", "stops"), [("0.90", 0), ("0.900000001", 1), ("0.25", 0)])
def test_the_bound_times_the_factor_is_still_allowed(ledger: Ledger, usd: str, stops: int) -> None:
    """Three times what it may cost at most, by default."""
    row = archived(ledger, a_plan(upper="0.30"), ME)
    ledger.record(row.id, billed(usd))
    assert len(ledger.stops()) == stops


def test_the_factor_is_set_by_whoever_opens_the_ledger(ledger: Ledger) -> None:
    """A dearer account may need a higher one."""
    ledger.stop_factor = Decimal(100)
    row = archived(ledger, a_plan(upper="0.30"), ME)
    ledger.record(row.id, billed("29"))
    assert ledger.stops() == []


def test_units_that_the_result_names_count_and_a_person_s_word_does_not(ledger: Ledger) -> None:
    """fal's units are fal's bill; a person who types an amount has looked at it."""
    row = submitted(ledger, a_plan("a"), ME, "request-a")
    ledger.record(row.id, RemoteCompleted("https://v", units=Decimal(9999), usd=Decimal(24)))
    assert len(ledger.stops()) == 1
    ledger.resolve_stop(ledger.stops()[0].id, by="ada")
    other = completed(ledger, a_plan("b"), ME, "request-b")
    ledger.record(other.id, billed("24", "person"))
    assert ledger.stops() == []


def test_whoever_watches_is_told_once(ledger: Ledger) -> None:
    """With the row and the bill, after it is written."""
    news: list[SpendingStop] = []

    def watcher(item: object) -> None:
        if isinstance(item, SpendingStop):
            news.append(item)

    watch(watcher)
    try:
        row = archived(ledger, a_plan(), ME)
        ledger.record(row.id, billed("5"))
        ledger.record(row.id, billed("5"))
    finally:
        unwatch(watcher)
    assert [(item.stop.billed_usd, item.generation.id, item.ledger_id) for item in news] == [
        (5, row.id, ledger.id)
    ]


def test_a_stopped_post_is_released_without_a_charge(ledger: Ledger, clock: Clock) -> None:
    """The intent was never sent: its hold is freed as any other's."""
    waiting = ledger.claim(a_plan("waiting"), ME).generation
    row = archived(ledger, a_plan(), ME)
    ledger.record(row.id, billed("5"))
    with pytest.raises(SpendingStopped):
        ledger.begin_post(waiting.id, ME)
    assert ledger.record(waiting.id, NotSent("stopped", attempt=1), owner=ME).state is State.RELEASED


def test_a_request_that_ran_already_is_adopted_in_spite_of_a_stop(ledger: Ledger) -> None:
    """It is paid for: taking it over buys nothing."""
    gone = ledger.claim(a_plan("gone"), ME).generation
    ledger.record(gone.id, NotSent("refused", attempt=1), owner=ME)
    ledger.record(gone.id, Accepted("request-late"))
    row = archived(ledger, a_plan(), ME)
    ledger.record(row.id, billed("5"))
    assert ledger.claim(a_plan("gone"), ME).generation.request_id == "request-late"


def test_an_absurd_amount_is_written_down_as_the_most_that_can_be_added_up(ledger: Ledger) -> None:
    """A number beyond 64 bits ends no transaction and no sum."""
    rows = [archived(ledger, a_plan(key), ME, f"request-{key}") for key in ("a", "b", "c")]
    for row in rows:
        ledger.record(row.id, billed("1E+30"))
    assert len(ledger.stops()) == 3
    assert sum(total.settled_usd for total in ledger.totals("state")) > 10**8
