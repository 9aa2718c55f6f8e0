"""The Platform API: catalogue, prices, finding requests again, what was billed."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from local_fal_helpers import INGREDIENT, VIDEO, Caller, until

from prefect_ltx.local import LocalFal


def iso(seconds_from_now: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds_from_now)).isoformat()


def test_the_catalogue_lists_both_endpoints_with_their_schema(caller: Caller) -> None:
    """expand=openapi-3.0 gives the input's JSON schema, without what is this package's own."""
    models = caller.get("/v1/models", params={"expand": "openapi-3.0"}).json()["models"]
    assert [model["endpoint_id"] for model in models] == [VIDEO, INGREDIENT]
    path = models[0]["openapi"]["paths"][f"/{VIDEO}"]["post"]
    schema = path["requestBody"]["content"]["application/json"]["schema"]
    assert "video_strength" in schema["properties"]
    assert "extra_arguments" not in schema["properties"]
    assert (
        caller.get("/v1/models", params={"q": "storyboard"}).json()["models"][0]["endpoint_id"] == INGREDIENT
    )
    assert caller.get("/v1/models", params={"status": "deprecated"}).json()["models"] == []


def test_prices_are_those_of_the_page_and_a_knob_changes_them(fal: LocalFal, caller: Caller) -> None:
    """Unit, currency and unit price; the bill follows the same knob."""
    path = f"/v1/models/pricing?endpoint_id={VIDEO},{INGREDIENT}"
    prices = caller.get(path).json()["prices"]
    assert prices[0] == {
        "endpoint_id": VIDEO,
        "unit_price": 0.0024075,
        "unit": "megapixels",
        "currency": "USD",
    }
    fal.faults.add("unit_price", value=0.003)
    assert {price["unit_price"] for price in caller.get(path).json()["prices"]} == {0.003}
    assert caller.get("/v1/models/pricing").status_code == 400
    assert caller.get("/v1/models/pricing?endpoint_id=fal-ai/other").status_code == 404


def test_estimates_multiply(caller: Caller, video_body: dict[str, Any]) -> None:
    """By unit price exactly; by call at the mean of what this account paid."""
    caller.generate(video_body)

    def estimate(kind: str, quantity: str, amount: float) -> Any:
        wish = {"estimate_type": kind, "endpoints": {VIDEO: {quantity: amount}}}
        return caller.post("/v1/models/pricing/estimate", json=wish)

    assert estimate("unit_price", "unit_quantity", 112).json()["total_cost"] == 0.26964
    assert estimate("historical_api_price", "call_quantity", 2).json()["total_cost"] == 2 * 0.0024075
    assert estimate("unit_price", "unit_quantity", 0).status_code == 400
    assert estimate("other", "unit_quantity", 1).status_code == 400


def test_a_request_is_found_again_with_its_payloads(caller: Caller, video_body: dict[str, Any]) -> None:
    """by-endpoint with expand=payloads: what went in exactly, and what came out."""
    result = caller.generate(video_body)
    item = caller.listed(expand="payloads")[0]
    assert item["json_input"] == video_body
    assert item["json_output"] == result.json()
    assert (item["status_code"], item["endpoint_id"]) == (200, VIDEO)
    assert item["sent_at"] <= item["started_at"] <= item["ended_at"]
    assert "json_input" not in caller.listed()[0]
    assert caller.listed(INGREDIENT) == []


def test_payloads_are_not_stored_for_who_asks_so(caller: Caller, video_body: dict[str, Any]) -> None:
    """X-Fal-Store-IO: 0."""
    caller.submit(video_body, headers={"x-fal-store-io": "0"})
    assert "json_input" not in caller.listed(expand="payloads")[0]


def test_waiting_and_running_requests_are_listed(video_body: dict[str, Any]) -> None:
    """With ended_at and status_code null; a knob hides what has not started."""
    with LocalFal(renderer="stored-clip", render_seconds=30, concurrency=1) as fal, Caller(fal.url) as caller:
        running, queued = (caller.submit(video_body)["request_id"] for _ in range(2))
        caller.until(running, "IN_PROGRESS")
        items = caller.listed()
        assert [item["request_id"] for item in items] == [queued, running]
        assert {(item["ended_at"], item["status_code"]) for item in items} == {(None, None)}
        assert all(item["started_at"] for item in items)
        fal.faults.add("listing_hides_queued")
        assert [item["request_id"] for item in caller.listed()] == [running]


def test_pages_hold_every_request_once_though_new_ones_arrive(
    caller: Caller, video_body: dict[str, Any]
) -> None:
    """A cursor keeps to what was there when the first page was read."""
    ids = [caller.submit(video_body)["request_id"] for _ in range(7)]
    seen: list[str] = []
    params: dict[str, Any] = {"endpoint_id": VIDEO, "limit": 3}
    while True:
        page = caller.get("/v1/models/requests/by-endpoint", params=params).json()
        seen += [item["request_id"] for item in page["items"]]
        assert page["has_more"] == (page["next_cursor"] is not None)
        if not page["has_more"]:
            break
        params["cursor"] = page["next_cursor"]
        caller.submit(video_body)
    assert seen == ids[::-1]


def test_a_window_is_held_against_the_submit(caller: Caller, video_body: dict[str, Any]) -> None:
    """start included, end excluded; a date without a zone is UTC."""
    caller.submit(video_body)
    assert len(caller.listed(start=iso(-60))) == 1
    assert caller.listed(start=iso(60)) == []
    assert caller.listed(start=iso(-120), end=iso(-60)) == []
    assert len(caller.listed(start=(datetime.now(UTC) - timedelta(days=2)).date().isoformat())) == 1
    for wrong in ({"start": "yesterday"}, {"limit": 101}, {"cursor": "Mg=="}, {"status": "fine"}):
        params = {"endpoint_id": VIDEO, **wrong}
        assert caller.get("/v1/models/requests/by-endpoint", params=params).status_code == 400
    assert caller.get("/v1/models/requests/by-endpoint").status_code == 400


def test_the_listing_is_filtered_by_status_and_id(caller: Caller, video_body: dict[str, Any]) -> None:
    """success, user_error and error, and one request by its id."""
    good = caller.submit(video_body)["request_id"]
    bad = caller.submit({"prompt": "x"})["request_id"]
    for request_id in (good, bad):
        caller.until(request_id)
    assert [item["request_id"] for item in caller.listed(status="success")] == [good]
    assert [item["request_id"] for item in caller.listed(status="user_error")] == [bad]
    assert caller.listed(status="error") == []
    assert [item["request_id"] for item in caller.listed(request_id=bad)] == [bad]
    assert {item["request_id"] for item in caller.listed(sort_by="ended_at")} == {good, bad}


def test_the_listing_lags_and_is_forbidden_on_demand(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """The knobs for what fal leaves open."""
    caller.submit(video_body)
    fal.faults.add("listing_lag_seconds", value=3)
    assert caller.listed() == []
    until(lambda: len(caller.listed()) == 1)
    fal.faults.add("listing_without_payloads")
    assert "json_input" not in caller.listed(expand="payloads")[0]
    fal.faults.add("listing_forbidden")
    reply = caller.get(f"/v1/models/requests/by-endpoint?endpoint_id={VIDEO}")
    assert (reply.status_code, reply.json()["error"]["type"]) == (403, "authorization_error")


def test_every_key_sees_its_own_requests_and_bill_only(fal: LocalFal, video_body: dict[str, Any]) -> None:
    """Sub-account isolation, in listing, search, billing events and usage."""
    with Caller(fal.url, "a:1") as first, Caller(fal.url, "b:1") as second:
        first.generate(video_body)
        assert len(first.listed()) == 1
        assert second.listed() == []
        assert second.get("/v1/models/requests/search").json()["results"] == []
        assert second.get("/v1/models/billing-events").json()["billing_events"] == []
        assert second.get("/v1/models/usage").json()["time_series"] == []
        assert len(first.get("/v1/models/billing-events").json()["billing_events"]) == 1


def test_billing_events_say_what_each_request_cost(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """One event a charge, to the last nano-dollar, and none for a failure."""
    request_id = caller.submit(video_body)["request_id"]
    caller.until(request_id)
    caller.until(caller.submit({"prompt": "x"})["request_id"])
    events = caller.get("/v1/models/billing-events").json()["billing_events"]
    assert len(events) == 1
    assert events[0] | {"timestamp": ""} == {
        "request_id": request_id,
        "endpoint_id": VIDEO,
        "timestamp": "",
        "output_units": 1,
        "unit_price": 0.0024075,
        "percent_discount": None,
        "cost_subtotal": 0.0024075,
        "cost_discount": 0,
        "cost_total": 0.0024075,
        "cost_estimate_nano_usd": 2_407_500,
    }
    filtered = caller.get("/v1/models/billing-events", params={"request_id": "other"}).json()
    assert filtered["billing_events"] == []
    fal.faults.add("billing_lag_seconds", value=60)
    assert caller.get("/v1/models/billing-events").json()["billing_events"] == []


def test_usage_and_credits_add_up(fal: LocalFal, caller: Caller, video_body: dict[str, Any]) -> None:
    """Quantity and cost by day and endpoint, and what is left of the opening balance."""
    for _ in range(2):
        caller.generate(video_body)
    usage = caller.get("/v1/models/usage", params={"expand": "time_series,summary"}).json()
    line = usage["time_series"][0]["results"][0]
    assert (line["quantity"], line["cost_total"], line["unit"]) == (2, 0.004815, "megapixels")
    assert usage["summary"] == usage["time_series"][0]["results"]
    credits = caller.get("/v1/account/billing?expand=credits").json()["credits"]
    assert Decimal(str(credits["current_balance"])) == Decimal(100) - fal.bill.total_usd
    assert "credits" not in caller.get("/v1/account/billing").json()
    fal.faults.add("billing_forbidden")
    for path in ("/v1/models/usage", "/v1/models/billing-events", "/v1/account/billing"):
        assert caller.get(path).status_code == 403


def test_meta_needs_no_key(caller: Caller) -> None:
    """Where webhooks come from."""
    assert "127.0.0.1/32" in caller.get("/v1/meta").json()["webhook_ip_ranges"]


@pytest.mark.parametrize(
    "path", ["/v1/models", f"/v1/models/pricing?endpoint_id={VIDEO}", "/v1/models/usage"]
)
def test_the_platform_api_fails_on_demand(fal: LocalFal, caller: Caller, path: str) -> None:
    """platform_5xx, in the API's own error shape."""
    fal.faults.add("platform_5xx", value=503)
    reply = caller.get(path)
    assert (reply.status_code, reply.json()["error"]["type"]) == (503, "server_error")
    assert caller.get(path).status_code == 200
