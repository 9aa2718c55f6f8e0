"""What an answer about one request proves: a table, tried from the top, of which the first line that fits decides.

Before the table stands what holds for every answer (`heard_rightly`): fal itself gave it, to a question about this
very row and request, asked with the row's own account of its own service. Everything else proves nothing, whatever
its status code: a gateway's page, an empty body, silence, another account's 404.

A webhook whose signature is verified is fal's word as well, about the request that it names; the ledger records it
as these same events. What fal's listing proves is in `evidence`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, NamedTuple, Protocol

from prefect_ltx.fal import (
    CancelOutcome,
    FalError,
    FalGenerationCancelled,
    FalGenerationFailed,
    FalNotFound,
    FalNotSent,
    FalProtocolError,
    FalRequestInvalid,
    FalResultExpired,
    FalResultNotReady,
    FalUnavailable,
    FalValidationError,
    GenerationResult,
    QueueStatus,
    SubmitReceipt,
)
from prefect_ltx.ledger.life.events import (
    GONE_APART_SECONDS,
    Accepted,
    CancelAnswered,
    Event,
    FailsToSay,
    GoneSaid,
    NotSent,
    Rejected,
    RemoteCancelled,
    RemoteCompleted,
    RemoteFailed,
    ReplyLost,
    StillRunning,
)
from prefect_ltx.ledger.life.states import State
from prefect_ltx.ledger.records import Generation

Asked = Literal["submit", "status", "result", "cancel", "file"]
Reply = SubmitReceipt | QueueStatus | GenerationResult | CancelOutcome | FalError
Proven = Literal["accepted", "running", "finished", "refused", "gone", "not sent", "nothing"]

MAY_PASS: Final = frozenset({"file_download_error"})
"""fal's types of a 422 that a fresh upload of the same input may not meet again."""


class Moment(Protocol):
    """A moment by fal's clock, as bounds in Unix seconds."""

    @property
    def earliest(self) -> float:
        """It was not before this."""

    @property
    def latest(self) -> float:
        """It was not after this."""


class Heard(Protocol):
    """Who gave an answer, and when it was asked for."""

    @property
    def by(self) -> str:
        """ "fal", "between" (a gateway, a proxy) or "nobody"."""

    @property
    def asked_at(self) -> Moment | None:
        """The moment before the question, by fal's clock; None where the answer did not tell the time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, with the row as it is now and what its events need beside it."""

    row: Generation
    reply: Reply
    heard: Heard | None
    usd: Decimal | None = None
    """What fal bills for the result, where its unit price is known and no guess."""
    gone_apart: float = GONE_APART_SECONDS

    @property
    def text(self) -> str:
        """What an error says, in words."""
        return self.reply.what if isinstance(self.reply, FalError) else ""


class Proof(NamedTuple):
    """One line: to which question, which answer, what that proves, and why."""

    asked: Asked
    answer: str
    fits: Callable[[Reply], bool]
    proves: Proven
    event: Callable[[Answer], Event | None]
    because: str
    by: tuple[str, ...] = ("fal",)
    """Who must have been heard; any of these."""


ANYBODY: Final = ("fal", "between", "nobody")


def proof_of(asked: Asked, reply: Reply, heard: Heard | None) -> Proof | None:
    """The line that decides about this answer; None where none does: it proves nothing."""
    by = heard.by if heard is not None else "fal" if not isinstance(reply, FalError) else "nobody"
    return next(
        (line for line in ANSWERS if line.asked == asked and line.fits(reply) and by in line.by), None
    )


def _is(*kinds: type) -> Callable[[Reply], bool]:
    return lambda reply: isinstance(reply, kinds)


def _status(*names: str) -> Callable[[Reply], bool]:
    return lambda reply: isinstance(reply, QueueStatus) and reply.status in names


def _refused_at_submit(reply: Reply) -> bool:
    return isinstance(reply, FalError) and reply.billed == "no" and not isinstance(reply, FalUnavailable)


def _running(answer: Answer) -> Event | None:
    # Written down only where it contradicts something: a status is asked for every few seconds.
    row = answer.row
    news = row.state is State.LOST or row.gone_at is not None or row.looks > 0
    return StillRunning() if news else None


def _completed(answer: Answer) -> Event | None:
    assert isinstance(answer.reply, GenerationResult)
    video = answer.reply.video
    return RemoteCompleted(
        video_url=video.video.url,
        seed=video.seed,
        prompt=video.prompt,
        file_size=video.video.file_size,
        units=answer.reply.billable_units,
        usd=answer.usd,
        oddities=video.oddities,
    )


