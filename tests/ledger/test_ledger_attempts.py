"""Each attempt by its own evidence, ids that are never dropped, refusals that are remembered, text that is storable."""

from decimal import Decimal

import pytest
from ledger_parts import Clock, a_plan, an_owner, completed, submitted

from prefect_ltx.ledger import (
    Accepted,
    Collected,
    Effect,
    Found,
    LeaseLost,
    Ledger,
    LookedAt,
    NotSent,
    ProvablyAbsent,
    Rejected,
    RemoteCompleted,
    RemoteFailed,
    ReplyLost,
    Resolved,
    Settled,
    State,
    Undecidable,
)

ME = an_owner("me")


def unknown(ledger: Ledger, *, since: float | None = 1000.0) -> str:
    row = ledger.claim(a_plan(), ME).generation
    ledger.begin_post(row.id, ME, since=since)
    ledger.record(row.id, ReplyLost("reset", attempt=1), owner=ME)
    return row.id


def test_a_verdict_about_the_first_attempt_does_not_end_the_second(ledger: Ledger) -> None:
    """Two coroutines of one run: what one found out about POST 1 says nothing about POST 2."""
    row_id = unknown(ledger)
    assert ledger.record(row_id, ProvablyAbsent(attempt=1), owner=ME).effects == (Effect.POST_ONCE,)
    ledger.begin_post(row_id, ME)
    for stale in (
        ProvablyAbsent(attempt=1),
        NotSent("refused", attempt=1),
        Rejected("401", attempt=1),
        ReplyLost("reset", attempt=1),
        Undecidable("ambiguous", attempt=1),
        LookedAt(2000.0, attempt=1),
    ):
        assert ledger.record(row_id, stale, owner=ME).outcome == "ignored"
    ledger.record(row_id, ReplyLost("reset", attempt=2), owner=ME)
    assert ledger.record(row_id, ProvablyAbsent(attempt=1), owner=ME).outcome == "ignored"
    row = ledger.get(row_id)
    assert (row.state, row.attempt, row.first_look_at) == (State.UNKNOWN, 2, None)


def test_the_first_look_belongs_to_its_attempt_and_the_first_post_to_the_row(ledger: Ledger) -> None:
    """A later look does not move it, the next attempt begins anew; the window stays open from the first POST."""
    row_id = unknown(ledger)
    ledger.record(row_id, LookedAt(1500.0, attempt=1))
    ledger.record(row_id, LookedAt(1900.0, attempt=1))
    assert (ledger.get(row_id).first_look_at, ledger.get(row_id).fal_since) == (1500.0, 1000.0)
    ledger.record(row_id, ProvablyAbsent(attempt=1), owner=ME)
    ledger.begin_post(row_id, ME, since=5000.0)
    assert (ledger.get(row_id).first_look_at, ledger.get(row_id).fal_since) == (None, 1000.0)


def test_a_request_of_an_earlier_attempt_that_turns_up_is_not_dropped(ledger: Ledger) -> None:
    """It is adopted before the next POST leaves; after it, the second one is a double charge that is reported."""
    row_id = unknown(ledger)
    ledger.record(row_id, ProvablyAbsent(attempt=1), owner=ME)
    ledger.begin_post(row_id, ME)
    assert ledger.record(row_id, Found("request-1", attempt=1), owner=ME).state is State.SUBMITTED
    assert ledger.record(row_id, Accepted("request-2"), owner=ME).strays == ("request-2",)


@pytest.mark.parametrize("moment", ["unknown", "parked", "released", "submitted"])
def test_an_id_that_could_not_be_written_at_once_is_written_later(ledger: Ledger, moment: str) -> None:
    """Whatever became of the row meanwhile, and however often: the request is known afterwards, and only once."""
    row_id = unknown(ledger)
    if moment == "parked":
        ledger.record(row_id, Undecidable("forbidden", attempt=1), owner=ME)
    elif moment == "released":
        ledger.release(row_id, ME)
        ledger.record(row_id, Resolved("absent", by="ada"))
    elif moment == "submitted":
        ledger.record(row_id, Found("request-1", attempt=1))
    for _ in range(2):
        ledger.record(row_id, Accepted("request-1"), actor="a later process")
    row = ledger.claim(a_plan(), an_owner("next")).generation
    assert row.request_id == "request-1"
    assert ledger.double_charges() == []


