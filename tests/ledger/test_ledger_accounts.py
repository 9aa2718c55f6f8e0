"""Whose rows are whose: another account's row is seen and counted, and touched by nothing."""

from collections.abc import Callable

import pytest
from ledger_parts import Clock, a_plan, an_owner, completed, submitted

from prefect_ltx.ledger import (
    Accepted,
    AnotherAccount,
    CancelRequested,
    Delivery,
    GoneSaid,
    Ledger,
    NotSent,
    ProvablyAbsent,
    RemoteCompleted,
    ReplyLost,
    Resolved,
    State,
)

ME = an_owner("me")
FAL, EMBEDDED = "fal.ai", "embedded:1"


@pytest.fixture
def others(ledger_url: str, clock: Clock) -> Ledger:
    """The same database, used in another account's name."""
    return Ledger(ledger_url, clock=clock, lease_seconds=60).acting_for("account-2", FAL)


def touches() -> dict[str, Callable[[Ledger, str], object]]:
    return {
        "take": lambda ledger, row: ledger.take(row, ME),
        "begin_post": lambda ledger, row: ledger.begin_post(row, ME),
        "cancel": lambda ledger, row: ledger.record(row, CancelRequested("ada")),
        "adopt": lambda ledger, row: ledger.record(row, Resolved("adopt", "request-9", by="ada")),
        "absent": lambda ledger, row: ledger.record(row, Resolved("absent", by="ada")),
        "write off": lambda ledger, row: ledger.record(row, Resolved("write_off", by="ada")),
        "gone": lambda ledger, row: ledger.record(row, GoneSaid(1.0)),
        "absence": lambda ledger, row: ledger.record(row, ProvablyAbsent(attempt=1), owner=ME),
        "an id": lambda ledger, row: ledger.record_and_get(row, Accepted("request-9")),
        "a result": lambda ledger, row: ledger.record(row, RemoteCompleted("https://v")),
        "a reuse": lambda ledger, row: ledger.note_reuse(row),
    }


@pytest.mark.parametrize("how", touches())
@pytest.mark.parametrize("state", [State.INTENDED, State.UNKNOWN, State.SUBMITTED, State.COMPLETED])
def test_another_account_s_row_is_left_alone(ledger: Ledger, others: Ledger, how: str, state: State) -> None:
    """Whatever is done to it in this account's name, it is as it was, with its history."""
    ledger.acting_for("account-1", FAL)
    if state in (State.INTENDED, State.UNKNOWN):
        row = ledger.claim(a_plan(), ME).generation
        if state is State.UNKNOWN:
            ledger.begin_post(row.id, ME)
            ledger.record(row.id, ReplyLost(attempt=1), owner=ME)
    else:
        row = submitted(ledger, a_plan(), ME) if state is State.SUBMITTED else completed(ledger, a_plan(), ME)
    before = ledger.get(row.id), ledger.events(row.id)
    with pytest.raises(AnotherAccount, match=r"another account's.*left alone; nothing was sent or spent"):
        touches()[how](others, row.id)
    assert (ledger.get(row.id), ledger.events(row.id)) == before
    others.close()


def test_another_service_is_as_foreign_as_another_account(ledger: Ledger) -> None:
    """One key may be used with fal and with an embedded server: their requests have nothing to do with each other."""
    row = submitted(ledger.acting_for("account-1", EMBEDDED), a_plan(), ME)
    with pytest.raises(AnotherAccount, match=EMBEDDED):
        ledger.acting_for("account-1", FAL).record(row.id, GoneSaid(1.0))
    assert ledger.acting_for("account-1", EMBEDDED).record(row.id, GoneSaid(1.0)).outcome == "recorded"


def test_reading_shows_all_rows_and_counts_the_others(ledger: Ledger, others: Ledger) -> None:
    """They are listed, and the account's own are told apart."""
    row = submitted(ledger.acting_for("account-1", FAL), a_plan(), ME)
    ledger.release(row.id, ME)
    assert [each.id for each in others.unfinished()] == [row.id]
    assert (others.others(), ledger.others()) == (1, 0)
    assert (others.is_ours(row), ledger.is_ours(row)) == (False, True)
    assert (others.due(), [each.id for each in ledger.due()]) == ([], [row.id])
    others.close()


