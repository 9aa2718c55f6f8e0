"""What stands between a client and fal: answers that fal did not write, on every route, before and after it
acted."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from local_fal_helpers import APP, VIDEO, Caller

from prefect_ltx.local import LocalFal

UNKNOWN = "01a083d0-1d3c-7000-8000-000000000000"

ASK: dict[str, Callable[[Caller], httpx.Response]] = {
    "submit": lambda caller: caller.post(f"/{VIDEO}", json={}),
    "run": lambda caller: caller.post(f"/run/{VIDEO}", json={}),
    "status": lambda caller: caller.get(f"/{APP}/requests/{UNKNOWN}/status"),
    "result": lambda caller: caller.get(f"/{APP}/requests/{UNKNOWN}"),
    "cancel": lambda caller: caller.put(f"/{APP}/requests/{UNKNOWN}/cancel"),
    "listing": lambda caller: caller.get(f"/v1/models/requests/by-endpoint?endpoint_id={VIDEO}"),
    "prices": lambda caller: caller.get(f"/v1/models/pricing?endpoint_id={VIDEO}"),
    "billing": lambda caller: caller.get("/v1/account/billing"),
    "models": lambda caller: caller.get("/v1/models"),
    "files": lambda caller: caller.get("/files/b/none/none.mp4"),
    "storage": lambda caller: caller.post("/files/upload", content=b"x"),
    "jwks": lambda caller: caller.get("/.well-known/jwks.json"),
    "identity": lambda caller: caller.get("/.well-known/prefect-ltx-local-fal"),
}
LOOKS: dict[str, tuple[str, str]] = {
    "html": ("text/html; charset=utf-8", "<html>"),
    "empty": ("", ""),
    "json": ("application/json", '{"message":'),
    "text": ("", "upstream connect error"),
}


@pytest.mark.parametrize("route", list(ASK))
def test_a_gateway_can_answer_for_fal_on_every_route(fal: LocalFal, caller: Caller, route: Any) -> None:
    """In each of its forms its status and body, none of fal's headers; once, and on that route only."""
    before = ASK[route](caller)
    for kind, (content_type, beginning) in LOOKS.items():
        fal.faults.add("edge_error", route=route, reply=kind, value=418)
        if kind == "html":
            for other, ask in ASK.items():
                if other != route:
                    assert ask(caller).status_code != 418
        reply = ASK[route](caller)
        assert reply.status_code == 418, kind
        assert reply.headers.get("content-type", "") == content_type
        assert reply.text.startswith(beginning)
        assert bool(reply.content) == bool(beginning)
        assert not {name for name in reply.headers if name.startswith("x-fal-")}
        assert ASK[route](caller).status_code == before.status_code


@pytest.mark.parametrize("status", [200, 302, 404, 407, 422, 499, 500, 599])
def test_any_status_can_come_as_html(fal: LocalFal, caller: Caller, status: int) -> None:
    """A login page is a 200; nginx has statuses of its own."""
    fal.faults.add("edge_error", route="status", value=status)
    reply = ASK["status"](caller)
    assert (reply.status_code, reply.headers["content-type"].split(";")[0]) == (status, "text/html")
    assert "nginx" in reply.text


@pytest.mark.parametrize("after", [False, True])
def test_fal_acted_first_or_never_saw_it(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any], after: bool
) -> None:
    """after: the request was accepted and runs, whatever the client was told."""
    fal.faults.add("edge_error", route="submit", value=504, after=after)
    assert caller.post(f"/{VIDEO}", json=video_body).status_code == 504
    assert len(caller.get("/_local/requests").json()["requests"]) == int(after)