def test_a_person_cannot_vouch_for_a_row_that_somebody_works_on(ledger: Ledger, clock: Clock) -> None:
    """Its owner may be sending at this moment; the owner itself, and anybody after it, may."""
    row_id = unknown(ledger)
    for owner in (None, an_owner("b")):
        with pytest.raises(LeaseLost, match="is worked on by"):
            ledger.record(row_id, Resolved("absent", by="ada"), owner=owner)
    assert ledger.get(row_id).state is State.UNKNOWN
    clock.sleep(3600)
    assert ledger.record(row_id, Resolved("absent", by="ada")).state is State.RELEASED


def test_what_fal_refused_for_good_is_not_bought_again_by_the_same_run(ledger: Ledger) -> None:
    """A flow that is retried is told; another run, and a refusal that may pass, are tried."""
    plan = a_plan(flow_run_id="run-1")
    row = submitted(ledger, plan, ME)
    ledger.record(row.id, RemoteFailed("content policy", "maybe", for_good=True))
    for _ in range(3):
        claim = ledger.claim(plan, an_owner("retry"))
        assert (claim.outcome, claim.generation.id, claim.generation.reason) == (
            "refused",
            row.id,
            "content policy",
        )
    assert ledger.claim(a_plan(flow_run_id="run-2"), ME).outcome == "submit"

    passing = submitted(ledger, a_plan("b", flow_run_id="run-1"), ME, "request-b")
    ledger.record(passing.id, RemoteFailed("file_download_error", "maybe"))
    assert ledger.claim(a_plan("b", flow_run_id="run-1"), ME).outcome == "submit"


@pytest.mark.parametrize(
    "text", ["a NUL \0 in it", "half a pair \ud83d", "\udcff", "a whole pair \U0001f3ac"]
)
def test_any_text_of_fal_s_can_be_written_down(ledger: Ledger, text: str) -> None:
    """What no database keeps is replaced, and the paid video is recorded."""
    row = submitted(ledger, a_plan(), ME)
    ledger.record(
        row.id,
        RemoteCompleted(f"https://v/{text}", prompt=text, seed=2**64, file_size=10**30, oddities=(text,)),
    )
    ledger.record(row.id, Collected("a" * 64, 1, text, {text: [text, float("nan")]}))
    done = ledger.get(row.id)
    assert (done.state, done.delivered_seed, done.file_size) == (State.COLLECTED, None, None)
    kept = [done.prompt_expanded or "", *done.oddities, done.path or "", *done.facts]
    assert all("\0" not in each and each.encode() for each in kept)
    assert ("\U0001f3ac" in kept[0]) == ("\U0001f3ac" in text)


def test_any_reason_can_be_written_down(ledger: Ledger) -> None:
    """Of an error, a person, or an actor."""
    row = submitted(ledger, a_plan(), ME)
    ledger.record(row.id, RemoteFailed("no\0 \ud83d"), actor="some\0body")
    assert "\0" not in (ledger.get(row.id).reason or "")
    assert all("\0" not in line.actor for line in ledger.events(row.id))


def test_the_same_bill_twice_is_one_line_and_a_later_one_replaces_it(ledger: Ledger) -> None:
    """Billing events come late and are summed anew; only what is news is written."""
    row = completed(ledger, a_plan(), ME)
    first = Settled(Decimal(100), Decimal("0.24"), "billing_events")
    assert ledger.record(row.id, first).outcome == "recorded"
    assert ledger.record(row.id, first).outcome == "ignored"
    ledger.record(row.id, Settled(Decimal(112), Decimal("0.27"), "billing_events"))
    assert ledger.get(row.id).settled_usd == Decimal("0.27")