def failure(error: FalError, request_id: str | None = None) -> RemoteFailed:
    """The end in which fal gave this error, by the result route or a webhook."""
    if isinstance(error, FalValidationError):
        for_good = not any(problem.type in MAY_PASS for problem in error.fields)
    else:
        for_good = isinstance(error, FalGenerationFailed) and error.retryable is False
    return RemoteFailed(error.what, error.billed, request_id=request_id, for_good=for_good)


def _failed(answer: Answer) -> Event | None:
    assert isinstance(answer.reply, FalError)
    return failure(answer.reply)


def _cancelled(answer: Answer) -> Event | None:
    return RemoteCancelled(answer.reply.billed if isinstance(answer.reply, FalError) else "maybe")


def _gone(answer: Answer) -> Event | None:
    if answer.heard is None or answer.heard.asked_at is None:
        return None  # when it was said is not known, so it cannot be told whether it was said twice
    at = answer.heard.asked_at
    # The bounds that put the two words closest together.
    said = at.latest if answer.row.gone_at is None else at.earliest
    return GoneSaid(said, answer.text, answer.gone_apart)


def _accepted(answer: Answer) -> Event | None:
    return Accepted(answer.reply.request_id) if isinstance(answer.reply, SubmitReceipt) else None


def _cancel_answer(answer: Answer) -> Event | None:
    return CancelAnswered(answer.reply) if isinstance(answer.reply, str) else None


def _nothing(answer: Answer) -> Event | None:
    return None


ANSWERS: Final[tuple[Proof, ...]] = (
    Proof(
        "submit",
        "a request id",
        _is(SubmitReceipt),
        "accepted",
        _accepted,
        "§1.2: the reply names the request",
    ),
    Proof(
        "submit",
        "no byte of it left",
        _is(FalNotSent, FalRequestInvalid),
        "not sent",
        lambda answer: NotSent(answer.text, attempt=answer.row.attempt),
        "§8.4: the connection was watched",
        ANYBODY,
    ),
    Proof(
        "submit",
        "a refusal in fal's own shape",
        _refused_at_submit,
        "refused",
        lambda answer: Rejected(answer.text, attempt=answer.row.attempt),
        "§1.2: a definite 4xx at submit proves that nothing ran",
    ),
    Proof(
        "submit",
        "anything else",
        _is(FalError),
        "nothing",
        lambda answer: ReplyLost(answer.text, attempt=answer.row.attempt),
        "§8.2: it may have been accepted: look, never send again",
        ANYBODY,
    ),
    Proof(
        "status",
        "IN_QUEUE or IN_PROGRESS",
        _status("IN_QUEUE", "IN_PROGRESS"),
        "running",
        _running,
        "§1.4: a request that runs is not gone",
    ),
    Proof(
        "status",
        "COMPLETED",
        _status("COMPLETED"),
        "nothing",
        _nothing,
        "§1.4: only its result says how it ended",
    ),
    Proof("status", "not found", _is(FalNotFound), "gone", _gone, "§1.6: one 404 may be a replica that lags"),
    Proof("result", "a video", _is(GenerationResult), "finished", _completed, "§1.6: `video.url` is enough"),
    Proof(
        "result", "still in progress", _is(FalResultNotReady), "running", _running, "§1.6: asked too early"
    ),
    Proof(
        "result", "cancelled", _is(FalGenerationCancelled), "refused", _cancelled, "§1.7: it ended with a 499"
    ),
    Proof(
        "result",
        "an error of the generation's own",
        _is(FalValidationError, FalGenerationFailed),
        "refused",
        _failed,
        "§1.4, §5: failure is an error on the result",
    ),
    Proof(
        "result",
        "expired or not found",
        _is(FalResultExpired, FalNotFound),
        "gone",
        _gone,
        "§1.6: results expire; believed when fal says it again",
    ),
    Proof(
        "result",
        "no answer that can be read",
        _is(FalUnavailable, FalProtocolError),
        "nothing",
        lambda answer: FailsToSay(answer.text),
        "§1.6: a 5xx on the result says nothing of the generation: asked again, after growing pauses",
        ANYBODY,
    ),
    Proof(
        "cancel",
        "cancelled, requested, already completed, not found",
        lambda reply: isinstance(reply, str),
        "nothing",
        _cancel_answer,
        "§1.7: only a plain OK says that it never runs; what became of it is asked by id",
    ),
    Proof(
        "file",
        "gone, after its result was asked again",
        lambda reply: isinstance(reply, FalError) and bool(getattr(reply, "gone", False)),
        "gone",
        _gone,
        "§6.3: the result, asked again, still names a file that is not there",
    ),
)
"""Every line, in the order in which they are tried; `by` names who must have been heard."""
