"""The pure machine: total, monotone, and every path ends. Explored exhaustively over a small world of events."""

from collections import defaultdict
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest

from prefect_ltx.ledger import (
    CLOSED,
    LIVE,
    RANK,
    Accepted,
    Archived,
    CancelAnswered,
    CancelRequested,
    Collected,
    Effect,
    Event,
    FailsToSay,
    Found,
    GoneSaid,
    LookedAt,
    NotSent,
    OwnerLost,
    PostStarted,
    ProvablyAbsent,
    Rejected,
    RemoteCancelled,
    RemoteCompleted,
    RemoteFailed,
    ReplyLost,
    Resolved,
    Settled,
    Snapshot,
    State,
    Step,
    StillRunning,
    Undecidable,
    WebhookReceived,
    advance,
    todo,
)
from prefect_ltx.ledger.life.diagram import page
from prefect_ltx.ledger.life.events import EVENT_TYPES
from prefect_ltx.ledger.life.machine import RULES
from prefect_ltx.ledger.life.rule import ALWAYS
from prefect_ltx.ledger.life.states import WITHOUT_REQUEST

USD = Decimal("0.25")
EVENTS: tuple[Event, ...] = (
    *(Accepted(name) for name in "ab"),
    *(
        event
        for attempt in (1, 2)
        for event in (
            PostStarted(attempt=attempt),
            Rejected("401", attempt=attempt),
            NotSent("refused", attempt=attempt),
            ReplyLost("reset", attempt=attempt),
            LookedAt(0.0, attempt=attempt),
            ProvablyAbsent(attempt=attempt),
            Undecidable("ambiguous", attempt=attempt),
        )
    ),
    OwnerLost(),
    Found("a", attempt=1),
    Found("a", others=("b",), attempt=1),
    *(
        RemoteCompleted("https://v", usd=usd, request_id=name)
        for usd in (None, USD)
        for name in (None, "a", "b")
    ),
    *(RemoteFailed("x", billed, name) for billed in ("no", "maybe") for name in (None, "a", "b")),
    *(RemoteCancelled(billed, name) for billed in ("no", "maybe") for name in (None, "a", "b")),
    StillRunning(),
    FailsToSay("HTTP 500"),
    *(GoneSaid(at, "404") for at in (0.0, 200.0)),
    *(Collected(digest * 64, 1) for digest in "12"),
    Archived("file:///x", "f", "c" * 64),
    CancelRequested("user"),
    CancelAnswered("cancelled"),
    CancelAnswered("requested"),
    CancelAnswered("already_completed"),
    CancelAnswered("not_found"),
    Settled(None, USD, "billable_units"),
    Settled(None, USD, "billing_events"),
    *(WebhookReceived(name, ok) for name in "ab" for ok in (True, False)),
    Resolved("adopt"),
    *(Resolved("adopt", name) for name in "ab"),
    Resolved("absent"),
    Resolved("write_off"),
)
FRESH = Snapshot(State.INTENDED, post_may_have_left=False)
SILENT = Snapshot(State.INTENDED, post_may_have_left=True)
MOST_ATTEMPTS = 2


@cache
def reachable() -> frozenset[Snapshot]:
    """Every row that any sequence of these events can lead to, with at most two attempts."""
    seen, todo_list = set(), [FRESH, SILENT]
    while todo_list:
        row = todo_list.pop()
        if row in seen or row.attempt > MOST_ATTEMPTS:
            continue
        seen.add(row)
        todo_list += [advance(row, event).after for event in EVENTS]
    return frozenset(seen)


@cache
def steps() -> tuple[tuple[Event, Step], ...]:
    """Every event in every such row, and what it does."""
    return tuple((event, advance(row, event)) for row in reachable() for event in EVENTS)


def test_every_pair_of_state_and_event_has_an_outcome_of_its_own() -> None:
    """The table ends in an unguarded rule for each of the pairs."""
    assert {type(event) for event in EVENTS} == set(EVENT_TYPES)
    for state in State:
        for event in EVENT_TYPES:
            rules = [rule for rule in RULES if state in rule.states and rule.event is event]
            assert rules[-1].when is ALWAYS, (state, event)


def test_a_bare_state_is_enough() -> None:
    """A caller without a row gets the careful answer."""
    for state in State:
        for event in EVENTS:
            assert advance(state, event).state in State


def test_attempt_and_rank_never_go_down() -> None:
    """The one way back to INTENDED is a new attempt after proof of absence; what is asked again is SUBMITTED again."""
    for event, step in steps():
        before, after = step.before, step.after
        if before.state is State.LOST or isinstance(event, Resolved):
            assert RANK[after.state] >= RANK[State.SUBMITTED] or before.state is after.state
        else:
            assert (after.attempt, RANK[after.state]) >= (before.attempt, RANK[before.state]), (before, event)
        if after.attempt > before.attempt:
            assert (before.state, type(event), after.state) == (State.UNKNOWN, ProvablyAbsent, State.INTENDED)
            assert event.attempt == before.attempt
            assert Effect.POST_ONCE in step.effects


