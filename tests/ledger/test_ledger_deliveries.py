"""Webhooks in bulk, and telling of what is finished: once each, on both databases."""

from collections.abc import Iterator

import pytest
from ledger_parts import VIDEO, Clock, a_plan, an_owner, archived, completed, lost, submitted

from prefect_ltx.ledger import (
    Delivery,
    Found,
    Ledger,
    RemoteCompleted,
    RemoteFailed,
    ReplyLost,
    State,
    Undecidable,
)

ME = an_owner("me")
DONE = RemoteCompleted(VIDEO, seed=7, request_id="request-1")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(ledger_url: str, clock: Clock) -> Iterator[Ledger]:
    with Ledger(ledger_url, clock=clock) as opened:
        yield opened


def test_many_are_written_together_and_each_by_the_rules(ledger: Ledger) -> None:
    """One call: a video, an error, one without a payload, a repetition, a strange one, each with its receipt."""
    rows = [submitted(ledger, a_plan(f"key-{n}"), ME, f"request-{n}") for n in range(3)]
    good = Delivery("any-nonce", "request-0", True, RemoteCompleted(VIDEO, request_id="request-0"))
    bad = Delivery("any-nonce", "request-1", False, RemoteFailed("no", "maybe", request_id="request-1"))
    bare = Delivery("any-nonce", "request-2", True)
    receipts = ledger.receive([good, bad, bare, good, Delivery("nobody", "request-9", True)])
    assert [each.outcome for each in receipts] == ["recorded", "recorded", "recorded", "duplicate", "unknown"]
    assert [each.moved for each in receipts] == [True, True, False, False, False]
    after = [ledger.get(row.id) for row in rows]
    assert [row.state for row in after] == [State.COMPLETED, State.FAILED, State.SUBMITTED]
    assert [each.generation for each in receipts[:3]] == after
    assert ledger.receive([good, bad, bare]) == [type(receipts[0])("duplicate", row, False) for row in after]
    # One line says that it came, and one what it said.
    assert [len([line for line in ledger.events(row.id) if line.actor == "webhook"]) for row in rows] == [
        2,
        2,
        1,
    ]


def test_a_repetition_may_bring_the_payload(ledger: Ledger) -> None:
    """What came without its result is completed by the delivery that has it."""
    row = submitted(ledger, a_plan(), ME)
    ledger.receive([Delivery(row.nonce, "request-1", True)])
    assert [each.outcome for each in ledger.receive([Delivery(row.nonce, "request-1", True, DONE)])] == [
        "recorded"
    ]
    assert ledger.get(row.id).video_url == VIDEO


@pytest.mark.parametrize("reason", [None, "forbidden"])
def test_a_nonce_names_the_request_of_a_lost_reply(ledger: Ledger, reason: str | None) -> None:
    """UNKNOWN and PARKED rows are adopted by the nonce, once fal has confirmed the request as ours; not before."""
    row = ledger.claim(a_plan(), ME).generation
    ledger.begin_post(row.id, ME)
    ledger.record(row.id, ReplyLost(attempt=1), owner=ME)
    if reason:
        ledger.record(row.id, Undecidable("forbidden", attempt=1), owner=ME)
    before = ledger.get(row.id)
    (receipt,) = ledger.receive([Delivery(row.nonce, "request-1", True, DONE)])
    assert (receipt.outcome, ledger.get(row.id)) == ("unconfirmed", before)
    (receipt,) = ledger.receive([Delivery(row.nonce, "request-1", True, DONE, confirmed=True)])
    assert (receipt.outcome, receipt.moved) == ("recorded", True)
    assert (ledger.get(row.id).state, ledger.get(row.id).request_id) == (State.COMPLETED, "request-1")


def test_a_second_request_of_a_row_is_kept_as_a_double_charge(ledger: Ledger) -> None:
    """A confirmed webhook that names another request than the row's is never dropped."""
    row = submitted(ledger, a_plan(), ME)
    second = RemoteCompleted(VIDEO, request_id="request-2")
    ledger.receive([Delivery(row.nonce, "request-2", True, second, confirmed=True)])
    assert ledger.get(row.id).request_id == "request-1"
    assert [each.request_id for each in ledger.strays(kind="double_charge")] == ["request-2"]


