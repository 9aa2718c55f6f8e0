"""Who may send, take over and hand back, on both databases."""

import pytest
from ledger_parts import Clock, a_plan, an_owner, archived, completed, lost, submitted

from prefect_ltx.ledger import (
    Accepted,
    CancelRequested,
    Effect,
    Found,
    GenerationNotFound,
    LeaseLost,
    Ledger,
    NotSent,
    Owner,
    OwnerLost,
    PostNotPermitted,
    ProvablyAbsent,
    Rejected,
    RemoteFailed,
    ReplyLost,
    Resolved,
    State,
    Undecidable,
)

ME, YOU = an_owner("me"), an_owner("you")


def test_a_new_key_may_be_sent_once_and_its_price_is_reserved(ledger: Ledger) -> None:
    """The first claim writes the whole intent before anybody sends."""
    claim = ledger.claim(a_plan(tags=("film",), flow_run_id="run-1"), ME)

    assert (claim.outcome, claim.effects) == ("submit", (Effect.POST_ONCE,))
    row = ledger.get(claim.generation.id)
    assert (row.state, row.attempt, row.held_usd) == (State.INTENDED, 1, row.price_upper_usd)
    assert (row.tags, row.flow_run_id, row.asked["width"]) == (("film",), "run-1", 1536)
    assert row.body == a_plan().body


def test_a_claim_while_a_living_owner_works_is_busy(ledger: Ledger) -> None:
    """Nobody else gets the row while its lease runs."""
    row = ledger.claim(a_plan(), ME).generation

    assert ledger.claim(a_plan(), YOU).outcome == "busy"
    assert ledger.take(row.id, YOU).outcome == "busy"


def test_the_run_that_goes_on_with_a_row_is_the_one_whose_cancel_counts(ledger: Ledger, clock: Clock) -> None:
    """A hook that runs after its process is dead finds the generation by the flow run that took it over."""
    row = ledger.claim(a_plan(flow_run_id="run-1"), ME).generation
    clock.sleep(61)

    assert ledger.claim(a_plan(flow_run_id="run-2"), YOU).generation.flow_run_id == "run-2"
    assert [each.id for each in ledger.find(flow_run_id="run-2")] == [row.id]


def test_one_post_an_attempt(ledger: Ledger) -> None:
    """A second announcement for the same attempt is refused, whoever makes it."""
    row = ledger.claim(a_plan(), ME).generation
    ledger.begin_post(row.id, ME)

    with pytest.raises(PostNotPermitted, match="may have left already"):
        ledger.begin_post(row.id, ME)
    with pytest.raises(LeaseLost):
        ledger.begin_post(row.id, YOU)


def test_the_announcement_is_the_time_of_the_post(ledger: Ledger, clock: Clock) -> None:
    """Looking starts from when the POST could leave, and the lease starts anew."""
    row = ledger.claim(a_plan(), ME).generation
    clock.sleep(30)

    begun = ledger.begin_post(row.id, ME)

    assert (begun.posted_at - begun.created_at).total_seconds() == 30
    assert begun.lease_until is not None
    assert begun.lease_until.timestamp() == clock.now + 60


def test_a_lost_lease_before_the_post_lets_another_send(ledger: Ledger, clock: Clock) -> None:
    """An owner that announces its POSTs and had not announced one has sent nothing."""
    row = ledger.claim(a_plan(), ME).generation
    clock.sleep(61)

    assert ledger.claim(a_plan(), YOU).outcome == "submit"
    with pytest.raises(LeaseLost):
        ledger.begin_post(row.id, ME)
    assert ledger.begin_post(row.id, YOU).post_may_have_left


def test_a_lost_lease_after_the_post_is_looked_for_and_never_sent(ledger: Ledger, clock: Clock) -> None:
    """What may have left is UNKNOWN for the next owner."""
    row = ledger.claim(a_plan(), ME).generation
    ledger.begin_post(row.id, ME)
    clock.sleep(61)

    claim = ledger.claim(a_plan(), YOU)

    assert (claim.outcome, claim.generation.state) == ("resume", State.UNKNOWN)
    assert claim.effects == (Effect.RECONCILE,)
    assert claim.generation.unknown_at is not None


def test_an_owner_that_announces_nothing_is_taken_to_have_sent(ledger: Ledger, clock: Clock) -> None:
    """Without the promise to announce, the permission itself counts as the POST."""
    ledger.claim(a_plan(), an_owner("silent", announces_posts=False))
    clock.sleep(61)

    assert ledger.claim(a_plan(), YOU).generation.state is State.UNKNOWN


