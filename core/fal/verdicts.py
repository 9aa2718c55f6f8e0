"""What an answer of fal's means for the money, and for what to do next. Pure, so it can be tried on anything.

The submit (fal-protocol §1.2, §7.6). There is no idempotency key, so what is not certain is not repeated:

    answer to the one POST                                        verdict
    2xx with a request id and one more field of fal's receipt     accepted
    400 401 403 404 405 413 415 422 429 written by fal itself     refused: nothing runs, nothing is owed
    the same codes on a page that fal did not write               unknown
    408 409 425, every 5xx and 3xx, a 2xx without an id, …        unknown

A proxy's or firewall's own 4xx page most likely means that fal never saw the request. But it proves only that
something in between answered: some of them look at the reply, not at the request. Calling it unknown costs a
look at fal's listing; calling it refused could cost a second payment.

The result (§1.6): a generation counts as failed only where fal says so about the generation itself. A bare
5xx is the platform being unavailable, and the paid video is still there.

Every other route: what fal did not write is `FalGateway`, whatever its status code says.
"""

from typing import Final, TypedDict

from pydantic import ValidationError

from prefect_ltx.fal.clock import Heard
from prefect_ltx.fal.errors import (
    FalAccountLocked,
    FalAuthenticationError,
    FalError,
    FalGateway,
    FalGenerationCancelled,
    FalGenerationFailed,
    FalNotFound,
    FalPermissionDenied,
    FalProtocolError,
    FalRateLimited,
    FalRequestRejected,
    FalResultExpired,
    FalResultNotReady,
    FalSubmitUnknown,
    FalUnavailable,
    FalValidationError,
)
from prefect_ltx.fal.reply import Reply
from prefect_ltx.fal.results import read_video
from prefect_ltx.fal.wire import CancelOutcome, GenerationResult, QueueStatus

_DEFINITE_REFUSALS: Final = frozenset({400, 401, 403, 404, 405, 413, 415, 422, 429})
_QUEUE_STATUSES: Final = ("IN_QUEUE", "IN_PROGRESS", "COMPLETED")
_TRY_AGAIN: Final = frozenset({408, 409, 425})
_CANCELLED: Final = frozenset({"client_cancelled", "client_disconnected"})
_RUN_ENDED: Final = frozenset({"request_timeout", "startup_timeout"})
"""Request-level types that can only be about the run, beside all `runner_…` ones (fal-protocol §5.2)."""
_GONE: Final = frozenset({405, 410, 413})


class ResultDoubtful(FalUnavailable):
    """The result route answered with an error that may be the generation's own or only this call's.

    `.if_finished` is the error to believe once the request's status shows that it is the generation's own.
    """

    def __init__(self, what: str, *, if_finished: FalError, status: int, request_id: str | None) -> None:
        """`if_finished` is kept; the rest is as for every FalError."""
        self.if_finished = if_finished
        super().__init__(what, status=status, request_id=request_id)


def submitted_id(reply: Reply) -> str:
    """The request id in the answer to a submit.

    Raises:
        FalSubmitUnknown: it may have been accepted; `.request_id` is set where the answer named it.
        FalRequestRejected, FalValidationError: definitely refused, not billed.
    """
    if reply.ok:
        named = reply.data.get("request_id") if isinstance(reply.data, dict) else None
        if isinstance(named, str) and reply.request_id == named and _is_a_receipt(reply):
            return named
        raise unknown_submit(f"HTTP {reply.status} without a receipt of fal's that can be read", reply)
    if reply.status in _DEFINITE_REFUSALS and reply.is_fals:
        raise refusal(reply, "the request", free_call=False)
    origin = "fal" if reply.is_fals else "something that is not fal"
    raise unknown_submit(f"{origin} answered HTTP {reply.status}{_said(reply)}", reply)


def _is_a_receipt(reply: Reply) -> bool:
    # A gateway with a queue of its own may answer {"request_id": …} as well.
    ours = [reply.data.get(name) for name in ("response_url", "status_url", "cancel_url")]
    return (
        "x-fal-request-id" in reply.headers
        or any(isinstance(url, str) for url in ours)
        or isinstance(reply.data.get("queue_position"), int)
        or reply.data.get("status") in _QUEUE_STATUSES
    )


