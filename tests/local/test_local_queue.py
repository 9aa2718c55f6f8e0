"""Submit, status, stream, result, cancel and run, as fal words them."""

import time
from typing import Any
from uuid import UUID

import pytest
from local_fal_helpers import APP, INGREDIENT, VIDEO, Caller, events

from prefect_ltx.local import LocalFal


def test_submit_answers_with_the_id_and_three_urls_under_the_app(
    caller: Caller, video_body: dict[str, Any]
) -> None:
    """Submit takes the full id; what it answers lives under owner/app only."""
    reply = caller.post(f"/{VIDEO}", json=video_body)
    receipt = reply.json()
    base = f"{caller.url}/{APP}/requests/{receipt['request_id']}"
    assert reply.status_code == 200
    assert reply.headers["x-fal-request-id"] == receipt["request_id"]
    assert (receipt["response_url"], receipt["status_url"], receipt["cancel_url"]) == (
        base,
        f"{base}/status",
        f"{base}/cancel",
    )
    assert isinstance(receipt["queue_position"], int)


def test_a_request_id_carries_its_submit_time(caller: Caller, video_body: dict[str, Any]) -> None:
    """Ids are UUIDs of version 7: their first 48 bits are the submit in milliseconds."""
    before = time.time()
    identity = UUID(caller.submit(video_body)["request_id"])
    assert identity.version == 7
    assert before - 0.01 <= (identity.int >> 80) / 1000 <= time.time() + 0.01


@pytest.mark.parametrize("app", [APP, VIDEO, INGREDIENT])
@pytest.mark.parametrize("suffix", ["", "/", "/response", "/response/"])
def test_the_result_is_found_by_every_form_of_its_url(
    caller: Caller, video_body: dict[str, Any], app: str, suffix: str
) -> None:
    """App alone or full id, with /response or without, with a trailing slash or without."""
    request_id = caller.submit(video_body)["request_id"]
    caller.until(request_id)
    reply = caller.get(f"/{app}/requests/{request_id}{suffix}")
    assert reply.status_code == 200
    assert set(reply.json()) == {"video", "seed", "prompt"}
    assert reply.headers["x-fal-billable-units"] == "1"
    assert reply.headers["content-type"] == "application/json"


def test_status_walks_through_the_three_statuses(video_body: dict[str, Any]) -> None:
    """IN_QUEUE and IN_PROGRESS come with 202, COMPLETED with 200, each with its own fields."""
    with LocalFal(renderer="stored-clip", concurrency=1) as fal, Caller(fal.url) as caller:
        fal.faults.add("slow_run", value=1.5)
        first, second, third = (caller.submit(video_body)["request_id"] for _ in range(3))
        caller.until(first, "IN_PROGRESS")
        running = caller.get(f"/{APP}/requests/{first}/status")
        waiting = caller.get(f"/{APP}/requests/{third}/status?logs=true")
        assert (running.status_code, running.json()["logs"]) == (202, None)
        assert (waiting.status_code, waiting.json()["queue_position"]) == (202, 1)
        assert "logs" not in waiting.json()
        assert caller.result(third).status_code == 400
        assert caller.result(third).json() == {"detail": "Request is still in progress"}
        done = caller.until(first)
        assert done["logs"][0].keys() == {"message", "timestamp", "level", "source"}
        assert done["metrics"]["inference_time"] >= 1.5
        assert caller.status(first, logs="0")["logs"] is None
        for request_id in (second, third):
            caller.until(request_id)
        ended = [caller.listed(request_id=request_id)[0] for request_id in (second, third)]
        assert ended[0]["ended_at"] <= ended[1]["started_at"]


def test_low_priority_waits_behind_normal(fal: LocalFal, caller: Caller, video_body: dict[str, Any]) -> None:
    """x-fal-queue-priority: low can only go further back."""
    fal.faults.add("concurrency", value=0)
    headers = ({}, {"x-fal-queue-priority": "low"}, {"x-fal-queue-priority": "normal"})
    ids = [caller.submit(video_body, headers=header)["request_id"] for header in headers]
    assert [caller.status(request_id)["queue_position"] for request_id in ids] == [0, 2, 1]


def test_bad_input_is_accepted_and_fails_on_the_result(caller: Caller, fal: LocalFal) -> None:
    """Nothing is validated at submit; the 422 waits behind a COMPLETED status and is not billed."""
    body = {"prompt": "x", "num_frames": 5, "video_quality": "best", "video_strength": 2}
    request_id = caller.submit(body)["request_id"]
    status = caller.until(request_id)
    reply = caller.result(request_id)
    problems = {tuple(entry["loc"]): entry for entry in reply.json()["detail"]}
    assert reply.status_code == 422
    assert status["error"] == "Invalid status code: 422"
    assert reply.headers["x-fal-retryable"] == "false"
    assert "x-fal-billable-units" not in reply.headers
    assert problems["body", "video_url"]["type"] == "missing"
    assert problems["body", "num_frames"]["type"] == "greater_than_equal"
    assert problems["body", "num_frames"]["ctx"] == {"ge": 9}
    assert problems["body", "num_frames"]["input"] == 5
    assert problems["body", "video_quality"]["type"] == "one_of"
    assert problems["body", "video_quality"]["ctx"]["expected"] == ["low", "medium", "high", "maximum"]
    assert problems["body", "video_strength"]["url"].endswith("#less_than_equal")
    assert len(fal.bill) == 0


