"""The bill as it may come: padded, by what was asked, in parts, late, never, absurd; and uploads that are gone."""

from decimal import Decimal
from typing import Any

import pytest
from local_fal_helpers import VIDEO, Caller

from prefect_ltx.fal import UNIT_PRICE_USD
from prefect_ltx.local import LocalFal

LARGE = {"resolution": {"width": 1280, "height": 720}, "num_frames": 10}
"""9.216 megapixels as asked, 15.667 with the frames padded to 17; the stored clip has 256x144x9."""


def events(caller: Caller, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = caller.get("/v1/models/billing-events", params=params).json()[
        "billing_events"
    ]
    return found


@pytest.mark.parametrize(
    ("knobs", "units"),
    [
        ([], 1),
        (["bill_requested"], 10),
        (["bill_padded_frames"], 1),
        (["bill_requested", "bill_padded_frames"], 16),
        (["bill_requested", "bill_padded_frames", "absurd_bill"], 16_000),
    ],
)
def test_what_is_billed_may_be_what_was_asked_padded_or_absurd(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any], knobs: list[str], units: int
) -> None:
    """The header, the event and the bill say the same."""
    for knob in knobs:
        fal.faults.add(knob)
    reply = caller.generate(video_body | LARGE)
    assert reply.headers["x-fal-billable-units"] == str(units)
    (event,) = events(caller)
    assert event["output_units"] == units
    assert fal.bill.total_usd == units * UNIT_PRICE_USD


def test_padded_frames_are_billed_of_what_was_delivered_too(
    rendering: Caller, video_body: dict[str, Any]
) -> None:
    """10 frames of 640x360, billed as 17; with pad_frames they are delivered as well."""
    rendering.fal.faults.add("bill_padded_frames")
    small = {"resolution": {"width": 640, "height": 360}, "num_frames": 10}
    assert rendering.generate(video_body | small).headers["x-fal-billable-units"] == "4"
    rendering.fal.faults.clear()
    assert rendering.generate(video_body | small).headers["x-fal-billable-units"] == "3"
    rendering.fal.faults.add("pad_frames")
    assert rendering.generate(video_body | small).headers["x-fal-billable-units"] == "4"


@pytest.mark.parametrize("asked", ["auto", {"width": 256, "height": 144}])
def test_built_in_control_makes_an_area_of_its_own(
    rendering: Caller, video_body: dict[str, Any], asked: Any
) -> None:
    """control_area: half a megapixel in the reference's shape, also where another size was asked."""
    rendering.fal.faults.add("control_area")
    body = video_body | {"resolution": asked}
    request_id = rendering.submit(body)["request_id"]
    lines = [log["message"] for log in rendering.until(request_id)["logs"]]
    assert any("frames of 960x512" in line for line in lines)


def test_direct_control_follows_the_reference(
    rendering: Caller, video_body: dict[str, Any], clip_url: str
) -> None:
    """`auto` is the source's own size on the grid, the knob for the built-in control or not."""
    rendering.fal.faults.add("control_area")
    body = video_body | {
        "resolution": "auto",
        "control_video_url": clip_url,
        "skip_control_preprocess": True,
    }
    request_id = rendering.submit(body)["request_id"]
    lines = [log["message"] for log in rendering.until(request_id)["logs"]]
    assert any("frames of 320x128" in line for line in lines)


