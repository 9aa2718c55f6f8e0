"""What goes wrong on demand, seen from the wire: what was accepted, what was billed, what the client got."""

import time
from typing import Any

import httpx
import pytest
from local_fal_helpers import APP, INGREDIENT, VIDEO, Caller

from prefect_ltx.local import LocalFal


def all_done(caller: Caller, count: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 20
    while True:
        requests = caller.get("/_local/requests").json()["requests"]
        if len(requests) == count and all(request["state"] == "done" for request in requests):
            return list(requests)
        assert time.monotonic() < deadline, requests
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("lost_reply", httpx.ReadError),
        ("accept_then_timeout", httpx.ReadTimeout),
        ("accept_then_cut_body", httpx.RemoteProtocolError),
    ],
)
@pytest.mark.parametrize("path", [f"/{VIDEO}", f"/run/{VIDEO}"])
def test_an_accepted_request_whose_reply_is_lost_runs_and_bills(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any], fault: str, error: type[Exception], path: str
) -> None:
    """The client has an error and no id; fal has a request, and money."""
    fal.faults.add(fault)
    with pytest.raises(error):
        caller.post(path, json=video_body, timeout=0.5 if error is httpx.ReadTimeout else 30)
    (request,) = all_done(caller, 1)
    assert [charge.request_id for charge in fal.bill] == [request["request_id"]]
    assert [entry for entry in fal.log if entry[0] == "POST"] == [
        ("POST", path, 200 if fault == "accept_then_cut_body" else 0)
    ]


