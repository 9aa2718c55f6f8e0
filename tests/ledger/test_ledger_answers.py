"""What one answer proves: every answer to every question, from everybody who may have given it."""

from dataclasses import replace
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from ledger_parts import Clock, a_plan, an_owner, submitted

from prefect_ltx.fal import (
    FalAuthenticationError,
    FalDownloadError,
    FalError,
    FalGateway,
    FalGenerationCancelled,
    FalGenerationFailed,
    FalNotFound,
    FalNotSent,
    FalPermissionDenied,
    FalProtocolError,
    FalRateLimited,
    FalRequestInvalid,
    FalRequestRejected,
    FalResultExpired,
    FalResultNotReady,
    FalSubmitUnknown,
    FalUnavailable,
    FalValidationError,
    FieldProblem,
    GeneratedVideo,
    GenerationResult,
    Heard,
    Moment,
    QueueStatus,
    SubmitReceipt,
)
from prefect_ltx.ledger import (
    Accepted,
    CancelAnswered,
    FailsToSay,
    Generation,
    GoneSaid,
    Ledger,
    NotSent,
    Rejected,
    RemoteCancelled,
    RemoteCompleted,
    RemoteFailed,
    ReplyLost,
    State,
    StillRunning,
)
from prefect_ltx.ledger.life.answers import ANSWERS, Asked
from prefect_ltx.ledger.life.evidence import Trust, about, what_it_proves

QUESTIONS: tuple[Asked, ...] = ("submit", "status", "result", "cancel", "file")
AT = Moment(1000.0, 1003.0)
TRUST = Trust(gone_apart=60)
ERRORS: tuple[type[FalError], ...] = (
    *(FalRequestInvalid, FalNotSent, FalSubmitUnknown, FalRequestRejected, FalAuthenticationError),
    *(FalPermissionDenied, FalNotFound, FalRateLimited, FalValidationError, FalGenerationFailed),
    *(
        FalGenerationCancelled,
        FalResultNotReady,
        FalResultExpired,
        FalUnavailable,
        FalGateway,
        FalProtocolError,
    ),
)
A_VIDEO = GenerationResult(
    video=GeneratedVideo.model_validate({"video": {"url": "https://cdn.example/v.mp4"}}),
    request_id="request-1",
)
CLOSING = (RemoteCompleted, RemoteFailed, RemoteCancelled, Rejected, GoneSaid, CancelAnswered, StillRunning)
"""Events that only fal itself can bring about."""


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    """A submitted row of account-1 on fal.ai."""
    with Ledger(f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'l.db'}", clock=Clock()) as ledger:
        return submitted(ledger.acting_for("account-1", "fal.ai"), a_plan(), an_owner())


def proves(
    asked: Asked, row: Generation, reply: Any, *, account: str = "account-1", service: str = "fal.ai"
) -> Any:
    return what_it_proves(asked, row, about(row, account=account, service=service), reply, TRUST)


def error(kind: type[FalError], by: Any = "fal", at: Moment | None = AT, **more: Any) -> FalError:
    made = kind("something happened", **more)
    made.heard = Heard(by, at)
    return made


def status(name: str) -> QueueStatus:
    return QueueStatus.model_validate({"status": name, "request_id": "request-1", "heard": Heard("fal", AT)})


def test_only_fal_s_own_words_close_a_row(row: Generation) -> None:
    """Whatever a gateway or silence answers to whatever question, with any error: nothing is settled by it."""
    for asked, kind, by in product(QUESTIONS, ERRORS, ("between", "nobody")):
        event = proves(asked, row, error(kind, by))
        assert not isinstance(event, CLOSING), (asked, kind, by)
        assert event is None or isinstance(event, ReplyLost | NotSent | FailsToSay), (asked, kind, by, event)


def test_no_answer_to_another_account_or_from_another_service_proves_anything(row: Generation) -> None:
    """Its 404 is about its own requests."""
    replies = [*(error(kind) for kind in ERRORS), A_VIDEO, status("IN_QUEUE"), "cancelled", "not_found"]
    for asked, reply in product(QUESTIONS, replies):
        assert proves(asked, row, reply, account="account-2") is None
        assert proves(asked, row, reply, service="embedded:1") is None


def test_an_answer_about_another_request_proves_nothing(row: Generation) -> None:
    """A question that was made before the row got this request is about no request, or about another one."""
    for before in (replace(row, request_id=None), replace(row, request_id="another")):
        question = about(before, account="account-1", service="fal.ai")
        for reply in (error(FalNotFound), A_VIDEO, error(FalGenerationFailed)):
            assert what_it_proves("result", row, question, reply, TRUST) is None