@pytest.mark.parametrize(
    ("resolution", "loc"),
    [
        ("huge", ["body", "resolution"]),
        ({"width": 0, "height": 64}, ["body", "resolution", "width"]),
        (7, ["body", "resolution"]),
    ],
)
def test_a_bad_resolution_is_one_complaint_of_the_branch_that_was_meant(
    caller: Caller, video_body: dict[str, Any], resolution: object, loc: list[str]
) -> None:
    """A name is held against the presets, an object against the sizes; the other branch is not mentioned."""
    detail = caller.generate(video_body | {"resolution": resolution}).json()["detail"]
    assert loc in [entry["loc"] for entry in detail]
    assert all(entry["loc"][:2] == ["body", "resolution"] for entry in detail)
    if resolution != 7:
        assert len(detail) == 1


def test_fields_that_the_page_does_not_name_are_ignored(caller: Caller, video_body: dict[str, Any]) -> None:
    """fal's schema grows: an input this version does not know is no error."""
    assert caller.generate(video_body | {"input_of_next_year": "x", "extra_arguments": 3}).status_code == 200


@pytest.mark.parametrize("body", ["{", "NaN", '{"seed": Infinity}', "", "[" * 100_000])
def test_a_body_that_is_no_json_is_refused_at_submit(caller: Caller, body: str) -> None:
    """Such a request was never accepted."""
    assert caller.post(f"/{VIDEO}", content=body).status_code == 400
    assert caller.listed() == []


def test_text_that_has_no_utf8_is_an_error_of_the_result(caller: Caller) -> None:
    """Half a surrogate pair is JSON: accepted, listed, and refused by the model."""
    request_id = caller.post(f"/{VIDEO}", content=b'{"prompt": "\\ud800"}').json()["request_id"]
    caller.until(request_id)
    assert caller.result(request_id).status_code == 422
    assert caller.listed(expand="payloads")[0]["json_input"] == {"prompt": "\ud800"}


def test_a_body_that_is_no_object_fails_on_the_result(caller: Caller) -> None:
    """It is JSON, so it is accepted."""
    request_id = caller.post(f"/{VIDEO}", json=[1, 2]).json()["request_id"]
    caller.until(request_id)
    assert caller.result(request_id).status_code == 422


@pytest.mark.parametrize("path", ["/fal-ai/no-such-model", f"/{APP}", "/nonsense"])
def test_an_unknown_application_is_refused_at_submit(
    caller: Caller, video_body: dict[str, Any], path: str
) -> None:
    """404 before anything is accepted."""
    assert caller.post(path, json=video_body).status_code == 404


def test_an_unknown_request_is_not_found(caller: Caller) -> None:
    """Status, result and cancel of an id that fal never gave."""
    path = f"/{APP}/requests/01a083d0-1d3c-7000-8000-000000000000"
    replies = [caller.get(path), caller.get(f"{path}/status"), caller.put(f"{path}/cancel")]
    assert [(reply.status_code, reply.json()) for reply in replies] == [(404, {"status": "NOT_FOUND"})] * 3


def test_cancel_has_its_four_outcomes(video_body: dict[str, Any]) -> None:
    """Queued: OK. Running: CANCELLATION_REQUESTED. Finished: ALREADY_COMPLETED. Unknown: NOT_FOUND."""
    with LocalFal(renderer="stored-clip", render_seconds=30, concurrency=1) as fal, Caller(fal.url) as caller:
        running, queued = (caller.submit(video_body)["request_id"] for _ in range(2))
        caller.until(running, "IN_PROGRESS")

        def cancel(request_id: str) -> tuple[int, str]:
            reply = caller.put(f"/{APP}/requests/{request_id}/cancel")
            return reply.status_code, reply.json()["status"]

        assert cancel(queued) == (200, "OK")
        assert cancel(running) == (202, "CANCELLATION_REQUESTED")
        for request_id in (queued, running):
            assert caller.until(request_id)["error_type"] == "client_cancelled"
            reply = caller.result(request_id)
            assert (reply.status_code, reply.headers["x-fal-error-type"]) == (499, "client_cancelled")
            assert cancel(request_id) == (400, "ALREADY_COMPLETED")
        assert len(fal.bill) == 0


