"""Asking fal by id how a request ended, once, and writing down what its answer proves.

What an answer proves is decided in `prefect_ltx.ledger.life.answers`. A result route that gives no answer of fal's for
a request that fal calls finished is "fal fails to say": asked again with growing pauses, and settled from fal's listing
where that holds the end.
"""

from contextlib import suppress
from typing import Final

from prefect_ltx.fal import (
    FalError,
    FalGenerationCancelled,
    FalGenerationFailed,
    FalNotFound,
    FalProtocolError,
    FalResultExpired,
    FalResultNotReady,
    FalUnavailable,
    FalValidationError,
    GenerationResult,
    ListedRequest,
    read_video,
)
from prefect_ltx.generation.errors import no_request
from prefect_ltx.generation.pricing import billed_usd
from prefect_ltx.generation.progress import tell
from prefect_ltx.generation.services import Services
from prefect_ltx.ledger import AnotherAccount, Event, Generation, RemoteFailed, State
from prefect_ltx.ledger.life.answers import Asked, Reply
from prefect_ltx.ledger.life.evidence import (
    ASK_LOST_SECONDS,
    Question,
    Trust,
    about,
    is_about,
    what_it_proves,
)

_ENDED_BY_FAL: Final = (FalValidationError, FalGenerationFailed, FalGenerationCancelled)
_LOOKS_BEFORE_FAILED: Final = 2
"""How often the result route must have said nothing before an end that only the listing names is believed."""


def trust(services: Services) -> Trust:
    """How much the service in use is believed."""
    options = services.options
    return Trust(
        lag=options.listing_lag,
        lists_unfinished=options.lists_unfinished,
        absence_is_proof=options.absence_is_proof,
        gone_apart=options.gone_apart,
    )


def question_about(services: Services, generation: Generation) -> Question:
    """The question that is about to be asked of the service in use, with the key in use.

    Raises:
        AnotherAccount: the row is another account's, or of another service. Nothing is asked.
    """
    question = about(generation, account=services.account, service=services.service.id)
    if not is_about(question, generation):
        raise AnotherAccount(generation.id, account=generation.account, service=generation.service)
    return question


async def read_result(services: Services, generation: Generation) -> Generation | None:
    """Fetch the result of a completed job and record it, once fal answers; the row then, None before.

    The row may still be what it was: fal's first word that a result is gone changes no state.

    Raises:
        FalValidationError, FalGenerationFailed, FalGenerationCancelled: after recording it.
        FalUnavailable: fal's result route is down, or something between answered; nothing is recorded.
        GenerationStopped: the row names no request.
        AnotherAccount: it is another account's row; nothing was asked.
    """
    question = question_about(services, generation)
    try:
        result = await services.client.result(generation.endpoint, _request_id(generation))
    except FalResultNotReady as error:
        return await _proved(services, question, "result", error)
    except _ENDED_BY_FAL as error:
        await _proved(services, question, "result", error)
        raise
    except (FalResultExpired, FalNotFound) as error:
        return await find_again(services, question, generation, "result", error)
    return await record_video(services, question, generation, result)


async def find_again(
    services: Services, question: Question, generation: Generation, asked: Asked, error: FalError
) -> Generation:
    """The request or its result is gone by id: fal's listing may still hold its payload; else fal's word is written
    down.

    Raises:
        FalUnavailable: the listing cannot be read now, or fal's word proves nothing; nothing is recorded.
    """
    with suppress(FalProtocolError):  # what is listed cannot be read: no payload to be had
        listed = await _listed(services, question, generation)
        if listed is not None and listed.json_output:
            return await record_video(services, question, generation, _payload(listed))
    return await say_gone(services, question, asked, error)


async def say_gone(services: Services, question: Question, asked: Asked, error: FalError) -> Generation:
    """Write down that fal itself said `error`, and when: the row is LOST once it has said so twice, minutes apart.

    Raises:
        FalUnavailable: it was not fal's own word, or its time by fal's clock is not known; nothing is recorded.
    """
    after = await _proved(services, question, asked, error)
    if after is None:
        raise FalUnavailable(
            f"{error.what}; this proves nothing: not fal itself said so, or its clock is not known",
            request_id=question.request_id,
        ) from error
    return after