def test_the_same_owner_is_not_told_twice_to_send(ledger: Ledger) -> None:
    """Two coroutines of one owner cannot both take the permission for sent."""
    silent = an_owner("silent", announces_posts=False)
    ledger.claim(a_plan(), silent)

    assert ledger.claim(a_plan(), silent).outcome == "busy"


def test_renewing_keeps_the_row_and_fails_once_it_is_lost(ledger: Ledger, clock: Clock) -> None:
    """A lease lasts as long as it is renewed in time."""
    row = ledger.claim(a_plan(), ME).generation
    clock.sleep(50)
    assert ledger.renew(row.id, ME)
    clock.sleep(50)
    assert ledger.claim(a_plan(), YOU).outcome == "busy"

    clock.sleep(11)
    assert ledger.claim(a_plan(), YOU).outcome == "submit"
    assert not ledger.renew(row.id, ME)


def test_handing_back_lets_the_next_go_on_at_once(ledger: Ledger) -> None:
    """A clean exit waits for no lease; what may have been sent is looked for."""
    row = submitted(ledger, a_plan(), ME)
    ledger.release(row.id, ME)
    assert ledger.take(row.id, YOU).effects == (Effect.POLL,)

    other = ledger.claim(a_plan("key-2"), ME).generation
    ledger.begin_post(other.id, ME)
    ledger.release(other.id, YOU)
    assert ledger.get(other.id).state is State.INTENDED
    ledger.release(other.id, ME)
    assert ledger.get(other.id).state is State.UNKNOWN


def test_dead_leases_are_expired_once(ledger: Ledger, clock: Clock) -> None:
    """A sweep takes what nobody works on and leaves the rest alone."""
    dead = ledger.claim(a_plan("key-1"), ME).generation
    ledger.begin_post(dead.id, ME)
    clock.sleep(61)
    alive = ledger.claim(a_plan("key-2"), YOU).generation

    assert [row.id for row in ledger.expire_dead_leases()] == [dead.id]
    assert ledger.get(dead.id).state is State.UNKNOWN
    assert ledger.get(alive.id).state is State.INTENDED
    assert ledger.expire_dead_leases() == []


def test_an_archived_key_is_a_hit_for_ever(ledger: Ledger, clock: Clock) -> None:
    """The same request tomorrow costs nothing."""
    row = archived(ledger, a_plan(), ME)
    clock.sleep(400 * 86400)

    claim = ledger.claim(a_plan(), YOU)

    assert (claim.outcome, claim.generation.id, claim.effects) == ("done", row.id, ())


def test_parked_and_lost_rows_block_their_key(ledger: Ledger) -> None:
    """What may be paid for, or was, is not bought again by itself."""
    parked = ledger.claim(a_plan("key-1"), ME).generation
    ledger.begin_post(parked.id, ME)
    ledger.record(parked.id, ReplyLost("reset", attempt=1), owner=ME)
    ledger.record(parked.id, Undecidable("forbidden", "this key may not list", attempt=1), owner=ME)
    lost(ledger, completed(ledger, a_plan("key-2"), ME))

    assert ledger.claim(a_plan("key-1"), YOU).outcome == "parked"
    assert ledger.claim(a_plan("key-2"), YOU).outcome == "lost"
    assert ledger.get(parked.id).reason == "forbidden: this key may not list"


@pytest.mark.parametrize(
    "end",
    [
        Rejected("401", attempt=1),
        NotSent("no route", attempt=1),
        RemoteFailed("422", "no"),
        Resolved("write_off", by="me"),
    ],
)
def test_a_closed_key_may_be_sent_again_as_a_new_row(ledger: Ledger, end: object) -> None:
    """Closed rows are history; their number tells a retry which attempt it is."""
    row = ledger.claim(a_plan(), ME).generation
    if isinstance(end, RemoteFailed | Resolved):
        ledger.begin_post(row.id, ME)
        ledger.record(row.id, Accepted("request-1"), owner=ME)
    ledger.record(row.id, end, owner=ME)  # type: ignore[arg-type]

    assert ledger.released_attempts("key-1") == 1
    assert ledger.take(row.id, YOU).outcome == "closed"
    claim = ledger.claim(a_plan(), YOU)
    assert (claim.outcome, claim.generation.id != row.id) == ("submit", True)


