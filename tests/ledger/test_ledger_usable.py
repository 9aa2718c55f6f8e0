"""What a usable clip costs: every attempt counts once, a person's word stands over the machine's, money is exact."""

from datetime import UTC, date, datetime
from decimal import Decimal, localcontext

import pytest
from ledger_parts import Clock, a_plan, an_owner, archived, completed, lost, submitted

from prefect_ltx.ledger import (
    Collected,
    Generation,
    GenerationNotFound,
    Ledger,
    NotSent,
    Period,
    RemoteFailed,
    Settled,
    Usable,
)

ME = an_owner("me")
DAY = 86_400.0
CENTS = [Decimal(f"0.26964{digit:04d}") for digit in (1, 3, 7, 9, 11, 13, 17, 19, 23, 29)]


def take(
    ledger: Ledger,
    number: int,
    cost: Decimal | None,
    *,
    request: str = "cup",
    tags: tuple[str, ...] = ("client:acme",),
    gone: bool = False,
) -> Generation:
    """One archived take of a request with 121 frames at 24 per second, or one that fal has lost."""
    plan = a_plan(
        f"{request}-{number}",
        seed=number,
        seedless_key=f"request-{request}",
        tags=tags,
        body={"prompt": f"A {request}.", "seed": number},
        asked={"num_frames": 9, "frames_per_second": 25},
    )
    name = f"request-{request}-{number}"
    row = completed(ledger, plan, ME, name) if gone else archived(ledger, plan, ME, name)
    if gone:
        lost(ledger, row)
    if cost is not None:
        ledger.record(row.id, Settled(None, cost, "billing_events"))
    return ledger.get(row.id)


def only(found: list[Usable]) -> Usable:
    (one,) = found
    return one


def test_the_scripted_history_is_exact_to_the_last_digit(ledger_url: str, clock: Clock) -> None:
    """20 takes, 8 rejected, 3 chosen by hand, 2 lost, 7 that nobody took: all money by the 3, in each grouping."""
    costs = [CENTS[number % len(CENTS)] + Decimal(number) / 50 for number in range(20)]
    with Ledger(ledger_url, clock=clock) as ledger:
        rows = [
            take(ledger, number, cost, tags=("client:acme", "batch:cups"), gone=number >= 18)
            for number, cost in enumerate(costs)
        ]
        for number in range(5):
            ledger.note_verdict(
                rows[number].id,
                "rejected",
                source="machine",
                by="quality control",
                reason="frozen: 4 frames stand",
            )
        for number in range(5, 8):
            ledger.note_verdict(
                rows[number].id, "rejected", source="person", by="ann", reason="the hand is wrong"
            )
        # The machine's word against one of these three does not count.
        ledger.note_verdict(
            rows[8].id, "rejected", source="machine", by="quality control", reason="frozen: one"
        )
        for number in (8, 9, 10):
            ledger.note_verdict(rows[number].id, "chosen", source="person", by="ann")
        for by, name in (
            ("all", "all"),
            ("tag", "client:acme"),
            ("batch", "cups"),
            ("prompt", "A cup."),
            ("endpoint", rows[0].endpoint),
            ("day", "2026-09-21"),
        ):
            found = {each.name: each for each in ledger.usable(by)}  # type: ignore[arg-type]
            one = found[name]
            assert (one.attempts, one.usable, one.chosen, one.open, one.estimated) == (20, 3, 3, 0, 0)
            assert one.fates == {"usable": 3, "rejected": 8, "passed over": 7, "lost": 2}
            assert one.why == {
                "machine: frozen": 5,
                "person: the hand is wrong": 3,
                "another take was chosen": 7,
                "lost": 2,
            }
            assert one.rate == Decimal("0.15")
            assert one.usable_usd == sum(costs[8:11])
            assert one.unusable_usd == sum(costs) - sum(costs[8:11])
            assert one.usable_usd + one.unusable_usd == ledger.spend().held_usd == sum(costs)
            with localcontext() as context:
                context.prec = 60
                assert one.usd_per_clip is not None
                assert abs(one.usd_per_clip * 3 - sum(costs)) < Decimal("1e-20")
            # 3 clips of 9 frames at 25 a second.
            assert one.usd_per_second == sum(costs) * 25 / 27
        assert only(ledger.usable(tag="client:acme")).attempts == 20
        assert only(ledger.usable(tag="client:other")).attempts == 0
        assert ledger.usable("film") == []