@pytest.mark.parametrize(
    ("asked", "reply", "event"),
    [
        ("status", status("IN_QUEUE"), None),
        ("status", status("COMPLETED"), None),
        ("status", error(FalNotFound), GoneSaid(1003.0, "something happened", 60)),
        ("status", error(FalUnavailable), None),
        ("status", error(FalPermissionDenied), None),
        ("result", error(FalResultNotReady), None),
        ("result", error(FalResultExpired), GoneSaid(1003.0, "something happened", 60)),
        ("result", error(FalResultExpired, at=None), None),
        ("result", error(FalGenerationCancelled), RemoteCancelled("maybe")),
        ("result", error(FalGenerationFailed, retryable=True), RemoteFailed("something happened", "no")),
        ("result", error(FalGateway, "between"), FailsToSay("something happened")),
        ("result", error(FalRateLimited), None),
        ("file", error(FalDownloadError, gone=True), GoneSaid(1003.0, "something happened", 60)),
        ("file", error(FalDownloadError, gone=False), None),
        ("file", error(FalDownloadError, "between", gone=True), None),
        ("cancel", "cancelled", CancelAnswered("cancelled")),
        ("cancel", error(FalUnavailable), None),
        ("submit", error(FalRateLimited), Rejected("something happened", attempt=1)),
        ("submit", error(FalRateLimited, "between"), ReplyLost("something happened", attempt=1)),
        ("submit", error(FalSubmitUnknown, "nobody"), ReplyLost("something happened", attempt=1)),
        ("submit", error(FalNotSent, "nobody"), NotSent("something happened", attempt=1)),
        ("submit", error(FalUnavailable), ReplyLost("something happened", attempt=1)),
    ],
)
def test_each_answer_proves_what_its_line_says(row: Generation, asked: Asked, reply: Any, event: Any) -> None:
    """The events that the ledger is to record; None is nothing."""
    assert proves(asked, row, reply) == event


def test_a_receipt_and_a_result_are_taken_with_what_they_say(row: Generation) -> None:
    """An id is an id; a video is its address, and all else may be missing."""
    receipt = SubmitReceipt(
        request_id="r", response_url="https://x", status_url="https://x", cancel_url="https://x"
    )
    assert proves("submit", row, receipt) == Accepted("r")
    plain = proves("result", row, A_VIDEO)
    assert replace(plain, oddities=()) == RemoteCompleted("https://cdn.example/v.mp4")
    billed = what_it_proves(
        "result", row, about(row, account="account-1", service="fal.ai"), A_VIDEO, TRUST, usd=Decimal("0.25")
    )
    assert isinstance(billed, RemoteCompleted)
    assert billed.usd == Decimal("0.25")


def test_two_words_that_something_is_gone_are_taken_as_close_as_they_can_be(row: Generation) -> None:
    """The first as late, the second as early as its clock allows: nothing is lost a second too soon."""
    assert proves("result", row, error(FalResultExpired)).at == AT.latest
    assert proves("result", replace(row, gone_at=900.0), error(FalResultExpired)).at == AT.earliest


def test_a_running_status_counts_where_it_contradicts_something(row: Generation) -> None:
    """It is asked for every few seconds, and written down only where fal had said that it is gone."""
    for doubted in (replace(row, gone_at=1.0), replace(row, state=State.LOST), replace(row, looks=1)):
        assert proves("status", doubted, status("IN_PROGRESS")) == StillRunning()


@pytest.mark.parametrize(
    ("kind", "for_good"),
    [("content_policy_violation", True), ("value_error", True), ("file_download_error", False)],
)
def test_a_refusal_that_cannot_change_is_known_as_one(row: Generation, kind: str, for_good: bool) -> None:
    """Only an input that fal could not fetch may pass with a fresh upload."""
    refused = error(FalValidationError, fields=[FieldProblem(("body", "prompt"), "no", kind)])
    event = proves("result", row, refused)
    assert (event.for_good, event.billed) == (for_good, "maybe")


def test_every_line_of_the_table_is_used_and_says_why() -> None:
    """No line stands behind another that takes all of its answers."""
    errors = [error(kind, by) for kind in ERRORS for by in ("fal", "between", "nobody")]
    errors += [error(FalDownloadError, gone=True), error(FalGenerationFailed)]
    receipt = SubmitReceipt(
        request_id="r", response_url="https://x", status_url="https://x", cancel_url="https://x"
    )
    replies = [*errors, receipt, A_VIDEO, status("IN_QUEUE"), status("COMPLETED"), "cancelled"]
    used = set()
    for asked, reply in product(QUESTIONS, replies):
        lines = [line for line in ANSWERS if line.asked == asked and line.fits(reply)]
        used |= {id(line) for line in lines[:1]}
    assert [line for line in ANSWERS if id(line) not in used] == []
    assert all("§" in line.because for line in ANSWERS)