def test_only_what_is_provably_absent_is_sent_again(ledger: Ledger) -> None:
    """The next attempt belongs to the owner that proved it, once."""
    row = ledger.claim(a_plan(), ME).generation
    ledger.begin_post(row.id, ME)
    ledger.record(row.id, ReplyLost("reset", attempt=1), owner=ME)
    with pytest.raises(PostNotPermitted):
        ledger.begin_post(row.id, ME)

    step = ledger.record(row.id, ProvablyAbsent(attempt=1), owner=ME)

    assert step.effects == (Effect.POST_ONCE,)
    assert ledger.begin_post(row.id, ME).attempt == 2
    with pytest.raises(PostNotPermitted):
        ledger.begin_post(row.id, ME)


@pytest.mark.parametrize(
    "event",
    [
        Rejected("402", attempt=1),
        NotSent("x", attempt=1),
        ProvablyAbsent(attempt=1),
        ReplyLost(attempt=1),
        Undecidable("ambiguous", attempt=1),
    ],
)
def test_decisions_need_the_lease(ledger: Ledger, clock: Clock, event: object) -> None:
    """Whoever lost the row decides nothing about it any more."""
    row = ledger.claim(a_plan(), ME).generation
    ledger.begin_post(row.id, ME)
    clock.sleep(61)
    ledger.claim(a_plan(), YOU)
    before = ledger.get(row.id)

    with pytest.raises(LeaseLost, match="test:1:you"):
        ledger.record(row.id, event, owner=ME)  # type: ignore[arg-type]
    assert ledger.get(row.id) == before


def test_facts_are_recorded_whoever_brings_them(ledger: Ledger, clock: Clock) -> None:
    """A late reply of a stale owner still names the request, and stops the search."""
    row = ledger.claim(a_plan(), ME).generation
    ledger.begin_post(row.id, ME)
    clock.sleep(61)
    ledger.claim(a_plan(), YOU)

    ledger.record(row.id, Accepted("request-1"), owner=ME)

    assert ledger.get(row.id).state is State.SUBMITTED
    assert ledger.get("request-1").id == row.id


def test_nobody_may_declare_a_living_owner_lost(ledger: Ledger, clock: Clock) -> None:
    """OwnerLost is true only when the lease is over."""
    row = ledger.claim(a_plan(), ME).generation
    ledger.begin_post(row.id, ME)
    with pytest.raises(LeaseLost):
        ledger.record(row.id, OwnerLost())
    clock.sleep(61)
    assert ledger.record(row.id, OwnerLost()).state is State.UNKNOWN


def test_a_cancel_before_the_post_forbids_it(ledger: Ledger) -> None:
    """A cancelled intent is released, and its owner may not send it any more."""
    row = ledger.claim(a_plan(), ME).generation
    ledger.record(row.id, CancelRequested("user"))

    with pytest.raises(PostNotPermitted, match="it was cancelled"):
        ledger.begin_post(row.id, ME)
    assert (ledger.get(row.id).state, ledger.get(row.id).held_nano) == (State.RELEASED, 0)


def test_a_drawn_seed_is_adopted_before_a_new_one_is_drawn(ledger: Ledger, clock: Clock) -> None:
    """Work that a dead run left behind goes on, each row with one adopter."""
    for name in ("key-1", "key-2"):
        row = ledger.claim(a_plan(name, seedless_key="like-this"), an_owner(name)).generation
        ledger.begin_post(row.id, an_owner(name))
        ledger.record(row.id, Accepted(f"request-{name}"))
    assert ledger.adopt_seedless("like-this", ME) is None

    clock.sleep(61)
    first, second = ledger.adopt_seedless("like-this", ME), ledger.adopt_seedless("like-this", YOU)

    assert first is not None
    assert second is not None
    assert {first.key, second.key} == {"key-1", "key-2"}
    assert ledger.adopt_seedless("like-this", an_owner("third")) is None
    assert ledger.take(first.id, ME).effects == (Effect.POLL,)


def test_an_adopted_intent_that_was_not_sent_is_sent_by_its_adopter(ledger: Ledger, clock: Clock) -> None:
    """After `adopt_seedless`, `claim` and `take` say what to do, also for an unsent intent."""
    ledger.claim(a_plan(), YOU)
    clock.sleep(61)

    adopted = ledger.adopt_seedless("seedless-key-1", ME)

    assert adopted is not None
    assert ledger.claim(a_plan(seed=adopted.seed), ME).outcome == "submit"
    ledger.begin_post(adopted.id, ME)


