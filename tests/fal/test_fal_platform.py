import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from fal_wire import Answer, Seen, Wire, answer

from prefect_ltx.fal import (
    INGREDIENT,
    REFERENCE_VIDEO,
    FalClient,
    FalError,
    FalGateway,
    FalPermissionDenied,
    FalProtocolError,
    FalRequestInvalid,
    FalUnavailable,
    ListedRequest,
)

LISTING = "/v1/models/requests/by-endpoint"
PRICING = "/v1/models/pricing"
BILLING = "/v1/models/billing-events"
START = datetime(2026, 11, 20, 10, tzinfo=UTC)


def item(number: int, **changes: object) -> dict[str, object]:
    at = f"2026-11-20T10:00:0{number}Z"
    named = {"request_id": f"id-{number}", "endpoint_id": INGREDIENT, "started_at": at, "sent_at": at}
    return named | {"json_input": {"seed": number}} | changes


def page(items: list[dict[str, object]], cursor: str | None = None, key: str = "items") -> Answer:
    return answer({key: items, "next_cursor": cursor, "has_more": cursor is not None})


async def listed(client: FalClient) -> list[ListedRequest]:
    return [one async for one in client.list_requests(INGREDIENT, start=START)]


async def test_the_listing_goes_through_all_pages_once(client: FalClient, wire: Wire, key: str) -> None:
    """Every request comes once, however items move between pages, with its stored input."""
    wire.on(LISTING, page([item(1), item(2)], "Mg=="), page([item(2), item(3)], "Mw=="), page([]))
    end = START + timedelta(minutes=5)
    got = [one async for one in client.list_requests(INGREDIENT, start=START, end=end, request_id="id-9")]
    assert [one.request_id for one in got] == ["id-1", "id-2", "id-3"]
    assert got[0].json_input == {"seed": 1}
    first, second, third = wire.seen
    assert first.query == {
        "endpoint_id": INGREDIENT,
        "start": "2026-11-20T10:00:00.000Z",
        "end": "2026-11-20T10:05:00.000Z",
        "request_id": "id-9",
        "expand": "payloads",
        "limit": "10",
    }
    assert (second.query["cursor"], third.query["cursor"]) == ("Mg==", "Mw==")
    assert first.headers["authorization"] == f"Key {key}"


async def test_a_cursor_that_repeats_does_not_go_round_for_ever(client: FalClient, wire: Wire) -> None:
    """A server that always names the same next page is asked for it once."""
    wire.on(LISTING, page([item(1)], "Mg=="))
    assert len(await listed(client)) == 1
    assert len(wire.seen) == 2


async def test_a_running_request_is_listed_without_its_end(client: FalClient, wire: Wire) -> None:
    """Nulls and missing payloads are no errors, and times without a zone are UTC."""
    running = item(1, started_at=None, ended_at=None, status_code=None, duration=None)
    running["sent_at"] = "2026-11-20T10:00:01"
    del running["json_input"]
    wire.on(LISTING, page([running]))
    [one] = await listed(client)
    assert (one.started_at, one.ended_at, one.json_input) == (None, None, None)
    assert one.sent_at == datetime(2026, 11, 20, 10, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize("body", [{}, {"items": None}, {"items": [item(1), {"request_id": "x"}]}, [1], "x"])
async def test_an_unreadable_listing_is_not_an_empty_one(client: FalClient, wire: Wire, body: object) -> None:
    """A request that cannot be read must never pass for one that is absent."""
    wire.on(LISTING, answer(body))
    with pytest.raises((FalProtocolError, FalGateway)):
        await listed(client)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (
            answer({"error": {"type": "authorization_error", "message": "needs scope"}}, 403),
            FalPermissionDenied,
        ),
        (answer({"error": {"type": "server_error", "message": "x"}}, 500), FalUnavailable),
        (Answer(end="silent"), FalUnavailable),
    ],
)
async def test_a_listing_that_cannot_be_had_is_an_error(
    client: FalClient, wire: Wire, failure: Answer, kind: type[FalError]
) -> None:
    """A refused or failed listing is never an empty one, not even on its second page."""
    wire.on(LISTING, failure)
    with pytest.raises(kind):
        await listed(client)
    wire.on(LISTING, page([item(1)], "Mg=="), failure)
    with pytest.raises(kind):
        await listed(client)


