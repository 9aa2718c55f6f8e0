"""What budgets count is kept as sums, and is what the rows add up to."""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ledger_dump import FIXTURES, fill
from ledger_parts import Clock, a_plan, an_owner, archived, submitted
from sqlalchemy import make_url
from test_ledger_schema import run_sql

from prefect_ltx.ledger import (
    Accepted,
    BudgetExceeded,
    BudgetLimit,
    Generation,
    Ledger,
    LedgerError,
    NotSent,
    Period,
    RemoteFailed,
    Resolved,
    Settled,
)

ME = an_owner("me")
DAY = 86_400


def added(rows: list[Generation], limit: BudgetLimit, now: float) -> tuple[Decimal, Decimal]:
    """What the rows add up to, held in all and known to be spent: the rule in its plainest form."""
    counted = [
        row
        for row in rows
        if row.created_at.timestamp() >= limit.since(now) and (limit.tag is None or limit.tag in row.tags)
    ]
    held = sum((row.held_usd for row in counted), Decimal(0))
    return held, sum((row.settled_usd or Decimal(0) for row in counted), Decimal(0))


LIMITS = [
    BudgetLimit(Decimal(1000), period, tag)  # type: ignore[arg-type]
    for period in ("day", "month", "total")
    for tag in (None, "a", "b", "#", "")
]


def assert_right(ledger: Ledger, now: float) -> None:
    """Budgets say what the rows add up to."""
    rows = ledger.find()
    for status in ledger.spending(LIMITS):
        known = (status.held_usd + status.settled_usd, status.settled_usd)
        assert known == added(rows, status.limit, now), status.limit
    assert ledger.wrong_sums() == []


class Money(RuleBasedStateMachine):
    """Any order of claims, ends, bills and days gives sums that are what the rows add up to."""

    @initialize()
    def begin(self) -> None:
        """An empty ledger on some day."""
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.ledger = Ledger(f"sqlite:///{self.folder.name}/ledger.db", clock=self.clock)
        self.rows: list[str] = []

    @rule(tags=st.sets(st.sampled_from(["a", "b", "#"])), upper=st.integers(0, 10**12))
    def claim(self, tags: set[str], upper: int) -> None:
        """A reservation."""
        plan = a_plan(
            f"key-{len(self.rows)}", upper=str(Decimal(upper) / 10**9), expected="0", tags=tuple(tags)
        )
        row = self.ledger.claim(plan, ME).generation
        assert row == self.ledger.get(row.id)
        self.rows.append(row.id)

    @precondition(lambda self: self.rows)
    @rule(
        which=st.integers(0), what=st.sampled_from(["bill", "fail", "free", "absent", "write off", "accept"])
    )
    def move(self, which: int, what: str) -> None:
        """Something becomes of one of the rows."""
        row_id = self.rows[which % len(self.rows)]
        row = self.ledger.get(row_id)
        event: Any = {
            "bill": Settled(None, Decimal(which % 7) / 3, "person"),
            "fail": RemoteFailed("422", "maybe"),
            "free": RemoteFailed("422", "no"),
            "absent": NotSent("refused", attempt=row.attempt),
            "write off": Resolved("write_off", by="ada"),
            "accept": Accepted(f"request-{which % 5}"),
        }[what]
        with suppress(LedgerError):  # not now, of this row: then nothing changes
            row = self.ledger.record_and_get(row_id, event, owner=ME if row.owner else None)
            assert row == self.ledger.get(row_id)

    @rule(seconds=st.sampled_from([1, DAY, 31 * DAY, -DAY, -40 * DAY]))
    def later(self, seconds: int) -> None:
        """Time passes, or a clock is set back."""
        self.clock.sleep(seconds)

    @invariant()
    def right(self) -> None:
        """The rule itself."""
        assert_right(self.ledger, self.clock.now)

    def teardown(self) -> None:
        """The folder goes."""
        self.ledger.close()
        self.folder.cleanup()


Money.TestCase.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
TestMoney = Money.TestCase