def test_a_late_webhook_brings_a_lost_video_back_and_leaves_an_archived_one(ledger: Ledger) -> None:
    """LOST becomes COMPLETED; ARCHIVED never changes."""
    gone = submitted(ledger, a_plan("gone"), ME, "request-1")
    lost(ledger, gone)
    done = archived(ledger, a_plan("done"), ME, "request-2")
    again = RemoteCompleted("https://cdn.example/other.mp4", request_id="request-2")
    ledger.receive([Delivery("n", "request-1", True, DONE), Delivery("n", "request-2", True, again)])
    assert ledger.get(gone.id).state is State.COMPLETED
    assert (ledger.get(done.id).state, ledger.get(done.id).video_url) == (State.ARCHIVED, VIDEO)


def test_the_request_outranks_the_nonce(ledger: Ledger) -> None:
    """A request that another row goes on with is that row's, whichever nonce its URL had."""
    first = ledger.claim(a_plan("first"), ME).generation
    second = submitted(ledger, a_plan("second"), ME, "request-1")
    ledger.receive([Delivery(first.nonce, "request-1", True, DONE)])
    assert [ledger.get(row.id).state for row in (first, second)] == [State.INTENDED, State.COMPLETED]


def test_what_nobody_collects_is_told_once_and_again_after_doubling_pauses(
    ledger: Ledger, clock: Clock
) -> None:
    """Not while a run holds it, then at once, then after 900 s, 1800 s, …; never when it is collected."""

    def numbers() -> list[int]:
        return [each.number for each in ledger.take_announcements(again_after=900)]

    row = completed(ledger, a_plan(), ME)
    assert numbers() == []
    ledger.release(row.id, ME)
    assert (numbers(), numbers()) == ([1], [])
    clock.sleep(899)
    assert numbers() == []
    clock.sleep(1)
    assert (numbers(), numbers()) == ([2], [])
    clock.sleep(1799)
    assert numbers() == []
    clock.sleep(1)
    ledger.take(row.id, ME)
    assert numbers() == []
    ledger.release(row.id, ME)
    assert numbers() == [3]


def test_a_dead_runs_generation_is_told_as_nobodys(ledger: Ledger, clock: Clock) -> None:
    """The lease of a run that is gone is taken back, so that whoever is told does not see it attended."""
    row = completed(ledger, a_plan(), ME)
    clock.sleep(ledger.lease_seconds + 1)
    (told,) = ledger.take_announcements()
    assert (told.generation.id, told.generation.owner, ledger.get(row.id).owner) == (row.id, None, None)


def test_a_webhook_without_its_payload_is_told_as_well(ledger: Ledger) -> None:
    """The row is still SUBMITTED, and somebody has to ask for its result; one that fal only works on is not told."""
    told, working = (submitted(ledger, a_plan(f"key-{n}"), ME, f"request-{n}") for n in range(2))
    for row in (told, working):
        ledger.release(row.id, ME)
    ledger.receive([Delivery("n", "request-0", True)])
    assert [each.generation.id for each in ledger.take_announcements()] == [told.id]


def test_rows_in_flight_are_those_that_nobody_living_holds(ledger: Ledger, clock: Clock) -> None:
    """A poller asks about what no run waits for."""
    held, idle = (submitted(ledger, a_plan(f"key-{n}"), ME, f"request-{n}") for n in range(2))
    ledger.release(idle.id, ME)
    assert [row.id for row in ledger.unheld([State.SUBMITTED])] == [idle.id]
    clock.sleep(ledger.lease_seconds + 1)
    assert {row.id for row in ledger.unheld([State.SUBMITTED])} == {held.id, idle.id}


def test_a_closed_rows_request_that_ran_after_all_is_kept(ledger: Ledger) -> None:
    """Its key's next claim adopts it, unpaid."""
    row = ledger.claim(a_plan(), ME).generation
    ledger.begin_post(row.id, ME)
    ledger.record(row.id, ReplyLost(attempt=1), owner=ME)
    ledger.record(row.id, Found("request-0", attempt=1), owner=ME)
    ledger.record(row.id, RemoteFailed("no", "no", request_id="request-0"))
    ledger.receive([Delivery(row.nonce, "request-1", True, DONE, confirmed=True)])
    assert [each.request_id for each in ledger.strays()] == ["request-1"]
