"""What fal calls gone, or fails to say: asked again, lost only by its second word, and found again after that."""

from dataclasses import replace

import pytest
from ledger_parts import Clock, a_plan, an_owner, completed, submitted

from prefect_ltx.ledger import (
    BudgetLimit,
    Collected,
    Effect,
    FailsToSay,
    GoneSaid,
    Ledger,
    RemoteCompleted,
    RemoteFailed,
    Resolved,
    State,
    StillRunning,
)
from prefect_ltx.ledger.life.evidence import ASK_LOST_SECONDS, is_due, pause_after

ME = an_owner("me")
FALS_CLOCK = 50_000.0
"""fal's clock, which has nothing to do with the ledger's."""


def said_gone(ledger: Ledger, row_id: str, *moments: float) -> State:
    for at in moments:
        ledger.record(row_id, GoneSaid(FALS_CLOCK + at, "404"))
    return ledger.get(row_id).state


def test_one_word_loses_nothing(ledger: Ledger) -> None:
    """Nor does the same word a minute later; three minutes later it does."""
    row = submitted(ledger, a_plan(), ME)
    assert said_gone(ledger, row.id, 0) is State.SUBMITTED
    assert said_gone(ledger, row.id, 60, 179.9) is State.SUBMITTED
    assert said_gone(ledger, row.id, 180) is State.LOST


@pytest.mark.parametrize("word", [StillRunning(), RemoteCompleted("https://cdn.example/v.mp4")])
def test_a_word_to_the_contrary_starts_it_over(ledger: Ledger, word: object) -> None:
    """What runs, or has a result, was not gone: the next word is a first one."""
    row = submitted(ledger, a_plan(), ME)
    said_gone(ledger, row.id, 0)
    ledger.record(row.id, word)  # type: ignore[arg-type]
    assert ledger.get(row.id).gone_at is None
    assert said_gone(ledger, row.id, 300) in (State.SUBMITTED, State.COMPLETED)


def test_a_file_that_is_gone_while_its_result_still_names_it_is_lost_in_the_end(ledger: Ledger) -> None:
    """The result, asked again, does not bring the file back."""
    row = completed(ledger, a_plan(), ME)
    said_gone(ledger, row.id, 0)
    ledger.record(row.id, RemoteCompleted("https://cdn.example/v.mp4"))
    assert said_gone(ledger, row.id, 200) is State.LOST


def test_a_lost_row_keeps_its_key_and_its_hold_and_is_asked_about_for_a_week(
    ledger: Ledger, clock: Clock
) -> None:
    """After growing pauses; the ledger lists it when it is due."""
    row = submitted(ledger, a_plan(), ME)
    ledger.release(row.id, ME)
    said_gone(ledger, row.id, 0, 200)
    assert ledger.claim(a_plan(), ME).outcome == "lost"
    assert ledger.get(row.id).held_usd == row.price_upper_usd
    assert ledger.due() == []
    pauses = []
    for _ in range(3):
        now = ledger.get(row.id)
        assert now.look_again_at is not None
        pauses.append(now.look_again_at.timestamp() - clock.now)
        clock.sleep(pauses[-1])
        assert [each.id for each in ledger.due()] == [row.id]
        said_gone(ledger, row.id, 1000)
    assert pauses == [60, 120, 240]
    lost, asked = replace(ledger.get(row.id), look_again_at=None, looks=1), 0.0
    while is_due(lost, clock.now):
        asked += pause_after(lost.looks)
        lost = replace(lost, looks=lost.looks + 1)
    assert ASK_LOST_SECONDS <= asked <= ASK_LOST_SECONDS + 2 * 6 * 3600
    assert pause_after(1000) == 6 * 3600


def test_what_is_lost_comes_back_as_what_it_is(ledger: Ledger) -> None:
    """A result that turns up is collected; a request that runs is waited for."""
    one, two = (
        submitted(ledger, a_plan("a"), ME, "request-a"),
        submitted(ledger, a_plan("b"), ME, "request-b"),
    )
    for row in (one, two):
        assert said_gone(ledger, row.id, 0, 200) is State.LOST
    ledger.record(one.id, RemoteCompleted("https://cdn.example/v.mp4"))
    assert ledger.record(one.id, Collected("a" * 64, 1)).state is State.COLLECTED
    assert ledger.record(two.id, StillRunning()).effects == (Effect.POLL,)
    assert ledger.get(two.id).gone_at is None


def test_an_adopted_lost_row_goes_through_its_result(ledger: Ledger) -> None:
    """Nothing is completed without an address; the same for one that is completed and has none that works."""
    for key, request_id in (("a", "request-a"), ("b", None)):
        row = completed(ledger, a_plan(key), ME, f"request-{key}")
        said_gone(ledger, row.id, 0, 200)
        step = ledger.record(row.id, Resolved("adopt", request_id, by="ada"))
        assert (step.state, step.effects) == (State.SUBMITTED, (Effect.POLL,))
        assert ledger.claim(a_plan(key), an_owner("b")).outcome in ("busy", "resume")


def test_another_request_adopted_on_a_lost_row_is_kept_beside_it(ledger: Ledger) -> None:
    """It is a second run of the same thing, and it is not dropped."""
    row = completed(ledger, a_plan(), ME)
    said_gone(ledger, row.id, 0, 200)
    assert ledger.record(row.id, Resolved("adopt", "request-other", by="ada")).strays == ("request-other",)
    assert ledger.double_charges()[0].extra_request_ids == ("request-other",)


def test_what_fal_fails_to_say_is_asked_after_growing_pauses_and_never_lost(
    ledger: Ledger, clock: Clock
) -> None:
    """A result route that answers nothing for hours: the row stays, shows why, and holds its bound."""
    row = submitted(ledger, a_plan(), ME)
    ledger.release(row.id, ME)
    for looks in range(1, 12):
        ledger.record(row.id, FailsToSay("HTTP 500 without a word"))
        now = ledger.get(row.id)
        assert (now.state, now.looks, now.reason) == (State.SUBMITTED, looks, "HTTP 500 without a word")
        assert now.look_again_at is not None
        assert now.look_again_at.timestamp() == clock.now + pause_after(looks)
        assert ledger.due() == []
        clock.sleep(pause_after(looks))
        assert len(ledger.due()) == 1
    assert now.held_usd == row.price_upper_usd
    ledger.record(row.id, RemoteFailed("it ended with HTTP 500", "no"))
    assert (ledger.get(row.id).looks, ledger.get(row.id).look_again_at) == (0, None)
    assert ledger.spending([BudgetLimit(row.price_upper_usd)])[0].left_usd == row.price_upper_usd


def test_a_running_wait_makes_an_earlier_silence_forgotten(ledger: Ledger) -> None:
    """fal has a word for it again."""
    row = submitted(ledger, a_plan(), ME)
    ledger.record(row.id, FailsToSay("x"))
    ledger.record(row.id, StillRunning())
    assert (ledger.get(row.id).looks, ledger.get(row.id).look_again_at) == (0, None)
