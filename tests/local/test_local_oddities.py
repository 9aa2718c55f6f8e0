"""Odd results: any field missing or strange, wherever a client reads it, and the request's own row stays good."""

from typing import Any

import pytest
from local_fal_helpers import APP, VIDEO, Caller, Receiver

from prefect_ltx.local import LocalFal

MISSING = object()


@pytest.mark.parametrize(
    ("field", "to"),
    [
        ("seed", MISSING),
        ("seed", None),
        ("seed", 2**70),
        ("seed", -7),
        ("seed", "seven"),
        ("prompt", MISSING),
        ("prompt", None),
        ("prompt", "half \ud83d of it"),
        ("prompt", "nul \x00 in it"),
        ("video.file_size", 0),
        ("video.file_size", -5),
        ("video.file_size", "12"),
        ("video.file_size", 12.5),
        ("video.file_size", 10**30),
        ("video.file_name", None),
        ("video.content_type", ["video/mp4"]),
        ("video.url", "http://127.0.0.1:99999/x.mp4"),
        ("video.url", "http://xn--\u0378.example/x.mp4"),
        ("video.url", "{url}\x00"),
        ("timings", {"inference": 1}),
    ],
)
def test_any_field_of_a_result_can_be_odd_wherever_it_is_read(
    fal: LocalFal, caller: Caller, receiver: Receiver, video_body: dict[str, Any], field: str, to: Any
) -> None:
    """In the result, the webhook and the listing's payload alike; good again once the knob is off."""
    options = {} if to is MISSING else {"to": to}
    fal.faults.add("odd_result", field=field, **options)
    request_id = caller.submit(video_body, params={"fal_webhook": receiver.url})["request_id"]
    caller.until(request_id)
    result = caller.result(request_id).json()
    webhook = receiver.wait_for(1)[0]["payload"]
    listed = caller.listed(expand="payloads")[0]["json_output"]
    fal.faults.clear()
    good = caller.result(request_id).json()
    for answer in (result, webhook, listed):
        part, key = (answer["video"], field[6:]) if field.startswith("video.") else (answer, field)
        expected = to.replace("{url}", good["video"]["url"]) if isinstance(to, str) else to
        assert part.get(key, MISSING) == expected
    assert {"video", "seed", "prompt"} == set(good)
    assert good["seed"] == 7
    assert len(fal.bill) == 1


@pytest.mark.parametrize(
    ("field", "to", "expected"),
    [
        ("video", "{url}", "url"),
        ("video", ["{value}"], "list"),
        ("video", [], "none"),
        ("video", MISSING, "missing"),
        (None, [], "whole"),
        (None, None, "whole"),
        (None, "done", "whole"),
    ],
)
def test_the_video_and_the_whole_answer_can_have_another_shape(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any], field: Any, to: Any, expected: str
) -> None:
    """A list, a bare URL, nothing, something that is no object."""
    fal.faults.add("odd_result", field=field, **({} if to is MISSING else {"to": to}))
    odd = caller.generate(video_body).json()
    fal.faults.clear()
    video = caller.result(caller.listed()[0]["request_id"]).json()["video"]
    assert {
        "url": lambda: odd["video"] == video["url"],
        "list": lambda: odd["video"] == [video],
        "none": lambda: odd["video"] == [],
        "missing": lambda: "video" not in odd,
        "whole": lambda: odd == to,
    }[expected]()


def test_a_size_can_be_off_by_one(fal: LocalFal, caller: Caller, video_body: dict[str, Any]) -> None:
    """odd_number: relative to what is true, so that nobody has to know it."""
    fal.faults.add("odd_number", field="video.file_size", value=-1)
    video = caller.generate(video_body).json()["video"]
    assert len(caller.get(video["url"]).content) == video["file_size"] + 1


