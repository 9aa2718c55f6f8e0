"""What a period cost: each row counts once, in the period of its intent, and every grouping adds up to the same."""

from datetime import UTC, date, datetime
from decimal import Decimal

from ledger_parts import Clock, a_plan, an_owner, archived, completed, lost, submitted

from prefect_ltx.ledger import BudgetLimit, Ledger, Period, Settled
from prefect_ltx.ledger.spend import GROUPINGS

ME = an_owner("me")
DAY = 86_400.0


def settled(ledger: Ledger, generation_id: str, usd: str) -> None:
    ledger.record(generation_id, Settled(None, Decimal(usd), "billing_events"))


def test_a_period_counts_its_own_days_and_every_grouping_the_same_money(
    ledger_url: str, clock: Clock
) -> None:
    """Days begin at midnight UTC; what lies before or after counts elsewhere; no bound means all time."""
    monday = datetime(2026, 11, 16, tzinfo=UTC).timestamp()
    with Ledger(ledger_url, clock=clock) as ledger:
        for key, offset, cost in (("late", -1, "0.10"), ("first", 0, "0.25"), ("last", 7 * DAY - 1, "0.30")):
            clock.now = monday + offset
            row = archived(ledger, a_plan(key, tags=("film", key)), ME, f"request-{key}")
            settled(ledger, row.id, cost)
        clock.now = monday + 7 * DAY
        submitted(ledger, a_plan("next"), ME, "request-next")

        week = ledger.spend(Period(date(2026, 11, 16), date(2026, 11, 23)))
        assert (week.generations, week.billed_usd, week.expected_usd) == (2, Decimal("0.55"), Decimal("0.50"))
        assert (week.open_usd, week.difference_usd, week.off) == (Decimal(0), Decimal("0.05"), 1)
        assert [each.name for each in week.by["day"]] == ["2026-11-16", "2026-11-22"]
        assert {each.name: each.count for each in week.by["tag"]} == {"film": 2, "first": 1, "last": 1}
        for by in set(GROUPINGS) - {"tag"}:
            assert sum(each.settled_usd for each in week.by[by]) == week.billed_usd
            assert sum(each.held_usd for each in week.by[by]) == week.held_usd

        ever = ledger.spend(limits=[BudgetLimit(Decimal(10), "total", name="all")])
        assert (ever.generations, ever.open_usd) == (4, Decimal("0.30"))
        assert ever.budgets[0].left_usd == Decimal(10) - ever.held_usd
        for by in GROUPINGS:
            assert list(ever.by[by]) == ledger.totals(by)


def test_what_went_wrong_is_named(ledger_url: str, clock: Clock) -> None:
    """Lost and charged twice: by id, in the period of the row."""
    today = date.fromtimestamp(clock.now)
    with Ledger(ledger_url, clock=clock) as ledger:
        gone = completed(ledger, a_plan("gone"), ME, "request-gone")
        lost(ledger, gone, "the file is gone")
        found = ledger.spend(Period(today, date.fromordinal(today.toordinal() + 1)))
        assert [each.id for each in found.lost] == [gone.id]
        assert not ledger.spend(Period(until=today)).lost


def test_a_reuse_counts_when_it_happens_and_never_for_the_run_that_paid(
    ledger_url: str, clock: Clock
) -> None:
    """It saves what the video cost, or was to cost while that is not known; a retry of the buyer saved nothing."""
    with Ledger(ledger_url, clock=clock) as ledger:
        row = archived(ledger, a_plan("a", flow_run_id="buyer"), ME)
        ledger.note_reuse(row.id, flow_run_id="buyer")
        assert ledger.spend().reuses == 0
        ledger.note_reuse(row.id, flow_run_id="another")
        assert (ledger.spend().reuses, ledger.spend().saved_usd) == (1, Decimal("0.25"))
        settled(ledger, row.id, "0.31")
        clock.sleep(3 * DAY)
        ledger.note_reuse(row.id)
        assert (ledger.spend().reuses, ledger.spend().saved_usd) == (2, Decimal("0.62"))
        later = Period(since=datetime.fromtimestamp(clock.now, UTC).date())
        assert (ledger.spend(later).reuses, ledger.spend(later).generations) == (1, 0)
        assert [each.event for each in ledger.events(row.id)].count("Reused") == 2
        open_one = submitted(ledger, a_plan("b"), ME, "request-b")
        ledger.note_reuse(open_one.id)
        assert ledger.spend().reuses == 2