def test_a_sweep_of_another_account_ends_no_lease_and_announces_nothing(
    ledger: Ledger, others: Ledger, clock: Clock
) -> None:
    """Also where the owner is dead: its own account's sweep looks after it."""
    ledger.acting_for("account-1", FAL)
    row = ledger.claim(a_plan(), ME).generation
    ledger.begin_post(row.id, ME)
    done = completed(ledger, a_plan("done"), ME, "request-2")
    clock.sleep(3600)
    assert others.expire_dead_leases() == []
    assert others.take_announcements() == []
    assert ledger.get(row.id).state is State.INTENDED
    assert [each.generation.id for each in ledger.take_announcements()] == [done.id]
    assert ledger.get(row.id).id in {each.id for each in ledger.expire_dead_leases()}
    others.close()


def test_a_webhook_for_another_account_s_row_changes_nothing(ledger: Ledger, others: Ledger) -> None:
    """It was verified with this account's keys, so it can only be about its own requests."""
    row = submitted(ledger.acting_for("account-1", FAL), a_plan(), ME)
    given = Delivery(row.nonce, "request-1", True, RemoteCompleted("https://v"), confirmed=True)
    (receipt,) = others.receive([given])
    assert (receipt.outcome, receipt.moved) == ("another account", False)
    assert ledger.get(row.id).state is State.SUBMITTED
    assert ledger.receive([given])[0].outcome == "recorded"
    others.close()


def test_strays_and_seedless_rows_are_adopted_by_their_own_account(ledger: Ledger, others: Ledger) -> None:
    """A request that ran after all is paid by the account that sent it."""
    ledger.acting_for("account-1", FAL)
    row = ledger.claim(a_plan(), ME).generation
    ledger.record(row.id, NotSent("refused", attempt=1), owner=ME)
    ledger.record(row.id, Accepted("request-late"))
    with pytest.raises(AnotherAccount):
        others.adopt_stray("request-late", ME)
    open_one = ledger.claim(a_plan("b"), ME).generation
    ledger.release(open_one.id, ME)
    assert others.adopt_seedless("seedless-b", an_owner("x")) is None
    adopted = ledger.adopt_stray("request-late", ME)
    assert adopted is not None
    assert adopted.generation.request_id == "request-late"
    others.close()


def test_a_plan_of_another_account_is_not_written_down(ledger: Ledger) -> None:
    """The key was computed for somebody else's account."""
    with pytest.raises(AnotherAccount):
        ledger.acting_for("account-2", FAL).claim(a_plan(), ME)
    assert ledger.unfinished() == []


def test_a_row_that_names_no_service_goes_by_its_account(ledger: Ledger) -> None:
    """Rows of older ledgers belong to whoever has their account's id."""
    row = submitted(ledger, a_plan(), ME)
    assert row.service == ""
    assert ledger.acting_for("account-1", FAL).record(row.id, GoneSaid(1.0)).outcome == "recorded"
    with pytest.raises(AnotherAccount):
        ledger.acting_for("account-2", FAL).record(row.id, GoneSaid(2.0))


def test_an_account_is_known_by_every_key_that_was_used_for_it(ledger: Ledger, clock: Clock) -> None:
    """A rotated key is another line of the same account; a name is kept as it was given last."""
    first = ledger.note_account("key-1", FAL, "account-1", name="team", named_by="user")
    clock.sleep(10)
    ledger.note_account("key-2", FAL, "account-1", name="team", named_by="user")
    again = ledger.note_account("key-1", FAL, "account-1", name="te\0am \ud83d", named_by="fal")
    assert (again.first_seen, again.last_seen) == (first.first_seen, clock.now)
    assert {each.account for each in ledger.accounts(service=FAL)} == {"account-1"}
    assert [each.key_id for each in ledger.accounts(service=FAL, key_id="key-2")] == ["key-2"]
    assert ledger.accounts(service=EMBEDDED) == []
    assert "\0" not in (ledger.accounts(key_id="key-1")[0].name or "")


def test_the_accounts_that_have_rows_are_known_without_their_keys(ledger: Ledger) -> None:
    """A ledger from before accounts were written down still says whose rows it has."""
    submitted(ledger, a_plan(), ME)
    assert ledger.accounts_of_rows(FAL) == ["account-1"]