def test_several_fields_of_so_many_generations_are_odd(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """`times` counts generations, not reads; two knobs act on one generation together."""
    fal.faults.add("odd_result", 1, field="seed")
    fal.faults.add("odd_result", 2, field="prompt", to=None)
    first, second, third = (caller.submit(video_body)["request_id"] for _ in range(3))
    for request_id in (first, second, third):
        caller.until(request_id)
    for _ in range(2):
        answers = [caller.result(request_id).json() for request_id in (first, second, third)]
        assert [("seed" in answer, answer["prompt"] is None) for answer in answers] == [
            (False, True),
            (True, True),
            (True, False),
        ]


def test_a_failed_generation_keeps_its_error(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """Odd are only results."""
    fal.faults.add("job_422")
    fal.faults.add("odd_result", field="detail")
    assert caller.generate(video_body).json()["detail"][0]["type"] == "content_policy_violation"


def test_a_synchronous_run_is_odd_too(fal: LocalFal, caller: Caller, video_body: dict[str, Any]) -> None:
    """The output itself has no seed."""
    fal.faults.add("odd_result", field="seed")
    assert set(caller.post(f"/run/{VIDEO}", json=video_body).json()) == {"video", "prompt"}


@pytest.mark.parametrize(
    ("route", "path", "field", "to"),
    [
        ("submit", None, "request_id", MISSING),
        ("status", "/{APP}/requests/{id}/status", "status", "FAILED"),
        ("status", "/{APP}/requests/{id}/status", "request_id", None),
        ("listing", "/v1/models/requests/by-endpoint?endpoint_id={VIDEO}", "items.0", None),
        ("listing", "/v1/models/requests/by-endpoint?endpoint_id={VIDEO}", "items.*.request_id", MISSING),
        ("prices", "/v1/models/pricing?endpoint_id={VIDEO}", "prices.*.unit", "seconds"),
        ("billing", "/v1/models/billing-events", "billing_events.0.cost_total", "much"),
        ("billing", "/v1/account/billing", "username", MISSING),
    ],
)
def test_any_answer_of_fal_can_be_odd(
    fal: LocalFal,
    caller: Caller,
    video_body: dict[str, Any],
    route: Any,
    path: str | None,
    field: str,
    to: Any,
) -> None:
    """odd_answer: one field, by its place, on one route; the next answer is as it should be."""
    request_id = caller.submit(video_body)["request_id"]
    caller.until(request_id)
    fal.faults.add("odd_answer", route=route, field=field, **({} if to is MISSING else {"to": to}))

    def ask() -> Any:
        if path is None:
            return caller.post(f"/{VIDEO}", json=video_body).json()
        return caller.get(path.format(APP=APP, VIDEO=VIDEO, id=request_id)).json()

    answers = [ask(), ask()]
    for key in field.replace("*", "0").split(".")[:-1]:
        answers = [answer[int(key) if key.isdigit() else key] for answer in answers]
    last = field.rpartition(".")[2]
    if last.isdigit():
        assert answers[0][int(last)] == to
        return
    assert answers[0].get(last, MISSING) == to
    assert answers[1].get(last, MISSING) not in (to, MISSING)


@pytest.mark.parametrize("route", ["status", "result", "cancel"])
def test_fal_can_lose_sight_of_a_request_for_a_while(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any], route: Any
) -> None:
    """false_404: NOT_FOUND in fal's own words, so many times, on that route; then it is there."""
    request_id = caller.submit(video_body)["request_id"]
    caller.until(request_id)
    fal.faults.add("false_404", 2, route=route)
    ask = {
        "status": lambda: caller.get(f"/{APP}/requests/{request_id}/status"),
        "result": lambda: caller.result(request_id),
        "cancel": lambda: caller.put(f"/{APP}/requests/{request_id}/cancel"),
    }
    for other in set(ask) - {route}:
        assert ask[other]().status_code != 404
    for _ in range(2):
        reply = ask[route]()
        assert (reply.status_code, reply.json()) == (404, {"status": "NOT_FOUND"})
        assert reply.headers["x-fal-request-id"]
    assert ask[route]().status_code in (200, 400)


@pytest.mark.parametrize("reply", [None, "fal"])
def test_a_result_can_fail_without_a_word(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any], reply: Any
) -> None:
    """result_500_bare: no error of the model, no header about retrying; the status says COMPLETED all along."""
    fal.faults.add("job_fails")
    request_id = caller.submit(video_body)["request_id"]
    caller.until(request_id)
    fal.faults.add("result_500_bare", 3, reply=reply)
    for _ in range(3):
        bare = caller.result(request_id)
        assert bare.status_code == 500
        assert bare.text == ("" if reply is None else '{"detail":"Internal Server Error"}')
        assert not {"x-fal-retryable", "x-fal-error-type"} & set(bare.headers)
        assert caller.status(request_id)["status"] == "COMPLETED"
    assert caller.result(request_id).headers["x-fal-retryable"] == "true"