def test_a_charge_can_be_several_events_and_some_of_them_late(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """Their sum is the charge, to the nano-dollar; the bill has one charge all along."""
    fal.faults.add("split_billing", value=3)
    fal.faults.add("split_billing_late", value=600)
    fal.faults.add("bill_requested")
    caller.generate(video_body | LARGE)
    (charge,) = fal.bill
    early = events(caller, request_id=charge.request_id)
    assert len(early) == 1
    assert early[0]["cost_total"] < float(charge.usd)
    fal.faults.clear()
    fal.faults.add("split_billing", value=3)
    parts = events(caller, request_id=charge.request_id)
    assert {part["request_id"] for part in parts} == {charge.request_id}
    assert sum(part["cost_estimate_nano_usd"] for part in parts) == charge.usd * 10**9
    assert sum(Decimal(str(part["output_units"])) for part in parts) == charge.units
    assert [events(caller, limit=2, request_id=charge.request_id)] == [parts[:2]]


def test_a_bill_can_be_missing(fal: LocalFal, caller: Caller, video_body: dict[str, Any]) -> None:
    """billing_missing: charged, and in no event. no_billable_units: not on the result either."""
    fal.faults.add("billing_missing", 1)
    fal.faults.add("no_billable_units")
    replies = [caller.generate(video_body) for _ in range(2)]
    assert all("x-fal-billable-units" not in reply.headers for reply in replies)
    assert (len(fal.bill), len(events(caller)), len(events(caller))) == (2, 1, 1)


def test_the_bill_can_part_from_the_price_list(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """billed_unit_price: another price than the one that is quoted."""
    fal.faults.add("billed_unit_price", value=0.01)
    caller.generate(video_body)
    prices = caller.get(f"/v1/models/pricing?endpoint_id={VIDEO}").json()["prices"]
    assert (prices[0]["unit_price"], fal.bill.total_usd) == (0.0024075, Decimal("0.01"))


@pytest.mark.parametrize(
    ("headers", "factor"),
    [
        ({}, 3),
        ({"x-app-fal-disable-fallback": "0"}, 3),
        ({"x-app-fal-disable-fallback": "1"}, 1),
        ({"X-App-Fal-Disable-Fallback": "true"}, 1),
        ({"x-fal-disable-fallbacks": "true"}, 1),
    ],
)
def test_a_request_may_be_answered_by_a_dearer_endpoint(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any], headers: dict[str, str], factor: int
) -> None:
    """fallback: unless the request forbids it; listing and events name the endpoint that did it."""
    fal.faults.add("fallback")
    request_id = caller.submit(video_body, headers=headers)["request_id"]
    caller.until(request_id)
    assert fal.bill.total_usd == factor * UNIT_PRICE_USD
    named = VIDEO if factor == 1 else f"{VIDEO}/fallback"
    assert caller.listed()[0]["endpoint_id"] == named
    assert events(caller)[0]["endpoint_id"] == named


def test_what_a_request_was_sent_with_can_be_looked_up(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """Headers that fal does not know change nothing; the key is not kept."""
    with Caller(fal.url, key="me:secret") as keyed:
        sent = {
            "x-app-fal-disable-fallback": "true",
            "X-Fal-Idempotency-Key": "one",
            "idempotency-key": "one",
        }
        first, second = (keyed.submit(video_body, headers=sent)["request_id"] for _ in range(2))
    assert first != second
    headers = fal.headers_of(first)
    assert (headers["x-app-fal-disable-fallback"], headers["idempotency-key"]) == ("true", "one")
    assert "secret" not in str(headers)
    shown = {
        each["request_id"]: each["headers"] for each in caller.get("/_local/requests").json()["requests"]
    }
    assert shown[first] == headers


@pytest.mark.parametrize("how", ["knob", "python", "http"])
def test_an_upload_that_is_gone_is_a_422_which_may_be_billed(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any], clip_file: Any, how: str
) -> None:
    """file_download_error names the field; the URL answers 404 from then on, and each try is billed again."""
    url = caller.post("/files/upload", content=clip_file.read_bytes()).json()["access_url"]
    body = video_body | {"video_url": url}
    assert caller.generate(body).status_code == 200
    fal.faults.add("bill_422")
    if how == "knob":
        fal.faults.add("upload_gone")
    elif how == "python":
        assert fal.forget_uploads() == 1
    else:
        assert caller.http.delete("/_local/uploads").json() == {"deleted": 1}
    for _ in range(2):
        reply = caller.generate(body)
        problem = reply.json()["detail"][0]
        assert (reply.status_code, problem["type"]) == (422, "file_download_error")
        assert problem["loc"] == ["body", "video_url"]
    assert caller.get(url).status_code == 404
    assert len(fal.bill) == 3