def test_what_is_archived_never_changes() -> None:
    """Only its settlement may."""
    for event, step in steps():
        if step.before.state is State.ARCHIVED:
            assert step.state is State.ARCHIVED
            assert step.after.sha256 == step.before.sha256
            assert step.after == step.before or isinstance(event, Settled)


def test_collected_bytes_never_change() -> None:
    """A file that is fetched again must be the same one."""
    for event, step in steps():
        if step.before.sha256 is not None:
            assert step.after.sha256 == step.before.sha256, (step.before, event)


def test_a_request_id_never_changes_and_a_second_one_is_never_dropped() -> None:
    """A row goes on with its first request; others are kept beside it, also after it is closed."""
    naming_a_run = Accepted | Found | WebhookReceived | RemoteCompleted
    for event, step in steps():
        before, after = step.before, step.after
        if before.request_id is not None:
            assert after.request_id == before.request_id
        if isinstance(event, naming_a_run) and event.request_id is not None:
            known = {after.request_id, *step.strays}
            assert event.request_id in known, (before, event)
            assert set(event.others if isinstance(event, Found) else ()) <= known, (before, event)
        if step.strays:
            assert {Effect.REPORT_DOUBLE_CHARGE, Effect.KEEP_STRAY} & set(step.effects)
            assert step.state is before.state or isinstance(event, Found)


def test_only_a_fresh_attempt_asks_for_a_post() -> None:
    """POST_ONCE follows proof of absence, or an attempt that was not begun; nothing else."""
    for event, step in steps():
        if Effect.POST_ONCE in step.effects:
            assert isinstance(event, ProvablyAbsent | OwnerLost)
            assert not isinstance(event, ProvablyAbsent) or event.attempt == step.before.attempt
            assert (step.state, step.after.post_may_have_left) == (State.INTENDED, False)
            assert step.before.state is State.UNKNOWN or not step.before.post_may_have_left
            assert step.after.cancel == "none"


def test_a_verdict_about_another_attempt_changes_nothing() -> None:
    """Whatever was found out about one POST says nothing about another; only a request id counts whoever names it."""
    for event, step in steps():
        attempt = getattr(event, "attempt", None)
        if attempt not in (None, step.before.attempt) and not isinstance(event, Found):
            assert (step.outcome, step.after) == ("ignored", step.before), (step.before, event)


def test_nothing_is_lost_by_one_word() -> None:
    """LOST takes fal's word twice, minutes apart, with nothing to the contrary in between."""
    for event, step in steps():
        if step.state is State.LOST and step.before.state is not State.LOST and isinstance(event, GoneSaid):
            assert step.before.gone_at is not None
            assert event.at >= step.before.gone_at + 180
        if isinstance(event, RemoteCompleted | StillRunning) and step.outcome == "recorded":
            assert step.after.gone_at is None or step.state in (State.COMPLETED, State.COLLECTED)


def test_what_is_lost_can_be_found_again() -> None:
    """A result that turns up is a result, and a request that runs is waited for."""
    lost = Snapshot(State.LOST, request_id="a", gone_at=0.0)
    assert advance(lost, RemoteCompleted("https://v")).state is State.COMPLETED
    assert advance(lost, StillRunning()).state is State.SUBMITTED
    assert advance(lost, GoneSaid(1e9)).state is State.LOST


@pytest.mark.parametrize("state", [State.LOST, State.COMPLETED])
def test_what_a_person_adopts_goes_through_the_result(state: State) -> None:
    """Nothing is completed without the address of a video: fal is asked by id."""
    step = advance(Snapshot(state, request_id="a", gone_at=0.0), Resolved("adopt", "a", by="ada"))
    assert (step.state, step.effects, step.after.gone_at) == (State.SUBMITTED, (Effect.POLL,), None)


def test_a_key_is_freed_only_where_nothing_may_be_left_running() -> None:
    """A row that may have been sent closes by fal's word, by its owner's, or by a person's."""
    words = (
        Rejected
        | NotSent
        | ProvablyAbsent
        | Resolved
        | RemoteFailed
        | RemoteCancelled
        | CancelAnswered
        | CancelRequested
    )
    for event, step in steps():
        if step.before.state in LIVE and step.state in CLOSED:
            assert isinstance(event, words), event
            if isinstance(event, CancelRequested):
                assert not step.before.post_may_have_left
            if isinstance(event, Rejected | NotSent):
                assert step.before.state is State.INTENDED
            if step.before.video_seen:
                assert isinstance(event, Resolved)