async def settle_unsaid(services: Services, generation: Generation, error: FalError) -> Generation:
    """The result route gives no answer of fal's. Where fal says that the request is finished, its listing is asked
    how it ended; where that does not say either, the row is marked as one that fal fails to say.

    Raises:
        The `error` itself where fal does not say that it is finished, and the errors of `read_result`.
    """
    question = question_about(services, generation)
    try:
        status = await services.client.status(generation.endpoint, _request_id(generation), logs=False)
    except FalError:
        raise error from None
    if status.status != "COMPLETED":
        raise error
    listed = None
    with suppress(FalError):  # this key may not list, or the listing is down as well
        listed = await _listed(services, question, generation)
    if listed is not None and listed.json_output:
        with suppress(FalProtocolError):
            return await record_video(services, question, generation, _payload(listed))
    if listed is not None and generation.looks >= _LOOKS_BEFORE_FAILED and (end := _end(listed)) is not None:
        billed = await _was_billed(services, generation)
        return await _recorded(services, question, RemoteFailed(end, "yes" if billed else "maybe"))
    after = await _proved(services, question, "result", error)
    if after is None:
        raise error
    return after


async def ask_about_lost(services: Services, generation: Generation) -> Generation:
    """A LOST row as it is after one more question: fal was seen to find again what it had called gone.

    Raises:
        FalUnavailable: fal cannot be asked now.
    """
    with suppress(*_ENDED_BY_FAL):  # recorded already
        await read_result(services, generation)
    return await services.ledger.get(generation.id)


def may_be_found(services: Services, generation: Generation) -> bool:
    """Whether a LOST row is still asked about by itself: for a week from fal's first word that it is gone."""
    return generation.gone_at is None or services.runtime.time() - generation.gone_at < ASK_LOST_SECONDS


def next_word_after(services: Services) -> float:
    """Seconds after which fal's next word that something is gone counts; times by its clock are known to seconds."""
    return services.options.gone_apart * 1.05 + 4.0


async def with_price(services: Services, generation: Generation) -> Generation:
    """The completed generation with what fal bills for it: a webhook brought the video, and only the result route
    names the units. Where fal does not answer, the price is settled later and nothing changes.
    """
    if generation.state is not State.COMPLETED or generation.units is not None or not generation.request_id:
        return generation
    question = question_about(services, generation)
    try:
        result = await services.client.result(generation.endpoint, generation.request_id)
    except FalError:
        return generation
    return await record_video(services, question, generation, result)


async def record_video(
    services: Services, question: Question, generation: Generation, result: GenerationResult
) -> Generation:
    """Write down where the video is, with what was odd about fal's answer."""
    usd = await billed_usd(services, generation, result.billable_units)
    event = what_it_proves("result", generation, question, result, trust(services), usd=usd)
    if event is None:
        raise FalUnavailable("The answer is about another request", request_id=question.request_id)
    recorded = await _recorded(services, question, event)
    tell("after-completed", generation.id, "fal has the video")
    return recorded


async def _proved(services: Services, question: Question, asked: Asked, reply: Reply) -> Generation | None:
    """The row after what this answer proves was recorded; None where it proves nothing."""
    row = await services.ledger.get(question.generation_id)
    event = what_it_proves(asked, row, question, reply, trust(services))
    return None if event is None else await _recorded(services, question, event)


async def _recorded(services: Services, question: Question, event: Event) -> Generation:
    return await services.ledger.record_and_get(question.generation_id, event)


def _request_id(generation: Generation) -> str:
    if generation.request_id is None:
        raise no_request(generation)
    return generation.request_id


async def _listed(services: Services, question: Question, generation: Generation) -> ListedRequest | None:
    try:
        listing = await services.client.listing(
            generation.endpoint,
            start=question.listing_start,
            request_id=generation.request_id,
            expand_payloads=True,
        )
    except FalUnavailable:
        raise
    except FalError:
        return None  # this key may not list requests
    return next((each for each in listing.items if each.request_id == generation.request_id), None)


def _payload(listed: ListedRequest) -> GenerationResult:
    output = listed.json_output if isinstance(listed.json_output, dict) else {}
    return GenerationResult(video=read_video(output), billable_units=None, request_id=listed.request_id)


def _end(listed: ListedRequest) -> str | None:
    """How fal's listing says that it ended, where it ended without a video."""
    if listed.ended_at is None or (listed.status_code or 0) < 400:
        return None
    return f"fal's listing says that it ended with HTTP {listed.status_code}; its result route says nothing"


async def _was_billed(services: Services, generation: Generation) -> bool:
    try:
        events = await services.client.billing_events(request_ids=[_request_id(generation)])
    except FalError:
        return False
    return any(each.cost_total > 0 for each in events)