def test_one_row_in_each_state_adds_up(ledger_url: str, clock: Clock) -> None:
    """On every database, with a double charge, a stray and a bill."""
    with Ledger(ledger_url, clock=clock) as ledger:
        fill(ledger, clock)
        assert_right(ledger, clock.now)
        ledger.claim(a_plan("another", tags=("fixture",)), ME, LIMITS)
        assert_right(ledger, clock.now)


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_ledger_is_added_up_when_it_is_opened(ledger_url: str, clock: Clock, version: int) -> None:
    """Its budgets count what they counted before."""
    dialect = make_url(ledger_url).get_backend_name()
    run_sql(ledger_url, (FIXTURES / f"v{version}-{dialect}.sql").read_text())
    clock.sleep(3600)
    with Ledger(ledger_url, clock=clock) as ledger:
        assert_right(ledger, clock.now)
        before = ledger.spending(LIMITS)[0]
        row = submitted(ledger, a_plan("new", tags=("a",)), ME)
        assert_right(ledger, clock.now)
        assert ledger.spending(LIMITS)[0].held_usd == before.held_usd + row.held_usd


def test_what_somebody_else_writes_is_counted(ledger_url: str, clock: Clock) -> None:
    """A process of an older release, or a person with SQL: the database itself adds up."""
    with Ledger(ledger_url, clock=clock) as ledger:
        row = archived(ledger, a_plan(tags=("a", "b")), ME)
        other = ledger.claim(a_plan("key-2", tags=("a",)), ME).generation
        run_sql(ledger_url, f"UPDATE ltx_generation SET held_nano = 7000000000 WHERE id = '{row.id}';")
        assert_right(ledger, clock.now)
        run_sql(
            ledger_url,
            f"DELETE FROM ltx_event WHERE generation_id = '{other.id}';"
            f"DELETE FROM ltx_tag WHERE generation_id = '{other.id}';"
            f"DELETE FROM ltx_generation WHERE id = '{other.id}';",
        )
        assert_right(ledger, clock.now)
        with pytest.raises(BudgetExceeded):
            ledger.claim(a_plan("key-3"), ME, [BudgetLimit(Decimal(7), "day")])


def test_a_bill_beyond_all_bounds_is_recorded(ledger_url: str, clock: Clock) -> None:
    """Sums of the largest bills that a row takes stand in no bill's way, nor in that of a report or a check."""
    with Ledger(ledger_url, clock=clock) as ledger:
        for number in range(300):
            row = submitted(ledger, a_plan(f"key-{number}"), ME, f"request-{number}")
            ledger.record(row.id, Settled(None, Decimal(10**9), "person"))
        (status,) = ledger.spending([BudgetLimit(Decimal(1))])
        assert status.settled_usd > Decimal(10**10)
        bill = ledger.find(limit=1)[0].settled_usd
        assert bill is not None
        spent = ledger.spend(Period(), [])
        assert (spent.billed_usd, spent.by["tag"]) == (bill * 300, [])
        ledger.recount()
        assert ledger.wrong_sums() == []
        (again,) = ledger.spending([BudgetLimit(Decimal(1))])
        assert float(again.settled_usd) == pytest.approx(float(bill * 300))


@pytest.fixture
def wrong(ledger_url: str, clock: Clock) -> Iterator[Ledger]:
    """A ledger whose sums somebody has changed."""
    with Ledger(ledger_url, clock=clock) as ledger:
        ledger.claim(a_plan(tags=("a",)), ME)
        run_sql(
            ledger_url, "UPDATE ltx_sum SET held_nano = held_nano + 5 WHERE period = 'day' AND name = '#a';"
        )
        run_sql(ledger_url, "DELETE FROM ltx_sum WHERE period = 'total' AND name = '';")
        yield ledger


def test_wrong_sums_are_found_and_made_again(wrong: Ledger, clock: Clock) -> None:
    """Each is named with what it was and what the rows add up to; afterwards all are right."""
    found = wrong.wrong_sums()
    assert [(each.name, each.period) for each in found] == [("", "total"), ("#a", "day")]
    assert found[0].held_usd == Decimal("0.30")
    assert wrong.recount() == found
    assert_right(wrong, clock.now)
    assert wrong.recount() == []


def test_a_ledger_copied_as_sql_keeps_counting(tmp_path: Path, clock: Clock) -> None:
    """A dump that is loaded again (a backup) has its sums, and goes on adding up."""
    import sqlite3

    with Ledger(f"sqlite:///{tmp_path}/ledger.db", clock=clock) as ledger:
        fill(ledger, clock)
    source = sqlite3.connect(tmp_path / "ledger.db")
    copy = sqlite3.connect(tmp_path / "copy.db")
    copy.executescript("\n".join(source.iterdump()))
    source.close()
    copy.close()
    with Ledger(f"sqlite:///{tmp_path}/copy.db", clock=clock) as ledger:
        ledger.claim(a_plan("another", tags=("fixture",)), ME)
        assert_right(ledger, clock.now)