def test_rows_with_a_request_know_its_id() -> None:
    """From SUBMITTED on there is an id to ask by; before, there is none."""
    for row in reachable():
        if row.state in LIVE:
            assert (row.request_id is None) == (row.state in WITHOUT_REQUEST), row


def test_money_facts_fit_the_state() -> None:
    """Released means nothing is owed, and a hold is released exactly where nothing is."""
    for event, step in steps():
        if step.state is State.RELEASED:
            assert step.after.billed == "no"
        if Effect.RELEASE_HOLD in step.effects:
            assert step.state in CLOSED
            assert step.after.billed == "no", (step.before, event)


def test_every_path_ends() -> None:
    """From every reachable row some sequence of deliverable events closes or archives it."""
    ended = {row for row in reachable() if row.state in CLOSED or row.state is State.ARCHIVED}
    leads_to = defaultdict(set)
    for _, step in steps():
        leads_to[step.after].add(step.before)
    todo_list = list(ended)
    while todo_list:
        more = leads_to[todo_list.pop()] - ended
        ended |= more
        todo_list += more
    assert ended == reachable()


def test_every_live_row_has_something_to_do_or_a_lease_to_wait_for() -> None:
    """`todo` is empty only where it is finished, or where an owner may be sending."""
    for row in reachable():
        if not todo(row):
            assert row.state not in LIVE - {State.ARCHIVED} or (
                row.state is State.INTENDED and row.post_may_have_left
            )


def test_no_rule_is_dead() -> None:
    """Every line of the table decides something that can happen."""
    used = set()
    for row in reachable():
        for event in EVENTS:
            rules = [rule for rule in RULES if row.state in rule.states and rule.event is type(event)]
            used.add(id(next(rule for rule in rules if rule.when.holds(row, event))))
    assert [rule for rule in RULES if id(rule) not in used] == []


def test_every_transition_says_which_fact_it_rests_on() -> None:
    """A section of the wire's fact sheet, or the design's own rule; a stated no-op says why in words."""
    for rule in RULES:
        assert rule.because
        if rule.to is not None or rule.outcome == "stray":
            assert "§" in rule.because or rule.because.startswith("design, "), rule


def test_the_page_in_docs_is_the_table() -> None:
    """docs/ledger-states.md is generated: `python -m prefect_ltx.ledger.life.diagram docs`."""
    docs = Path(__file__).parents[2] / "docs" / "ledger-states.md"
    assert docs.read_text() == page()


@pytest.mark.parametrize("state", [State.UNKNOWN, State.PARKED])
def test_a_cancel_while_unknown_looks_first_and_cancels_then(state: State) -> None:
    """Cancelling needs the id; once it is known the cancel goes out."""
    wanted = advance(Snapshot(state), CancelRequested("user"))
    assert wanted.effects == (Effect.RECONCILE,)
    assert advance(wanted.after, Found("a", attempt=1)).effects == (Effect.PUT_CANCEL, Effect.POLL)


def test_a_cancel_that_waited_is_not_followed_by_a_new_attempt() -> None:
    """What provably never ran, and nobody wants, is released."""
    row = advance(Snapshot(State.UNKNOWN), CancelRequested("user")).after
    assert advance(row, ProvablyAbsent(attempt=1)).state is State.RELEASED


def test_a_cancel_that_came_too_late_is_marked_and_the_video_is_kept() -> None:
    """The paid video is collected all the same."""
    row = advance(Snapshot(State.SUBMITTED, request_id="a"), CancelRequested("user")).after
    row = advance(row, CancelAnswered("already_completed")).after
    done = advance(row, RemoteCompleted("https://v"))
    assert (done.after.cancel, done.state) == ("too_late", State.COMPLETED)
    assert Effect.DOWNLOAD in done.effects


def test_a_refusal_after_a_lost_reply_frees_nothing() -> None:
    """A layer that repeated the POST would make the second answer a refusal while the first one runs."""
    row = advance(Snapshot(State.INTENDED), ReplyLost("reset", attempt=1)).after
    assert advance(row, Rejected("409", attempt=1)).outcome == "ignored"


def test_a_result_after_the_end_is_kept_for_the_next_claim() -> None:
    """fal's last word was a failure; a video that comes later is still paid for."""
    for state in (State.FAILED, State.CANCELLED, State.WRITTEN_OFF):
        step = advance(Snapshot(state, request_id="a"), RemoteCompleted("https://v"))
        assert (step.outcome, step.strays) == ("stray", ("a",))
        assert Effect.KEEP_STRAY in step.effects
