"""The event log, strays and double charges, uploads, and what never leaves the database."""

import json
import pickle
import sqlite3
from decimal import Decimal
from pathlib import Path

from ledger_parts import ENDPOINT, SIGNED, VIDEO, Clock, a_plan, an_owner, archived, completed, submitted

from prefect_ltx.ledger import (
    Accepted,
    CancelRequested,
    Collected,
    Effect,
    Found,
    Ledger,
    NotSent,
    ProvablyAbsent,
    RemoteCompleted,
    RemoteFailed,
    ReplyLost,
    State,
    WebhookReceived,
)

ME, YOU = an_owner("me"), an_owner("you")
SECRETS = ("topsecret", "alsosecret", "X-Signature", "token=", "an expanded prompt", "a copper pan")


def test_every_event_is_a_line_of_history(ledger: Ledger) -> None:
    """Who, when, from where to where, why; ignored events and takeovers too."""
    row = archived(ledger, a_plan(), ME)
    ledger.record(row.id, RemoteFailed("late", "no"), actor="webhook")

    lines = ledger.events(row.id)

    assert [line.event for line in lines] == [
        "Intended",
        "Taken",
        "PostStarted",
        "Accepted",
        "RemoteCompleted",
        "Collected",
        "Archived",
        "RemoteFailed",
    ]
    assert (lines[3].from_state, lines[3].to_state) == (State.INTENDED, State.SUBMITTED)
    assert (lines[3].actor, lines[3].effects, lines[3].detail) == (
        ME.label,
        (Effect.POLL,),
        {"request_id": "request-1"},
    )
    assert (lines[-1].actor, lines[-1].outcome, lines[-1].to_state) == ("webhook", "ignored", State.ARCHIVED)
    assert all(line.because for line in lines[2:])


def test_history_messages_and_reprs_hold_no_url_prompt_or_nonce(ledger: Ledger) -> None:
    """What may be signed stays in the row's own columns."""
    row = completed(ledger, a_plan(), ME)
    ledger.record(row.id, RemoteFailed(f"could not read {SIGNED}", "maybe", "request-2"))
    ledger.record(row.id, Collected("a" * 64, 1, "/home/somebody/video.mp4"))
    row = ledger.get(row.id)
    lines = ledger.events(row.id)

    shown = "".join(map(repr, [row, lines, a_plan(), RemoteCompleted(VIDEO), ledger]))
    shown += json.dumps([line.detail for line in lines])
    assert row.video_url == VIDEO
    assert [secret for secret in (*SECRETS, row.nonce, "/home/somebody") if secret in shown] == []


def test_a_second_request_is_a_double_charge_of_its_row(ledger: Ledger) -> None:
    """It is reported with both ids, counted once, and claimed, so that no other row takes it."""
    row = submitted(ledger, a_plan(), ME)
    for _ in range(2):
        step = ledger.record(row.id, Accepted("request-2"))
        assert step.effects == (Effect.REPORT_DOUBLE_CHARGE, Effect.NOTIFY_PERSON)

    (double,) = ledger.double_charges()
    assert (double.id, double.request_id, double.extra_request_ids) == (row.id, "request-1", ("request-2",))
    assert ledger.claimed_request_ids(ENDPOINT) == {"request-1", "request-2"}
    assert ledger.claimed_request_ids("another") == frozenset()
    assert ledger.is_claimed("request-2")
    assert not ledger.is_claimed("request-3")


def test_further_matches_of_a_search_are_double_charges(ledger: Ledger) -> None:
    """The earliest is adopted, the others are kept and shown."""
    row = ledger.claim(a_plan(), ME).generation
    ledger.begin_post(row.id, ME)
    ledger.record(row.id, ReplyLost(attempt=1), owner=ME)

    step = ledger.record(row.id, Found("request-1", ("request-2", "request-3"), attempt=1), owner=ME)

    assert Effect.REPORT_DOUBLE_CHARGE in step.effects
    assert ledger.get(row.id).request_id == "request-1"
    assert ledger.double_charges()[0].extra_request_ids == ("request-2", "request-3")


def test_a_request_that_ran_after_all_is_adopted_unpaid(ledger: Ledger) -> None:
    """The next claim of the key goes on with it, with no POST and no budget."""
    row = ledger.claim(a_plan(), ME).generation
    ledger.begin_post(row.id, ME)
    ledger.record(row.id, NotSent("looked like no connection", attempt=1), owner=ME)
    step = ledger.record(row.id, WebhookReceived("request-1", ok=True))
    assert step.effects == (Effect.KEEP_STRAY, Effect.NOTIFY_PERSON)

    claim = ledger.claim(a_plan(), YOU, limits=[])

    assert (claim.outcome, claim.generation.state) == ("resume", State.SUBMITTED)
    assert (claim.generation.request_id, claim.generation.id != row.id) == ("request-1", True)
    assert claim.effects == (Effect.POLL,)
    (stray,) = ledger.strays(key="key-1")
    assert (stray.kind, stray.adopted_by) == ("ran_after_all", claim.generation.id)
    assert ledger.double_charges() == []
    assert ledger.strays(adopted=False) == []