@pytest.mark.parametrize("header", ["x-fal-request-timeout", "x-fal-request-start-timeout"])
def test_a_start_timeout_ends_what_still_waits(video_body: dict[str, Any], header: str) -> None:
    """504 with X-Fal-Request-Timeout-Type: user; a request that runs already is left alone."""
    with (
        LocalFal(renderer="stored-clip", render_seconds=0.7, concurrency=1) as fal,
        Caller(fal.url) as caller,
    ):
        first = caller.submit(video_body, headers={header: "0.2"})["request_id"]
        second = caller.submit(video_body, headers={header: "0.2"})["request_id"]
        caller.until(second)
        reply = caller.result(second)
        assert (reply.status_code, reply.headers["x-fal-request-timeout-type"]) == (504, "user")
        caller.until(first)
        assert caller.result(first).status_code == 200


def test_a_full_queue_refuses_whoever_asked_it_to(video_body: dict[str, Any]) -> None:
    """fal_max_queue_length: 429, not accepted, when more than that many wait."""
    with LocalFal(renderer="stored-clip", render_seconds=30, concurrency=1) as fal, Caller(fal.url) as caller:
        for _ in range(3):
            caller.submit(video_body)
        reply = caller.post(f"/{VIDEO}?fal_max_queue_length=1", json=video_body)
        assert (reply.status_code, reply.headers["x-fal-needs-retry"]) == (429, "1")
        assert caller.post(f"/{VIDEO}?fal_max_queue_length=2", json=video_body).status_code == 200


def test_the_status_stream_tells_every_change_once_and_closes(video_body: dict[str, Any]) -> None:
    """Server-sent events up to COMPLETED, each with the log lines that the ones before did not have."""
    with LocalFal(renderer="stored-clip", concurrency=1) as fal, Caller(fal.url) as caller:
        fal.faults.add("slow_run", value=1.5)
        caller.submit(video_body)
        fal.faults.add("slow_run", value=0.2)
        request_id = caller.submit(video_body)["request_id"]
        reply = caller.get(f"/{APP}/requests/{request_id}/status/stream?logs=1")
        told = events(reply.text)
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert told[0]["status"] == "IN_QUEUE"
        assert told[-1]["status"] == "COMPLETED"
        assert {"IN_QUEUE", "IN_PROGRESS", "COMPLETED"} == {event["status"] for event in told}
        lines = [line for event in told for line in event.get("logs") or []]
        assert lines == caller.status(request_id)["logs"]


def test_a_stream_of_a_finished_request_is_one_event(caller: Caller, video_body: dict[str, Any]) -> None:
    """COMPLETED at once, then the end."""
    request_id = caller.submit(video_body)["request_id"]
    caller.until(request_id)
    told = events(caller.get(f"/{APP}/requests/{request_id}/status/stream?logs=0").text)
    assert [(event["status"], event["logs"]) for event in told] == [("COMPLETED", None)]


def test_requests_of_another_key_cannot_be_seen(fal: LocalFal, video_body: dict[str, Any]) -> None:
    """The id of the key is the account: status, result and cancel of somebody else's request are 404."""
    with Caller(fal.url, "mine:a") as mine, Caller(fal.url, "theirs:b") as theirs:
        request_id = mine.submit(video_body)["request_id"]
        mine.until(request_id)
        assert theirs.result(request_id).status_code == 404
        assert mine.result(request_id).status_code == 200


def test_without_a_seed_the_server_draws_one_and_says_it(caller: Caller, video_body: dict[str, Any]) -> None:
    """Two requests without a seed get two seeds."""
    del video_body["seed"]
    seeds = [caller.generate(video_body).json()["seed"] for _ in range(2)]
    assert seeds[0] != seeds[1]
    assert all(isinstance(seed, int) and seed >= 0 for seed in seeds)


def test_prompt_expansion_is_a_deterministic_rewrite(caller: Caller, video_body: dict[str, Any]) -> None:
    """On by default, the same for the same seed; off leaves the prompt alone."""
    first, again = (caller.generate(video_body).json()["prompt"] for _ in range(2))
    plain = caller.generate(video_body | {"enable_prompt_expansion": False}).json()["prompt"]
    assert first == again != plain == "a dancer"
    assert first.startswith("a dancer. ")


def test_a_queue_of_many_small_jobs_is_worked_off_in_order(
    caller: Caller, video_body: dict[str, Any]
) -> None:
    """Every request is finished, and they started in the order in which they came."""
    ids = [caller.submit(video_body)["request_id"] for _ in range(25)]
    for request_id in ids:
        caller.until(request_id)
    listed = {item["request_id"]: item["started_at"] for item in caller.listed(limit=100)}
    assert [listed[request_id] for request_id in ids] == sorted(listed.values())
