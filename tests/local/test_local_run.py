"""Synchronous run and sync_mode: the output in the answer itself."""

import base64
import time
from typing import Any

import httpx
import pytest
from local_fal_helpers import INGREDIENT, VIDEO, Caller

from prefect_ltx.local import LocalFal


def test_run_gives_the_output_itself_and_cannot_be_fetched_again(
    caller: Caller, fal: LocalFal, video_body: dict[str, Any]
) -> None:
    """Synchronous run: no envelope, the id only in a header, one charge."""
    reply = caller.post(f"/run/{VIDEO}", json=video_body)
    assert set(reply.json()) == {"video", "seed", "prompt"}
    assert caller.get(reply.json()["video"]["url"]).status_code == 200
    request_id = reply.headers["x-fal-request-id"]
    assert caller.result(request_id).status_code == 404
    assert [charge.request_id for charge in fal.bill.charges] == [request_id]
    assert caller.post(f"/run/{VIDEO}", json={"prompt": "x"}).status_code == 422


def test_run_above_the_concurrency_limit_is_refused(video_body: dict[str, Any]) -> None:
    """Direct calls do not queue: 429, not accepted."""
    with LocalFal(renderer="stored-clip", render_seconds=30, concurrency=1) as fal, Caller(fal.url) as caller:
        caller.until(caller.submit(video_body)["request_id"], "IN_PROGRESS")
        reply = caller.post(f"/run/{VIDEO}", json=video_body)
        assert (reply.status_code, reply.json()["error_type"]) == (429, "concurrent_requests_limit")
        assert reply.headers["x-fal-needs-retry"] == "1"


def test_a_dropped_run_is_cancelled(video_body: dict[str, Any]) -> None:
    """fal stops the runner when the caller of a direct call is gone."""
    with LocalFal(renderer="stored-clip", render_seconds=30) as fal, Caller(fal.url) as caller:
        with pytest.raises(httpx.ReadTimeout):
            caller.post(f"/run/{VIDEO}", json=video_body, timeout=0.3)
        deadline = time.monotonic() + 20
        while [item["status_code"] for item in caller.listed()] != [499]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert len(fal.bill) == 0


def test_sync_mode_delivers_the_clip_inside_the_answer(
    caller: Caller, video_body: dict[str, Any], sheet_body: dict[str, Any]
) -> None:
    """A data URI from run and from the queue; the listing does not keep such an output."""
    ran = caller.post(f"/run/{VIDEO}", json=video_body | {"sync_mode": True}).json()
    queued = caller.generate(sheet_body | {"sync_mode": True}, INGREDIENT).json()
    for output in (ran, queued):
        head, _, data = output["video"]["url"].partition(",")
        assert head == "data:video/mp4;base64"
        assert len(base64.b64decode(data)) == output["video"]["file_size"]
    assert "json_output" not in caller.listed(INGREDIENT, expand="payloads")[0]
