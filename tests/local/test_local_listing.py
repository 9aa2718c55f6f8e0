"""A listing as fal's may be: in another order, under another name, with pages that do not fit together."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from local_fal_helpers import APP, INGREDIENT, VIDEO, Caller

from prefect_ltx.local import LocalFal

LISTING = "/v1/models/requests/by-endpoint"


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["request_id"] for item in items]


def finished(caller: Caller, body: dict[str, Any], count: int) -> list[str]:
    made = [caller.submit(body)["request_id"] for _ in range(count)]
    for request_id in made:
        caller.until(request_id)
    return made


def pages(caller: Caller, limit: int, most: int = 10, endpoint: str = VIDEO) -> list[dict[str, Any]]:
    """Pages by their cursors, until one gives none."""
    read: list[dict[str, Any]] = []
    params: dict[str, Any] = {"endpoint_id": endpoint, "limit": limit}
    while len(read) < most:
        read.append(caller.get(LISTING, params=params).raise_for_status().json())
        if read[-1]["next_cursor"] is None:
            break
        params["cursor"] = read[-1]["next_cursor"]
    return read


def test_a_listing_by_ended_at_hides_what_waits_or_runs(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """Absent by construction, whatever the window; asked by its id too. There once it has ended."""
    fal.faults.add("listing_by_ended_at")
    (done,) = finished(caller, video_body, 1)
    fal.faults.add("concurrency", value=0)
    waiting = caller.submit(video_body)["request_id"]
    assert ids(caller.listed()) == [done]
    assert caller.listed(request_id=waiting) == []
    assert not caller.get("/.well-known/prefect-ltx-local-fal").json()["lists_unfinished"]
    fal.faults.clear("concurrency")
    caller.until(waiting)
    assert ids(caller.listed()) == [waiting, done]


def test_its_window_is_of_the_end(fal: LocalFal, caller: Caller, video_body: dict[str, Any]) -> None:
    """A job that began before `start` and ended after it: listed only where the time is that of its end."""
    fal.faults.add("slow_run", value=0.5)
    finished(caller, video_body, 1)
    (item,) = caller.listed()
    between = (datetime.fromisoformat(item["sent_at"]) + timedelta(seconds=0.25)).isoformat()
    assert (len(caller.listed(start=between)), len(caller.listed(end=between))) == (0, 1)
    fal.faults.add("listing_by_ended_at")
    assert (len(caller.listed(start=between)), len(caller.listed(end=between))) == (1, 0)


@pytest.mark.parametrize("to", [None, "ltx-2.3-quality/reference-video-to-video", "fal-ai/other/fallback"])
def test_the_listing_can_spell_the_endpoint_otherwise(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any], to: str | None
) -> None:
    """Asked by the id that was POSTed to, or by the other spelling: the entry has the other spelling."""
    (made,) = finished(caller, video_body, 1)
    fal.faults.add("listing_spelling", **({} if to is None else {"to": to}))
    for endpoint in (VIDEO, to or APP):
        (item,) = caller.listed(endpoint)
        assert (item["request_id"], item["endpoint_id"]) == (made, to or APP)
    assert caller.listed(INGREDIENT) == []


def test_pages_can_repeat_what_was_on_the_one_before(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """listing_overlap and listing_duplicates: everything is there, and some of it more than once."""
    made = finished(caller, video_body, 5)[::-1]
    fal.faults.add("listing_overlap")
    assert [ids(page["items"]) for page in pages(caller, 2)] == [made[:2], made[1:4], made[3:]]
    fal.faults.clear()
    fal.faults.add("listing_duplicates")
    (page,) = pages(caller, 5)
    assert ids(page["items"]) == [request_id for request_id in made for _ in range(2)]


def test_a_listing_can_end_too_early(fal: LocalFal, caller: Caller, video_body: dict[str, Any]) -> None:
    """listing_truncated: it says that there is more, and does not say where."""
    made = finished(caller, video_body, 3)[::-1]
    fal.faults.add("listing_truncated", value=2)
    (page,) = pages(caller, 100)
    assert (ids(page["items"]), page["has_more"], page["next_cursor"]) == (made[:2], True, None)


def test_a_listing_can_have_a_page_too_many_or_no_end(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """listing_extra_page: an empty last page. listing_repeats_cursor: the first page for ever."""
    made = finished(caller, video_body, 2)[::-1]
    fal.faults.add("listing_extra_page")
    assert [ids(page["items"]) for page in pages(caller, 2)] == [made, []]
    fal.faults.clear()
    fal.faults.add("listing_repeats_cursor")
    assert [ids(page["items"]) for page in pages(caller, 2, most=4)] == [made] * 4


@pytest.mark.parametrize("expand", [{}, {"expand": "payloads"}])
def test_an_entry_can_be_one_that_nobody_can_read(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any], expand: dict[str, str]
) -> None:
    """odd_item: null, or without its id, or with an input that is no object; the same one each time."""
    first, second = finished(caller, video_body, 2)
    fal.faults.add("odd_item", to=None)
    fal.faults.add("odd_item", 2, field="json_input", to="[…]")
    for _ in range(2):
        listed: list[Any] = caller.listed(**expand)
        assert listed[0] is None
        assert (listed[1]["request_id"], listed[1]["json_input"]) == (first, "[…]")
    fal.faults.clear()
    assert ids(caller.listed()) == [second, first]


def test_the_price_list_can_be_down(fal: LocalFal, caller: Caller, video_body: dict[str, Any]) -> None:
    """prices_down: no quote, while everything else goes on and is billed."""
    fal.faults.add("prices_down")
    assert caller.get(f"/v1/models/pricing?endpoint_id={VIDEO}").status_code == 503
    finished(caller, video_body, 1)
    assert len(caller.get("/v1/models/billing-events").json()["billing_events"]) == 1