def test_seeds_of_users_and_rows_in_cancellation_are_not_adopted(ledger: Ledger, clock: Clock) -> None:
    """Only what this package drew, and only what somebody still wants."""
    submitted(ledger, a_plan("key-1", seedless_key="like-this", seed_drawn=False), YOU, "request-1")
    cancelled = submitted(ledger, a_plan("key-2", seedless_key="like-this"), YOU, "request-2")
    ledger.record(cancelled.id, CancelRequested("user"))
    archived(ledger, a_plan("key-3", seedless_key="like-this"), YOU, "request-3")
    clock.sleep(61)

    assert ledger.adopt_seedless("like-this", ME) is None


def test_two_rows_never_share_a_request(ledger: Ledger) -> None:
    """Looking for one row cannot take another's request."""
    submitted(ledger, a_plan("key-1"), YOU, "request-1")
    row = ledger.claim(a_plan("key-2"), ME).generation
    ledger.begin_post(row.id, ME)
    ledger.record(row.id, ReplyLost(attempt=1), owner=ME)

    with pytest.raises(Exception, match="belongs to generation"):
        ledger.record(row.id, Found("request-1", attempt=1), owner=ME)
    assert ledger.get(row.id).state is State.UNKNOWN


def test_a_dead_process_is_taken_over_without_waiting(ledger: Ledger) -> None:
    """A provably dead owner holds nothing."""
    here = Owner.here()
    gone = Owner(here.boot, here.namespace, here.pid, "1", "gone", here.host, announces_posts=True)
    if not here.boot:
        pytest.skip("no /proc here: only leases count")
    ledger.claim(a_plan(), gone)

    assert ledger.claim(a_plan(), ME).outcome == "submit"


def test_rows_are_found_by_id_prefix_and_request(ledger: Ledger) -> None:
    """People type the start of an id, or paste fal's."""
    row = submitted(ledger, a_plan(), ME, "0199-request")

    assert ledger.get(row.id[:8]).id == ledger.get("0199-request").id == ledger.get("0199-re").id == row.id
    for unknown in ("nothing", "%", "", row.id[:2]):
        with pytest.raises(GenerationNotFound, match="Nothing was sent or spent"):
            ledger.get(unknown)


def test_rows_are_found_by_what_they_are(ledger: Ledger) -> None:
    """Key, state, flow run, request, nonce and tag each narrow the list; the newest comes first."""
    one = submitted(ledger, a_plan("key-1", tags=("film", "test"), flow_run_id="run-1"), ME)
    two = ledger.claim(a_plan("key-2", tags=("film",)), ME).generation

    assert [row.id for row in ledger.find(tag="film", limit=1)] == [ledger.find(tag="film")[0].id]
    assert [row.id for row in ledger.find(flow_run_id="run-1")] == [one.id]
    assert [row.id for row in ledger.find(nonce=one.nonce)] == [one.id]
    assert [row.id for row in ledger.find(states=["INTENDED"])] == [two.id]  # type: ignore[list-item]
    assert ledger.find(live=False) == ledger.find(tag="other") == []
    assert {row.id for row in ledger.unfinished()} == {one.id, two.id}


def test_what_a_run_handed_back_is_its_own(ledger: Ledger, clock: Clock) -> None:
    """A run that submits and ends has its row still, whoever looked at it since; one that failed or died has not."""
    row = submitted(ledger, a_plan(seedless_key="like-this"), YOU)
    ledger.release(row.id, YOU)
    assert ledger.adopt_seedless("like-this", ME) is None

    looking = an_owner("sweep")
    ledger.take(row.id, looking)
    clock.sleep(61)
    ledger.expire_dead_leases()  # the sweep died over it
    assert ledger.adopt_seedless("like-this", ME) is None

    ledger.leave_behind([row.key], YOU)
    adopted = ledger.adopt_seedless("like-this", ME)
    assert adopted is not None
    assert adopted.id == row.id
    ledger.release(row.id, ME)
    assert ledger.adopt_seedless("like-this", an_owner("third")) is None


def test_a_dead_run_left_its_row_although_the_sweep_looked_at_it(ledger: Ledger, clock: Clock) -> None:
    """That a lease ran out is remembered: after a sweep the next run still finds what was paid for."""
    row = submitted(ledger, a_plan(seedless_key="like-this"), YOU)
    clock.sleep(61)
    looking = an_owner("sweep")
    assert ledger.take(row.id, looking).outcome == "resume"
    ledger.release(row.id, looking)
    adopted = ledger.adopt_seedless("like-this", ME)
    assert adopted is not None
    assert adopted.id == row.id
