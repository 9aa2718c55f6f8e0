"""What the ledger tells those who watch it, and that nobody who watches can disturb it."""

import logging
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from ledger_parts import a_plan, an_owner, archived, submitted

from prefect_ltx.ledger import (
    Accepted,
    BudgetExceeded,
    BudgetLimit,
    BudgetLow,
    Ledger,
    LedgerError,
    Moved,
    News,
    NotSent,
    ProvablyAbsent,
    State,
    unwatch,
    watch,
)


@pytest.fixture
def told() -> Iterator[list[News]]:
    heard: list[News] = []
    watch(heard.append)
    yield heard
    unwatch(heard.append)


def states(told: list[News]) -> list[State]:
    return [each.state for each in told if isinstance(each, Moved)]


def test_every_state_of_a_life_is_told_once(ledger_url: str, told: list[News]) -> None:
    """From the intent to the archive each state is told once; the same fact brought again is not."""
    with Ledger(ledger_url) as ledger:
        row = archived(ledger, a_plan(), an_owner())
        ledger.record(row.id, Accepted("request-1"))
    assert states(told) == [
        State.INTENDED,
        State.SUBMITTED,
        State.COMPLETED,
        State.COLLECTED,
        State.ARCHIVED,
    ]
    assert {each.generation.id for each in told if isinstance(each, Moved)} == {row.id}


def test_what_is_told_is_written(ledger_url: str) -> None:
    """A watcher finds in the ledger what it is told, from another connection."""
    found: list[State] = []

    def look(news: News) -> None:
        assert isinstance(news, Moved)
        with Ledger(ledger_url) as other:
            found.append(other.get(news.generation.id).state)

    with Ledger(ledger_url) as ledger:
        watch(look)
        try:
            submitted(ledger, a_plan(), an_owner())
        finally:
            unwatch(look)
    assert found == [State.INTENDED, State.SUBMITTED]


def test_what_was_rolled_back_is_not_told(ledger_url: str, told: list[News]) -> None:
    """A claim that the budget refused, and an event that its bringer may not decide, are not told."""
    with Ledger(ledger_url) as ledger:
        with pytest.raises(BudgetExceeded):
            ledger.claim(a_plan(), an_owner(), [BudgetLimit(usd=Decimal("0.01"))])
        row = ledger.claim(a_plan(), an_owner()).generation
        told.clear()
        with pytest.raises(LedgerError):
            ledger.record(row.id, ProvablyAbsent(attempt=1), owner=an_owner("b"))
    assert told == []


def test_an_adopted_request_is_told_with_its_intent(ledger_url: str, told: list[News]) -> None:
    """Two moves of one transaction are both told, in their order, with the row as it was left."""
    with Ledger(ledger_url) as ledger:
        owner = an_owner()
        first = ledger.claim(a_plan(), owner).generation
        ledger.record(first.id, NotSent("no connection", attempt=1), owner=owner)
        ledger.record(first.id, Accepted("request-1"))
        told.clear()
        second = ledger.claim(a_plan(), owner).generation
    assert second.id != first.id
    assert states(told) == [State.INTENDED, State.SUBMITTED]
    assert [each.generation.request_id for each in told if isinstance(each, Moved)] == ["request-1"] * 2


def test_a_watcher_that_fails_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A watcher's exception is a line in the log; the ledger's call succeeds and is written."""

    def fails(news: News) -> None:
        raise RuntimeError("boom")

    watch(fails)
    try:
        with caplog.at_level(logging.WARNING), Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
            row = submitted(ledger, a_plan(), an_owner())
    finally:
        unwatch(fails)
    assert row.state is State.SUBMITTED
    assert "boom" in caplog.text


def test_a_limit_that_becomes_low_is_told_when_it_crosses(ledger_url: str, told: list[News]) -> None:
    """Once less than a fifth of a limit is left after a reservation it is told, and not again below that."""
    limits = [BudgetLimit(usd=Decimal(1), name="team"), BudgetLimit(usd=Decimal(100), name="house")]
    lows = []
    with Ledger(ledger_url) as ledger:
        for number in range(4):
            upper = "0.40" if number < 2 else "0.05"
            ledger.claim(a_plan(f"key-{number}", upper=upper, expected="0.01"), an_owner(), limits)
            lows.append([each for each in told if isinstance(each, BudgetLow)])
        identity = ledger.id
    assert [len(each) for each in lows] == [0, 0, 1, 1]
    (low,) = lows[-1]
    assert (low.status.limit.name, low.status.left_usd, low.ledger_id) == ("team", Decimal("0.15"), identity)
    assert low.period_start > 0