async def test_a_naive_time_is_refused(client: FalClient, wire: Wire) -> None:
    """A window whose zone is a guess could miss the request that it looks for."""
    with pytest.raises(FalRequestInvalid, match="time zone"):
        [one async for one in client.list_requests(INGREDIENT, start=datetime(2026, 1, 1))]
    assert wire.seen == []


async def test_prices_are_exact_and_by_endpoint(client: FalClient, wire: Wire) -> None:
    """The unit price is the number that fal wrote, not its float neighbour."""
    prices = [
        f'{{"endpoint_id":"{endpoint}","unit_price":{number},"unit":"megapixels","currency":"USD"}}'
        for endpoint, number in ((INGREDIENT, "0.0024075"), (REFERENCE_VIDEO, "0.10000000000000000555"))
    ]
    wire.on(PRICING, Answer(200, f'{{"prices":[{",".join(prices)}]}}'.encode()))
    got = await client.prices([INGREDIENT, REFERENCE_VIDEO])
    assert got[INGREDIENT].unit_price == Decimal("0.0024075")
    assert got[REFERENCE_VIDEO].unit_price == Decimal("0.10000000000000000555")
    assert got[INGREDIENT].unit == "megapixels"


async def test_billing_events_are_asked_for_fifty_at_a_time(client: FalClient, wire: Wire) -> None:
    """Many requests are settled by few calls, amounts exact."""

    def events(seen: Seen) -> Answer:
        event = {
            "request_id": seen.query["request_id"],
            "endpoint_id": INGREDIENT,
            "timestamp": "2026-11-20T10:00:00Z",
            "output_units": 167,
            "unit_price": None,
            "cost_total": 0.4020525,
        }
        return answer({"billing_events": [event]})

    wire.on(BILLING, events)
    got = await client.billing_events(request_ids=[f"id-{n}" for n in range(120)], start=START)
    assert len(wire.seen) == 3
    assert [one.request_id for one in got] == ["id-49", "id-99", "id-119"]
    assert (got[0].cost_total, got[0].output_units, got[0].unit_price) == (Decimal("0.4020525"), 167, None)


async def test_requests_are_settled_long_after_they_ran(client: FalClient, wire: Wire) -> None:
    """Asked for by id, an event is looked for as far back as fal allows, not only in fal's default of a day."""
    wire.on(BILLING, answer({"billing_events": []}))
    await client.billing_events(request_ids=["id-1"])
    start = datetime.fromisoformat(wire.seen[0].query["start"])
    assert timedelta(days=88) < datetime.now(UTC) - start < timedelta(days=90)


async def test_billing_needs_a_question(client: FalClient, wire: Wire) -> None:
    """Asking for everything by accident is refused; asking for no request is answered without a call."""
    with pytest.raises(FalRequestInvalid):
        await client.billing_events()
    assert await client.billing_events(request_ids=[]) == []
    assert wire.seen == []


async def test_webhook_keys_are_fetched_without_the_key_and_kept(client: FalClient, wire: Wire) -> None:
    """fal's public keys are asked for once a day, or when wanted, without a credential."""
    wire.on("/.well-known/jwks.json", Answer(200, json.dumps({"keys": [{"kty": "OKP"}, 5]}).encode()))
    for _ in range(2):
        assert await client.webhook_keys() == [{"kty": "OKP"}]
    await client.webhook_keys(refresh=True)
    assert len(wire.seen) == 2
    assert "authorization" not in wire.seen[0].headers