def test_a_sweep_adopts_what_ran_after_all(ledger: Ledger) -> None:
    """A paid video whose row was closed is collected even if nobody asks for it again; once."""
    row = submitted(ledger, a_plan(tags=("film",)), ME)
    ledger.record(row.id, RemoteFailed("500", "no"))
    ledger.record(row.id, RemoteCompleted(VIDEO), actor="webhook")

    claim = ledger.adopt_stray("request-1", YOU)

    assert claim is not None
    adopted = claim.generation
    assert (adopted.state, adopted.request_id, adopted.tags) == (State.SUBMITTED, "request-1", ("film",))
    assert (adopted.body, adopted.price_upper_usd) == (row.body, row.price_upper_usd)
    assert ledger.adopt_stray("request-1", YOU) is None
    assert ledger.adopt_stray("unknown", YOU) is None


def test_a_double_charge_of_a_living_row_is_not_adopted(ledger: Ledger) -> None:
    """The key has its video already."""
    row = archived(ledger, a_plan(), ME)
    ledger.record(row.id, Accepted("request-2"))
    assert ledger.adopt_stray("request-2", YOU) is None


def test_absence_is_not_believed_while_a_stray_of_the_key_is_known(ledger: Ledger) -> None:
    """A request that ran for an earlier row is taken instead of sending the next attempt."""
    first = ledger.claim(a_plan(), ME).generation
    ledger.record(first.id, NotSent("x", attempt=1), owner=ME)
    second = ledger.claim(a_plan(), ME).generation
    ledger.begin_post(second.id, ME)
    ledger.record(second.id, ReplyLost(attempt=1), owner=ME)
    ledger.record(first.id, Found("request-1", attempt=1))

    step = ledger.record(second.id, ProvablyAbsent(attempt=1), owner=ME)

    assert (step.state, ledger.get(second.id).request_id) == (State.SUBMITTED, "request-1")


def test_who_cancelled_and_when_it_was_too_late_is_kept(ledger: Ledger) -> None:
    """A cancel that came too late is recorded with what it cost."""
    row = submitted(ledger, a_plan(), ME)
    ledger.record(row.id, CancelRequested("ada in the UI"))
    ledger.record(row.id, RemoteCompleted(VIDEO, units=Decimal(1), usd=Decimal("0.2")))

    row = ledger.get(row.id)
    assert (row.cancel_requested, row.cancel_was_too_late, row.cancel_by) == (True, True, "ada in the UI")
    assert row.settled_usd == Decimal("0.2")


def test_uploads_are_found_while_they_last(ledger: Ledger, clock: Clock) -> None:
    """By account and content; one that would expire too soon is not used."""
    ledger.save_upload("account-1", "a" * 64, "https://cdn/1", "image/png", 10, expires_at=clock.now + 3600)
    ledger.save_upload("account-1", "b" * 64, "https://cdn/old")
    ledger.save_upload("account-1", "b" * 64, "https://cdn/new")

    assert ledger.find_upload("account-1", "a" * 64) == "https://cdn/1"
    assert ledger.find_upload("account-1", "a" * 64, valid_for=3600) is None
    assert ledger.find_upload("account-1", "a" * 64, now=clock.now + 3601) is None
    assert ledger.find_upload("account-1", "b" * 64, now=clock.now + 10**9) == "https://cdn/new"
    assert ledger.find_upload("account-2", "a" * 64) is None


def test_rows_and_claims_cross_processes(ledger: Ledger) -> None:
    """Values can be pickled and compare equal."""
    claim = ledger.claim(a_plan(), ME)
    assert pickle.loads(pickle.dumps(claim)) == claim


def test_a_reader_sees_the_last_commit_while_somebody_writes(tmp_path: Path) -> None:
    """On SQLite, too, reading waits for no writer."""
    path = tmp_path / "ledger.db"
    ledger = Ledger(f"sqlite:///{path}")
    row = ledger.claim(a_plan(), ME).generation
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE ltx_generation SET reason = 'half-way'")
    try:
        assert ledger.get(row.id).reason is None
    finally:
        writer.execute("ROLLBACK")
        writer.close()
        ledger.close()