def unknown_submit(why: str, reply: Reply | None = None) -> FalSubmitUnknown:
    """The error for a POST that left and has no usable answer."""
    known = reply.request_id if reply else None
    step = "fal named a request id: ask for its status, do not send it again" if known else None
    return FalSubmitUnknown(
        f"The request was sent and its fate is unknown: {why}",
        request_id=known,
        status=reply.status if reply else None,
        next_step=step,
    )


def queue_status(reply: Reply, request_id: str) -> QueueStatus:
    """A status answer, or one event of a status stream.

    202 while it waits or runs, 200 when it is finished; only the body counts.

    Raises:
        FalNotFound, FalUnavailable, FalProtocolError and the refusals of `refusal`.
    """
    if not reply.ok:
        raise refusal(reply, f"request {request_id}")
    data = reply.data
    if not isinstance(data, dict):
        raise reply.unreadable("to a status question is not a JSON object")
    if data.get("status") not in _QUEUE_STATUSES:
        raise reply.unreadable("names none of the three statuses of a request")
    named = data.get("request_id")
    if isinstance(named, str) and named.lower() != request_id.lower():
        raise reply.unreadable(f"is about another request than {request_id}", fals=True)
    try:
        return QueueStatus.model_validate(
            data | {"request_id": request_id, "heard": Heard("fal", reply.asked_at)}
        )
    except ValidationError as error:
        where = ", ".join(".".join(map(str, one["loc"])) for one in error.errors())
        raise reply.unreadable(f"is no status: {where}", fals=True) from None


def generation_result(reply: Reply, request_id: str) -> GenerationResult:
    """The answer of the result route, or of a synchronous run.

    Raises:
        FalResultNotReady, FalResultExpired, FalGenerationCancelled, FalValidationError, FalGenerationFailed,
        FalUnavailable (`ResultDoubtful` where the request's status decides), FalProtocolError, refusals.
    """
    if not reply.ok:
        raise _result_error(reply, request_id)
    if not isinstance(reply.data, dict):
        raise reply.unreadable("holds no JSON object where a result should be")
    try:
        video = read_video(reply.data)
    except FalProtocolError as error:
        if "video" in reply.data or reply.is_marked:
            raise
        raise reply.gateway(error.what) from None
    return GenerationResult(
        video=video,
        billable_units=reply.billable_units,
        request_id=request_id or reply.request_id or "",
        heard=Heard("fal", reply.asked_at),
    )


def run_result(reply: Reply) -> GenerationResult:
    """The answer to a synchronous run: as costly as a submit, and its result cannot be fetched again.

    Raises:
        FalSubmitUnknown: it may have run. FalValidationError, FalGenerationFailed, FalGenerationCancelled: it
            ran, and fal says how it ended. FalRequestRejected: refused before it ran, not billed.
    """
    if reply.ok:
        try:
            return generation_result(reply, "")
        except (FalProtocolError, FalGateway) as unreadable:
            raise unknown_submit(unreadable.what, reply) from None
    if reply.status in _DEFINITE_REFUSALS and reply.status != 422 and reply.is_fals and not reply.fields:
        raise refusal(reply, "the run", free_call=False)
    error = _result_error(reply, "")
    if isinstance(error, FalValidationError | FalGenerationFailed | FalGenerationCancelled):
        raise error
    raise unknown_submit(f"HTTP {reply.status}{_said(reply)}", reply)


def cancel_outcome(reply: Reply, request_id: str) -> CancelOutcome:
    """The answer to a cancel (fal-protocol §1.7).

    Raises:
        FalUnavailable and the refusals of `refusal`, when it says none of the four outcomes.
    """
    body = reply.data if isinstance(reply.data, dict) else {}
    said = body.get("status")
    if reply.is_fals and said == "ALREADY_COMPLETED":
        return "already_completed"
    if reply.is_fals and (said == "NOT_FOUND" or reply.status == 404):
        return "not_found"
    if reply.ok:
        alone = body.keys() <= {"status", "request_id"}
        if said == "OK" and (alone or reply.is_marked):  # only this says that it never ran
            return "cancelled"
        # Other words of fal's promise no more than that it will try.
        if said == "CANCELLATION_REQUESTED" or isinstance(body.get("success"), bool) or reply.is_marked:
            return "requested"
        raise reply.gateway(f"cancelling {request_id}")
    raise refusal(reply, f"cancelling {request_id}")