def test_a_cancel_can_act_behind_a_lost_answer(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """The job is stopped, and the client reads a gateway's page."""
    fal.faults.add("concurrency", value=0)
    request_id = caller.submit(video_body)["request_id"]
    fal.faults.add("edge_error", route="cancel", after=True)
    assert caller.put(f"/{APP}/requests/{request_id}/cancel").status_code == 502
    assert caller.until(request_id)["error_type"] == "client_cancelled"


@pytest.mark.parametrize(("reply", "error"), [("cut", httpx.RemoteProtocolError), ("reset", httpx.ReadError)])
@pytest.mark.parametrize("route", ["submit", "listing", "billing", "prices"])
def test_an_answer_can_be_cut_or_the_connection_reset(
    fal: LocalFal, caller: Caller, reply: Any, error: type[Exception], route: Any
) -> None:
    """On any route: half of fal's own answer, or nothing."""
    fal.faults.add("edge_error", route=route, reply=reply)
    with pytest.raises(error):
        ASK[route](caller)
    ASK[route](caller)


def test_a_cut_submit_was_accepted(fal: LocalFal, caller: Caller, video_body: dict[str, Any]) -> None:
    """Half of the receipt, with the id in the header."""
    fal.faults.add("edge_error", route="submit", reply="cut")
    with caller.http.stream("POST", f"/{VIDEO}", json=video_body) as reply:
        named = reply.headers["x-fal-request-id"]
        with pytest.raises(httpx.RemoteProtocolError):
            reply.read()
    assert caller.until(named)["status"] == "COMPLETED"


def test_fal_itself_can_be_the_one_that_fails(fal: LocalFal, caller: Caller) -> None:
    """reply fal: the shape of the route, with fal's id."""
    fal.faults.add("edge_error", route="prices", value=503, reply="fal")
    assert ASK["prices"](caller).json()["error"]["type"] == "server_error"
    fal.faults.add("edge_error", route="status", value=503, reply="fal")
    reply = ASK["status"](caller)
    assert (reply.json()["detail"], len(reply.headers["x-fal-request-id"])) == ("Service Unavailable", 36)


def test_a_path_filter_picks_one_request(fal: LocalFal, caller: Caller, video_body: dict[str, Any]) -> None:
    """Only the request whose id is in the path."""
    first, second = (caller.submit(video_body)["request_id"] for _ in range(2))
    caller.until(first)
    caller.until(second)
    fal.faults.add("edge_error", -1, route="result", path=second, value=404)
    assert (caller.result(first).status_code, caller.result(second).status_code) == (200, 404)


def test_a_burst_of_429_says_when_to_come_back(fal: LocalFal, caller: Caller) -> None:
    """rate_limited: so many times, with Retry-After, in the words of either of fal's services."""
    fal.faults.add("rate_limited", 2, route="listing", value=7)
    fal.faults.add("rate_limited", 1, route="submit", value=0.5)
    for _ in range(2):
        reply = ASK["listing"](caller)
        assert (reply.status_code, reply.headers["retry-after"]) == (429, "7")
        assert reply.json()["error"]["type"] == "rate_limited"
    reply = ASK["submit"](caller)
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "0.5")
    assert reply.json()["error_type"] == "concurrent_requests_limit"
    assert (ASK["listing"](caller).status_code, ASK["submit"](caller).status_code) == (200, 200)


@pytest.mark.parametrize("after", [True, False])
def test_an_answer_held_back_is_as_old_as_its_question(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any], after: bool
) -> None:
    """slow_answer: what happened in between is in the answer only where fal itself was late."""
    from concurrent.futures import ThreadPoolExecutor

    fal.faults.add("slow_answer", route="listing", value=1, after=after)
    with ThreadPoolExecutor(1) as threads, Caller(fal.url) as another:
        begun = time.monotonic()
        asked = threads.submit(another.listed)
        while not any("by-endpoint" in path for _, path, _ in fal.log):
            time.sleep(0.01)
        time.sleep(0.3)
        caller.submit(video_body)
        assert len(asked.result()) == int(not after)
        assert time.monotonic() - begun >= 1


@pytest.mark.parametrize("skew", [720, -720, 7200])
def test_fals_clock_can_be_another(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any], skew: float
) -> None:
    """date_skew: the Date header, the id, the listing's and the bill's times and windows are of one clock."""
    fal.faults.add("date_skew", value=skew)
    now = datetime.now(UTC)
    fals = now + timedelta(seconds=skew)
    said = parsedate_to_datetime(caller.get("/v1/meta").headers["date"])
    assert abs((said - fals).total_seconds()) < 5
    request_id = caller.submit(video_body)["request_id"]
    caller.until(request_id)
    assert abs((UUID(request_id).int >> 80) / 1000 - fals.timestamp()) < 5
    (item,) = caller.listed(start=(fals - timedelta(seconds=60)).isoformat())
    assert abs((datetime.fromisoformat(item["sent_at"]) - fals).total_seconds()) < 5
    assert caller.listed(start=(fals + timedelta(seconds=60)).isoformat()) == []
    (event,) = caller.get("/v1/models/billing-events").json()["billing_events"]
    assert abs((datetime.fromisoformat(event["timestamp"]) - fals).total_seconds()) < 30


def test_an_answer_may_say_no_time(fal: LocalFal, caller: Caller) -> None:
    """date_missing: no Date on fal's answers; what stands between has its own clock, which is this machine's."""
    fal.faults.add("date_skew", value=7200)
    fal.faults.add("edge_error", route="status")
    between = parsedate_to_datetime(ASK["status"](caller).headers["date"])
    assert abs((between - datetime.now(UTC)).total_seconds()) < 5
    fal.faults.add("date_missing")
    assert "date" not in caller.get("/v1/meta").headers
    assert "date" not in ASK["status"](caller).headers


def test_a_knob_does_not_take_what_it_does_not_read(fal: LocalFal, caller: Caller) -> None:
    """A route for a knob without one is refused, in process and over HTTP."""
    with pytest.raises(ValueError, match="lost_reply does not take route"):
        fal.faults.add("lost_reply", route="submit")
    reply = caller.post("/_local/faults", json={"name": "edge_error", "route": "nowhere"})
    assert (reply.status_code, "submit" in reply.text) == (400, True)
    assert caller.post("/_local/faults", json={"name": "edge_error", "route": "files"}).status_code == 200
    assert caller.put("/_local/faults", json={"edge_error": {"route": "files", "value": 403}}).is_success
    assert ASK["files"](caller).status_code == 403