def test_an_accepted_request_may_be_answered_by_the_proxy(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """502 in HTML with nginx's name and without fal's id; one charge all the same."""
    fal.faults.add("accept_then_502")
    reply = caller.post(f"/{VIDEO}", json=video_body)
    assert (reply.status_code, reply.headers["content-type"].split(";")[0]) == (502, "text/html")
    assert "nginx" in reply.text
    assert "x-fal-request-id" not in reply.headers
    all_done(caller, 1)
    assert len(fal.bill) == 1


def test_one_post_can_be_accepted_twice(fal: LocalFal, caller: Caller, video_body: dict[str, Any]) -> None:
    """Two requests with the same body; the reply names one."""
    fal.faults.add("double_accept")
    named = caller.submit(video_body)["request_id"]
    requests = all_done(caller, 2)
    assert named in {request["request_id"] for request in requests}
    assert len({charge.body_sha for charge in fal.bill}) == 1
    assert len(fal.bill) == 2


def test_a_slow_reply_comes_after_the_request_is_safe(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """slow_accept: the request is done before its submit is answered."""
    fal.faults.add("slow_accept", value=5)
    with pytest.raises(httpx.ReadTimeout):
        caller.post(f"/{VIDEO}", json=video_body, timeout=0.5)
    all_done(caller, 1)


@pytest.mark.parametrize(
    ("fault", "status"), [("reject_reset", None), ("reject_5xx", 503), ("reject_429", 429)]
)
def test_a_rejected_submit_leaves_nothing(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any], fault: str, status: int | None
) -> None:
    """Not accepted, not billed; the next one is."""
    fal.faults.add(fault)
    if status is None:
        with pytest.raises(httpx.ReadError):
            caller.post(f"/{VIDEO}", json=video_body)
    else:
        assert caller.post(f"/{VIDEO}", json=video_body).status_code == status
    assert caller.get("/_local/requests").json()["requests"] == []
    caller.generate(video_body)
    assert len(fal.bill) == 1


def test_reads_fail_and_come_back(fal: LocalFal, caller: Caller, video_body: dict[str, Any]) -> None:
    """A 5xx or a reset on status or result says nothing about the generation."""
    request_id = caller.submit(video_body)["request_id"]
    caller.until(request_id)
    fal.faults.add("status_5xx", value=502)
    assert caller.get(f"/{APP}/requests/{request_id}/status").status_code == 502
    fal.faults.add("result_5xx")
    failed = caller.result(request_id)
    assert (failed.status_code, failed.headers["x-fal-request-id"]) == (500, request_id)
    fal.faults.add("read_reset")
    with pytest.raises(httpx.ReadError):
        caller.result(request_id)
    assert caller.status(request_id)["status"] == "COMPLETED"
    assert caller.result(request_id).status_code == 200


def test_an_expired_result_is_still_in_the_listing(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """result_404: gone by id for good, there with its payload in the listing, its file still served."""
    fal.faults.add("result_404")
    request_id = caller.submit(video_body)["request_id"]
    caller.until(request_id)
    assert [caller.result(request_id).status_code for _ in range(2)] == [404, 404]
    assert caller.status(request_id)["status"] == "COMPLETED"
    output = caller.listed(request_id=request_id, expand="payloads")[0]["json_output"]
    assert caller.get(output["video"]["url"]).status_code == 200


def test_a_purged_request_is_gone_everywhere(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """result_purged: neither by id nor in the listing; the charge stays."""
    fal.faults.add("result_purged")
    request_id = caller.submit(video_body)["request_id"]
    caller.until(request_id)
    assert caller.result(request_id).status_code == 404
    assert caller.get(f"/{APP}/requests/{request_id}/status").status_code == 404
    assert caller.listed() == []
    assert len(fal.bill) == 1


def test_a_stuck_request_waits_until_the_fault_is_cleared(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """It stays IN_QUEUE while others pass; cleared, it runs."""
    fal.faults.add("stuck_queue")
    stuck = caller.submit(video_body)["request_id"]
    caller.until(caller.submit(video_body)["request_id"])
    assert caller.status(stuck)["status"] == "IN_QUEUE"
    fal.faults.clear("stuck_queue")
    caller.until(stuck)
    assert len(fal.bill) == 2


def test_a_stuck_request_can_be_cancelled(fal: LocalFal, caller: Caller, video_body: dict[str, Any]) -> None:
    """It never ran, so nothing is billed."""
    fal.faults.add("stuck_queue")
    stuck = caller.submit(video_body)["request_id"]
    assert caller.put(f"/{APP}/requests/{stuck}/cancel").json() == {"status": "OK"}
    caller.until(stuck)
    assert len(fal.bill) == 0


def test_a_request_can_go_back_to_the_queue(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """IN_PROGRESS, IN_QUEUE, IN_PROGRESS, COMPLETED: fal does that when a runner dies. One charge."""
    fal.faults.add("requeued")
    request_id = caller.submit(video_body)["request_id"]
    caller.until(request_id, "IN_PROGRESS")
    caller.until(request_id, "IN_QUEUE")
    caller.until(request_id)
    assert len(fal.bill) == 1


def test_a_slow_run_takes_its_time(fal: LocalFal, caller: Caller, video_body: dict[str, Any]) -> None:
    """slow_run adds its value to one job."""
    fal.faults.add("slow_run", value=0.5)
    request_id = caller.submit(video_body)["request_id"]
    assert caller.until(request_id)["metrics"]["inference_time"] >= 0.5


@pytest.mark.parametrize(
    ("fault", "status", "kind", "retryable"),
    [
        ("job_fails", 500, "internal_server_error", "true"),
        ("job_422", 422, "content_policy_violation", "false"),
    ],
)
def test_a_generation_fails_on_demand_and_costs_nothing(
    fal: LocalFal,
    caller: Caller,
    video_body: dict[str, Any],
    fault: str,
    status: int,
    kind: str,
    retryable: str,
) -> None:
    """The error waits on the result, with fal's header that says whether another try can help."""
    fal.faults.add(fault, endpoint="reference-video")
    reply = caller.generate(video_body)
    assert (reply.status_code, reply.headers["x-fal-retryable"]) == (status, retryable)
    assert reply.json()["detail"][0]["type"] == kind
    assert len(fal.bill) == 0


def test_failures_are_billed_where_a_knob_says_so(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """bill_422: what was asked for, with its units on the result."""
    fal.faults.add("bill_422")
    fal.faults.add("job_422")
    reply = caller.generate(video_body | {"resolution": {"width": 1280, "height": 720}, "num_frames": 121})
    assert (reply.status_code, reply.headers["x-fal-billable-units"]) == (422, "112")
    assert [str(charge.usd.normalize()) for charge in fal.bill] == ["0.26964"]


def test_a_cancel_can_be_ignored_or_cost_money(video_body: dict[str, Any]) -> None:
    """cancel_ignored: it finishes and is billed. bill_cancelled: it stops and is billed."""
    with LocalFal(renderer="stored-clip", render_seconds=0.5) as fal, Caller(fal.url) as caller:
        for fault, status in (("cancel_ignored", 200), ("bill_cancelled", 499)):
            fal.faults.add(fault)
            request_id = caller.submit(video_body)["request_id"]
            caller.until(request_id, "IN_PROGRESS")
            assert caller.put(f"/{APP}/requests/{request_id}/cancel").status_code == 202
            caller.until(request_id)
            assert caller.result(request_id).status_code == status
            fal.faults.clear()
        assert len(fal.bill) == 2


def test_the_bill_drifts_on_demand(fal: LocalFal, caller: Caller, video_body: dict[str, Any]) -> None:
    """overbill adds units, unit_price changes what one costs."""
    fal.faults.add("overbill", value=3)
    fal.faults.add("unit_price", value=0.01)
    assert caller.generate(video_body).headers["x-fal-billable-units"] == "4"
    assert str(fal.bill.total_usd.normalize()) == "0.04"


def test_concurrency_is_a_knob(fal: LocalFal, caller: Caller, video_body: dict[str, Any]) -> None:
    """0 stops the queue; clearing the knob lets it go on."""
    fal.faults.add("concurrency", value=0)
    request_id = caller.submit(video_body)["request_id"]
    time.sleep(0.1)
    assert caller.status(request_id)["status"] == "IN_QUEUE"
    fal.faults.clear("concurrency")
    caller.until(request_id)


def test_a_download_is_cut_short_the_first_times(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """The full Content-Length and half of the bytes; a range resumes; then whole."""
    url = caller.generate(video_body).json()["video"]["url"]
    whole = caller.get(url).content
    fal.faults.add("truncated_download", times=2)
    with pytest.raises(httpx.RemoteProtocolError):
        caller.get(url)
    with pytest.raises(httpx.RemoteProtocolError):
        caller.get(url, headers={"range": "bytes=100-"})
    assert caller.get(url, headers={"range": "bytes=100-"}).content == whole[100:]


def test_a_corrupted_download_has_the_right_length(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """Only other bytes: no client notices by itself."""
    url = caller.generate(video_body).json()["video"]["url"]
    whole = caller.get(url).content
    fal.faults.add("corrupted_download", path="/files/")
    broken = caller.get(url)
    assert len(broken.content) == len(whole)
    assert broken.content != whole
    assert caller.get(url).content == whole


def test_an_expired_file_and_a_slow_one(fal: LocalFal, caller: Caller, video_body: dict[str, Any]) -> None:
    """expired_file: 404 on the CDN. slow_download: so many bytes a second."""
    video = caller.generate(video_body).json()["video"]
    fal.faults.add("expired_file")
    assert caller.get(video["url"]).status_code == 404
    fal.faults.add("slow_download", value=video["file_size"] * 2)
    begun = time.monotonic()
    assert len(caller.get(video["url"]).content) == video["file_size"]
    assert time.monotonic() - begun >= 0.4


def test_a_download_may_have_no_end(fal: LocalFal, caller: Caller, video_body: dict[str, Any]) -> None:
    """endless_download: the file again and again, with no length announced; the next one is whole."""
    video = caller.generate(video_body).json()["video"]
    fal.faults.add("endless_download", value=video["file_size"] * 100)
    size = 0
    with caller.http.stream("GET", video["url"]) as reply:
        assert "content-length" not in reply.headers
        for block in reply.iter_bytes():
            size += len(block)
            if size > video["file_size"] * 3:
                break
    assert len(caller.get(video["url"]).content) == video["file_size"]


def test_a_cap_on_megapixels_is_a_422(fal: LocalFal, caller: Caller, sheet_body: dict[str, Any]) -> None:
    """As observed on fal's control path: size times frames above a budget."""
    fal.faults.add("megapixel_cap", value=100, endpoint="ingredient")
    big = {"resolution": {"width": 1536, "height": 896}, "num_frames": 121}
    assert caller.generate(sheet_body | big, INGREDIENT).status_code == 422
    assert caller.generate(sheet_body, INGREDIENT).status_code == 200
