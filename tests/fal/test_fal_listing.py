"""The listing as one value: what it takes to conclude something from an absent request."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from fal_wire import Answer, Seen, Wire, answer

from prefect_ltx.fal import (
    INGREDIENT,
    FalClient,
    FalError,
    FalGateway,
    FalPermissionDenied,
    FalRequestInvalid,
    FalUnavailable,
    platform_api,
)

LISTING = "/v1/models/requests/by-endpoint"
START = datetime(2026, 11, 20, 10, tzinfo=UTC)


def item(number: int, **changes: object) -> dict[str, object]:
    at = f"2026-11-20T10:00:0{number}Z"
    named = {"request_id": f"id-{number}", "endpoint_id": INGREDIENT, "started_at": at, "sent_at": at}
    return named | {"json_input": {"seed": number}} | changes


def page(*items: object, cursor: str | None = None, **paging: object) -> Answer:
    return answer({"items": list(items), "next_cursor": cursor, "has_more": cursor is not None} | paging)


async def test_a_listing_read_to_its_end_is_complete(client: FalClient, wire: Wire, key: str) -> None:
    """All pages, each request once, heard when the first page was asked; the end stays open, pages are small."""
    first = page(item(1), item(2), cursor="a")
    wire.on(
        LISTING,
        Answer(200, first.body, first.headers | {"date": "Fri, 20 Nov 2026 11:00:00 GMT"}),
        page(item(2), item(3), cursor="b"),
        page(),
    )
    got = await client.listing(INGREDIENT, start=START, request_id="id-9")
    assert [one.request_id for one in got.items] == ["id-1", "id-2", "id-3"]
    assert (got.complete, got.unreadable) == (True, [])
    assert got.heard is not None
    assert got.heard.by == "fal"
    assert got.heard.asked_at is not None
    assert datetime.fromtimestamp(got.heard.asked_at.latest, UTC) == datetime(
        2026, 11, 20, 11, 0, 2, tzinfo=UTC
    )
    assert "end" not in wire.seen[0].query
    assert (wire.seen[0].query["limit"], wire.seen[0].query["request_id"]) == ("10", "id-9")
    assert wire.seen[0].headers["authorization"] == f"Key {key}"
    await client.listing(INGREDIENT, start=START, expand_payloads=False)
    assert (wire.seen[-1].query["limit"], "expand" in wire.seen[-1].query) == ("100", False)


async def test_another_spelling_of_the_endpoint_is_kept(client: FalClient, wire: Wire) -> None:
    """How fal spells the endpoint of a request is not ours to correct, nor a reason to leave it out."""
    spelt = ["fal-ai/ltx-2.3-quality", "fal-ai/ltx-2.3-quality/ingredient/", "LTX"]
    wire.on(LISTING, page(*(item(number, endpoint_id=name) for number, name in enumerate(spelt))))
    got = await client.listing(INGREDIENT, start=START)
    assert [one.endpoint_id for one in got.items] == spelt
    assert got.complete


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"request_id": "id-7"}, "id-7"),
        ({"request_id": "id-7", "endpoint_id": INGREDIENT, "sent_at": "soon"}, "id-7"),
        ({"request_id": "id-7", "endpoint_id": 5, "sent_at": "2026-11-20T10:00:00Z"}, "id-7"),
        ({"request_id": "../x", "endpoint_id": INGREDIENT, "sent_at": "2026-11-20T10:00:00Z"}, ""),
        ({"request_id": "x" * 2_000_000, "endpoint_id": "a", "sent_at": "2026-11-20T10:00:00Z"}, ""),
        ({"request_id": 5}, ""),
        ("id-7", ""),
        (None, ""),
        ([], ""),
    ],
)
async def test_an_entry_that_cannot_be_read_is_doubt(
    client: FalClient, wire: Wire, entry: object, named: str
) -> None:
    """It is never skipped silently: the listing is not complete, the readable entries stay."""
    wire.on(LISTING, page(item(1), entry, item(2)))
    got = await client.listing(INGREDIENT, start=START)
    assert [one.request_id for one in got.items] == ["id-1", "id-2"]
    assert (got.complete, got.unreadable) == (False, [named])


@pytest.mark.parametrize(
    "last",
    [
        page(item(1), has_more=True),
        page(item(1), next_cursor=5),
        page(item(1), next_cursor=["x"], has_more=True),
        page(item(1), has_more="no"),
        page(item(1), has_more=None),
        answer({"items": [item(1)]}),
        answer({"items": [item(1)], "has_more": False}),
        page(item(1), cursor="same"),
    ],
)
async def test_a_listing_that_does_not_say_that_it_ends_is_not_complete(
    client: FalClient, wire: Wire, last: Answer
) -> None:
    """A page that is cut, that names no next one, or that names itself for ever ends, and proves nothing."""
    wire.on(LISTING, last)
    got = await client.listing(INGREDIENT, start=START)
    assert [one.request_id for one in got.items] == ["id-1"]
    assert not got.complete
    assert len(wire.seen) <= 2


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (answer({"error": {"type": "authorization_error", "message": "scope"}}, 403), FalPermissionDenied),
        (Answer(403, b"<html/>"), FalGateway),
        (Answer(200, b"<html/>"), FalGateway),
        (answer({"items": []}, cut=5), FalUnavailable),
        (answer([item(1)]), FalGateway),
        (answer({"results": []}), FalGateway),
    ],
)
async def test_a_page_that_cannot_be_had_is_an_error(
    client: FalClient, wire: Wire, failure: Answer, kind: type[FalError]
) -> None:
    """Half a listing is none, whichever page fails."""
    wire.on(LISTING, failure)
    with pytest.raises(kind):
        await client.listing(INGREDIENT, start=START)
    wire.on(LISTING, page(item(1), cursor="a"), failure)
    with pytest.raises(kind):
        await client.listing(INGREDIENT, start=START)


async def test_large_inputs_come_in_small_pages(client: FalClient, wire: Wire) -> None:
    """A payload of megabytes is read whole, and is what was sent."""
    sheet = "data:image/png;base64," + "A" * 3_000_000
    wire.on(LISTING, page(item(1, json_input={"image_url": sheet, "seed": 1})))
    [one] = (await client.listing(INGREDIENT, start=START)).items
    assert one.json_input == {"image_url": sheet, "seed": 1}


async def test_a_listing_without_a_zone_is_refused(client: FalClient, wire: Wire) -> None:
    """A window whose zone is a guess could miss the request that it looks for."""
    with pytest.raises(FalRequestInvalid, match="time zone"):
        await client.listing(INGREDIENT, start=datetime(2026, 1, 1))
    assert wire.seen == []


BILLING = "/v1/models/billing-events"


def event(number: int, cost: object = 0.1, **changes: object) -> dict[str, object]:
    return {
        "request_id": f"id-{number}",
        "endpoint_id": INGREDIENT,
        "timestamp": "2026-11-20T10:00:00Z",
        "output_units": 1,
        "unit_price": cost,
        "cost_total": cost,
    } | changes


async def test_two_equal_events_of_one_page_are_two(client: FalClient, wire: Wire) -> None:
    """A request that is billed in two equal parts is billed twice; an event that only moved to the next page is not."""
    both = {"billing_events": [event(1), event(1), event(2)], "next_cursor": "a", "has_more": True}
    wire.on(BILLING, answer(both), answer({"billing_events": [event(2), event(3)]}))
    got = await client.billing_events(start=START)
    assert sorted(one.request_id for one in got) == ["id-1", "id-1", "id-2", "id-3"]


@pytest.mark.parametrize(
    "odd",
    [
        event(1, "much"),
        event(1, None),
        event(1, timestamp="then"),
        event(1, output_units=[1]),
        {"request_id": "id-1"},
    ],
)
async def test_one_unreadable_event_leaves_the_others(
    client: FalClient, wire: Wire, odd: dict[str, object]
) -> None:
    """The request of an event that cannot be read is not settled from its other events alone; the rest is."""
    wire.on(BILLING, answer({"billing_events": [event(1), odd, event(2)]}))
    got = await client.billing_events(start=START)
    assert [one.request_id for one in got] == ["id-2"]


@pytest.mark.parametrize("cost", ["1E+99999999", "1e400", "9" * 5000, "NaN", "Infinity", "-1E-99999999"])
@pytest.mark.parametrize("route", ["billing", "prices"])
async def test_an_absurd_amount_is_no_amount(client: FalClient, wire: Wire, route: str, cost: str) -> None:
    """Amounts are bounded, so that no arithmetic with them hangs or fails."""
    text = json.dumps({"billing_events": [event(1, "COST")]}).replace('"COST"', cost)
    wire.on(BILLING, Answer(200, text.encode()))
    price = {"endpoint_id": INGREDIENT, "unit_price": "COST", "unit": "megapixels", "currency": "USD"}
    wire.on(
        "/v1/models/pricing", Answer(200, json.dumps({"prices": [price]}).replace('"COST"', cost).encode())
    )
    if route == "billing":
        assert await client.billing_events(start=START) == []
    else:
        with pytest.raises(FalError):
            await client.prices([INGREDIENT])


def endless(seen: Seen) -> Answer:
    return page(cursor=str(int(seen.query.get("cursor", "0")) + 1))


async def test_pages_without_end_do_end(
    client: FalClient, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that always names another page is left after a bounded number of them."""
    monkeypatch.setattr(platform_api, "_MOST_PAGES", 20)
    wire.on(LISTING, endless)
    got = await client.listing(INGREDIENT, start=START - timedelta(hours=1))
    assert not got.complete
    assert len(wire.seen) == 20