def test_what_counts_is_a_person_s_last_word(ledger_url: str, clock: Clock) -> None:
    """Not the machine's, however late it comes; not an older file that is read once more; said twice is said once."""
    with Ledger(ledger_url, clock=clock) as ledger:
        row = take(ledger, 1, CENTS[0])
        other = take(ledger, 2, CENTS[1])
        first = datetime.fromtimestamp(clock.now, UTC)
        assert only(ledger.usable()).usable == 2
        assert ledger.note_verdict(row.id, "chosen", source="person", by="ann", said_at=first)
        assert only(ledger.usable()).fates == {"usable": 1, "passed over": 1}
        clock.sleep(60)
        assert ledger.note_verdict(
            row.id, "rejected", source="machine", by="quality control", reason="frozen: x"
        )
        assert ledger.verdicts()[row.id].word == "chosen"
        assert not ledger.note_verdict(
            row.id, "rejected", source="machine", by="quality control", reason="frozen: x"
        )
        assert ledger.note_verdict(row.id, "rejected", source="person", by="bob", reason="too dark")
        assert not ledger.note_verdict(row.id, "chosen", source="person", by="ann", said_at=first)
        assert str(ledger.verdicts([row.id])[row.id]) == "rejected by bob: too dark"
        # Nobody chose any more, so the other one counts again.
        assert only(ledger.usable()).fates == {"usable": 1, "rejected": 1}
        # A clock that is ahead does not have the last word for ever.
        assert ledger.note_verdict(
            row.id, "chosen", source="person", by="ann", said_at=datetime(2036, 1, 1, tzinfo=UTC)
        )
        clock.sleep(60)
        assert ledger.note_verdict(row.id, "rejected", source="person", by="bob", reason="still too dark")
        assert ledger.verdicts()[row.id].reason == "still too dark"
        assert other.id not in ledger.verdicts()
        assert [each.event for each in ledger.events(row.id)].count("Judged") == 5
        assert ledger.get(row.id).held_usd == CENTS[0]
        with pytest.raises(GenerationNotFound):
            ledger.note_verdict("nothing-like-it", "chosen", source="person", by="ann")


def test_what_is_open_or_never_ran_moves_no_price(ledger_url: str, clock: Clock) -> None:
    """Under way: counted apart. Released: no attempt. Failed and billed: money for nothing. An unknown bill: said."""
    with Ledger(ledger_url, clock=clock) as ledger:
        take(ledger, 1, None)  # counts at what is held for it
        submitted(ledger, a_plan("open"), ME, "request-open")
        never = ledger.claim(a_plan("never"), ME).generation
        ledger.begin_post(never.id, ME)
        ledger.record(never.id, NotSent("refused", attempt=1), owner=ME)
        failed = submitted(ledger, a_plan("failed"), ME, "request-failed")
        ledger.record(failed.id, RemoteFailed("422 content_policy_violation", "yes"))
        ledger.record(failed.id, Settled(None, Decimal("0.30"), "billing_events"))
        one = only(ledger.usable())
        assert (one.attempts, one.usable, one.open, one.estimated) == (3, 1, 1, 2)
        assert (one.usable_usd, one.unusable_usd, one.open_usd) == (
            Decimal("0.25"),
            Decimal("0.30"),
            Decimal("0.30"),
        )
        assert (one.usd_per_clip, one.rate) == (Decimal("0.55"), Decimal("0.5"))
    with Ledger(ledger_url, clock=clock, read_only=True) as ledger:
        assert only(ledger.usable(period=Period(until=date(2000, 1, 1)))).usd_per_clip is None


def test_a_chosen_take_of_the_machine_counts_until_a_person_says_no(ledger_url: str, clock: Clock) -> None:
    """The delivered frames and rate make the seconds; a judge's choice passes over the others of its request."""
    with Ledger(ledger_url, clock=clock) as ledger:
        rows = [take(ledger, number, Decimal("0.10"), request="pan") for number in range(3)]
        plan = a_plan("long", seedless_key="request-long", asked={"num_frames": 9, "frames_per_second": 24})
        row = completed(ledger, plan, ME, "request-long")
        facts = {"num_frames": 121, "fps": "24000/1001"}
        ledger.record(row.id, Collected("c" * 64, 1, "/work/v.mp4", facts), owner=ME)
        assert only(ledger.usable()).open == 1
        ledger.note_verdict(rows[1].id, "chosen", source="machine", by="judge house:sharpest")
        assert only(ledger.usable()).fates == {"usable": 1, "passed over": 2, "open": 1}
        ledger.note_verdict(rows[1].id, "rejected", source="person", by="ann")
        assert only(ledger.usable()).fates == {"usable": 2, "rejected": 1, "open": 1}
        assert only(ledger.usable()).why == {"by a person": 1}