def refusal(reply: Reply, subject: str, *, free_call: bool = True) -> FalError:
    """The error for an answer that is not a 2xx. `free_call`: nothing could have been billed by this call."""
    if not reply.is_fals:
        return reply.gateway(subject)
    status, said = reply.status, _said(reply)
    rest: _Rest = {"status": status, "request_id": reply.request_id, "free_call": free_call}
    if status == 401:
        return FalAuthenticationError(f"fal does not accept the key for {subject} (401){said}", **rest)
    if status == 403:
        if "lock" in reply.message.lower():
            return FalAccountLocked(f"fal has locked the account (403){said}", **rest)
        return FalPermissionDenied(f"fal does not allow {subject} with this key (403){said}", **rest)
    if status == 404:
        return FalNotFound(f"fal does not know {subject} (404){said}", **rest)
    if status == 422:
        text = "" if reply.fields else said
        return FalValidationError(
            f"fal refuses {subject} (422){text}", fields=reply.fields, billed="no", **rest
        )
    if status == 429:
        return FalRateLimited(
            f"fal has too many requests at once (429){said}", retry_after=reply.retry_after, **rest
        )
    if status >= 500 or status in _TRY_AGAIN:
        return FalUnavailable(f"fal is not available for {subject} (HTTP {status}){said}", status=status)
    if status < 400:
        return FalProtocolError(f"fal redirects {subject} (HTTP {status}): not followed", status=status)
    return FalRequestRejected(f"fal refuses {subject} (HTTP {status}){said}", **rest)


def _result_error(reply: Reply, request_id: str) -> FalError:
    status, said, kind = reply.status, _said(reply), reply.error_type
    subject = f"the result of {request_id}" if request_id else "the run"
    known: _Known = {"status": status, "request_id": request_id or reply.request_id}
    if not reply.is_fals:
        return reply.gateway(subject)
    if status == 499 or kind in _CANCELLED:
        return FalGenerationCancelled(f"The generation was cancelled{said}", **known)
    if status == 422:
        text = "" if reply.fields else said
        return FalValidationError(f"fal refuses the input (422){text}", fields=reply.fields, **known)
    if status == 400 and "in progress" in reply.message.lower():
        return FalResultNotReady("The generation has not finished", **known)
    if status in (401, 403, 429) or status in _TRY_AGAIN or status < 400:
        return refusal(reply, subject)
    if status in _GONE and not reply.has_error_headers:
        return FalResultExpired(f"fal no longer has {subject} (HTTP {status})", **known)
    return _verdict_on_the_run(reply, subject, known)


def _verdict_on_the_run(reply: Reply, subject: str, known: "_Known") -> FalError:
    status, said, kind = reply.status, _said(reply), reply.error_type
    shaped = bool(reply.message)
    failed = FalGenerationFailed(
        f"The generation failed at fal (HTTP {status}{', ' + kind if kind else ''}){said}",
        error_type=kind or next((problem.type for problem in reply.fields if problem.type), ""),
        retryable=reply.retryable,
        billed="no" if status >= 500 else "maybe",
        **known,
    )
    about_the_run = "x-fal-retryable" in reply.headers or kind in _RUN_ENDED or kind.startswith("runner_")
    if shaped and reply.has_error_headers and about_the_run:
        return failed
    if status == 404:
        gone = FalResultExpired(f"fal no longer has {subject} (404)", **known)
        return ResultDoubtful(f"fal does not know {subject} (404)", if_finished=gone, **known)
    if shaped:
        doubt = f"fal cannot give {subject} (HTTP {status}){said}"
        return ResultDoubtful(doubt, if_finished=failed, **known)
    return refusal(reply, subject)


class _Known(TypedDict):
    status: int
    request_id: str | None


class _Rest(_Known):
    free_call: bool


def _said(reply: Reply) -> str:
    return f": {reply.message}" if reply.message else ""
