import json
from collections.abc import Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ltx.fal import (
    FalError,
    FalGenerationFailed,
    FalProtocolError,
    FalRateLimited,
    FalSubmitUnknown,
    FalUnavailable,
)
from prefect_ltx.fal.reply import Reply
from prefect_ltx.fal.retry import RetryRule
from prefect_ltx.fal.verdicts import generation_result, submitted_id

DEFINITE = {400, 401, 403, 404, 405, 413, 415, 422, 429}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["detail", "error", "error_type", "status", "request_id", "message", "msg", "loc", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
bodies = st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode())
headers = st.dictionaries(
    st.sampled_from(
        ["x-fal-request-id", "x-fal-retryable", "x-fal-error-type", "x-fal-needs-retry", "retry-after"]
    ),
    st.sampled_from(["true", "false", "1", "id-1", "runner_disconnected", "client_cancelled", "", "Mon"]),
    max_size=3,
)
replies = st.builds(Reply, st.integers(100, 599), headers.map(httpx.Headers), bodies, st.booleans())


def outcome(decide: Callable[[Reply], object], reply: Reply) -> object:
    """What a verdict gives, or the error that it raises."""
    try:
        return decide(reply)
    except FalError as error:
        return error


@given(replies)
def test_only_a_definite_answer_of_fals_is_anything_but_unknown(reply: Reply) -> None:
    """Any answer at all to the POST: accepted with an id, refused for certain by fal, or unknown."""
    verdict = outcome(submitted_id, reply)
    if isinstance(verdict, FalSubmitUnknown):
        assert verdict.billed == "maybe"
    elif isinstance(verdict, FalError):
        assert (verdict.billed, reply.status in DEFINITE, reply.is_fals) == ("no", True, True)
    else:
        assert (reply.ok, reply.data["request_id"]) == (True, verdict)


@given(replies)
def test_no_bare_error_is_a_failed_generation(reply: Reply) -> None:
    """Whatever the result route answers, it fails the generation only in fal's shape and with fal's header."""
    verdict = outcome(lambda one: generation_result(one, "id-1"), reply)
    if isinstance(verdict, FalGenerationFailed):
        assert reply.has_error_headers
        assert reply.is_fals
    assert len(str(verdict).splitlines()) == 1


@given(replies)
def test_reading_an_answer_never_raises(reply: Reply) -> None:
    """Message, fields, id, units and waits can be read from any answer."""
    assert isinstance(reply.message, str)
    assert isinstance(reply.error_type, str)
    assert all(str(problem) is not None for problem in reply.fields)
    assert reply.request_id is None or "/" not in reply.request_id
    assert reply.retry_after is None or reply.retry_after >= 0
    assert reply.billable_units is None or reply.billable_units >= 0


def top(_: float, high: float) -> float:
    return high


@given(st.integers(1, 50), st.integers(1, 60), st.floats(0.001, 5), st.floats(0.1, 60))
def test_waits_grow_within_bounds_and_end(attempts: int, attempt: int, base: float, cap: float) -> None:
    """A wait is at most base doubled each time and never over the cap, and the last attempt has none."""
    rule = RetryRule(attempts=attempts, base=base, cap=cap)
    wait = rule.pause(attempt, uniform=top)
    if attempt >= attempts:
        assert wait is None
    else:
        assert wait == min(cap, base * 2.0 ** (attempt - 1))
        assert 0 <= (rule.pause(attempt) or 0.0) <= cap


def test_the_wait_that_fal_asks_for_is_kept_up_to_a_point() -> None:
    """Retry-After is the least wait; one beyond our patience ends the attempts."""
    rule = RetryRule(attempts=4, base=0.5, patience=60)
    busy = Reply(429, httpx.Headers({"retry-after": "20"}), b"")
    assert rule.wait(1, FalRateLimited("x"), busy) == 20
    later = Reply(503, httpx.Headers({"retry-after": "61"}), b"")
    assert rule.wait(1, FalUnavailable("x"), later) is None
    past = Reply(503, httpx.Headers({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}), b"")
    assert rule.wait(1, FalUnavailable("x"), past, uniform=top) == 0.5


@pytest.mark.parametrize("status", [200, 302, 404])
def test_an_unreadable_answer_is_worth_another_call_only_as_a_success(status: int) -> None:
    """A 200 that makes no sense may be a passing page; other statuses were understood."""
    wait = RetryRule().wait(1, FalProtocolError("x"), Reply(status, httpx.Headers(), b""))
    assert (wait is not None) == (status == 200)
