import asyncio

import pytest
from fal_wire import Answer, Wire, answer

from prefect_ltx.fal import (
    INGREDIENT,
    FalAccountLocked,
    FalAuthenticationError,
    FalClient,
    FalError,
    FalNotFound,
    FalPermissionDenied,
    FalRateLimited,
    FalRequestInvalid,
    FalRequestRejected,
    FalSubmitUnknown,
    FalValidationError,
    IngredientRequest,
)

PATH = f"/{INGREDIENT}"
ID = "01a083d0-1d3c-7000-8000-00000000000a"
BODY = IngredientRequest(prompt="a fox", image_url="https://files.example/sheet.png", seed=7).body()


def receipt(wire: Wire, **changes: object) -> dict[str, object]:
    base = f"{wire.url}/fal-ai/ltx-2.3-quality/requests/{ID}"
    named = {"request_id": ID, "response_url": base, "status_url": f"{base}/status"}
    return named | {"cancel_url": f"{base}/cancel", "queue_position": 3, "status": "IN_QUEUE"} | changes


async def failed(client: FalClient, wire: Wire) -> FalError:
    """The error of one submit that must have arrived exactly once."""
    with pytest.raises(FalError) as caught:
        await client.submit(INGREDIENT, BODY)
    assert len(wire.calls(PATH)) == 1
    return caught.value


async def test_submit_is_one_post_with_the_body_as_given(client: FalClient, wire: Wire, key: str) -> None:
    """The full endpoint id, the key and every field go out once, and the receipt is fal's."""
    wire.on(PATH, answer(receipt(wire)))
    got = await client.submit(INGREDIENT, BODY)
    [sent] = wire.seen
    assert (sent.method, sent.json, sent.query) == ("POST", BODY, {})
    assert sent.headers["authorization"] == f"Key {key}"
    assert sent.headers["content-type"] == "application/json"
    assert (got.request_id, got.queue_position) == (ID, 3)
    assert got.status_url == f"{wire.url}/fal-ai/ltx-2.3-quality/requests/{ID}/status"


async def test_options_become_fals_own_headers_and_query(client: FalClient, wire: Wire) -> None:
    """Webhook, start timeout, priority, tags and the server's own retries are said as the protocol says."""
    wire.on(PATH, answer(receipt(wire), 202))
    await client.submit(
        INGREDIENT,
        BODY,
        webhook_url="https://me.example/hook?nonce=1&x=2",
        start_timeout=2_000_000.5,
        priority="low",
        tags={"team": "film", "shot": "3"},
        no_server_retry=True,
    )
    [sent] = wire.seen
    assert sent.query == {"fal_webhook": "https://me.example/hook?nonce=1&x=2"}
    names = ("request-start-timeout", "request-timeout", "queue-priority", "tags", "no-retry")
    assert [sent.headers[f"x-fal-{name}"] for name in names] == [
        "2000000.5",
        "2000000.5",
        "low",
        "team=film,shot=3",
        "1",
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"start_timeout": 1},
        {"start_timeout": float("nan")},
        {"start_timeout": float("inf")},
        {"priority": "high"},
        {"tags": {"Team": "x"}},
        {"tags": {"fal.x": "y"}},
        {"tags": {"a": "b,c"}},
        {"tags": {"a": "line\nbreak"}},
        {"tags": {str(n): "x" for n in range(11)}},
        {"tags": {"a": ""}},
    ],
)
async def test_options_that_fal_would_drop_in_silence_are_refused(
    client: FalClient, wire: Wire, options: dict[str, object]
) -> None:
    """A wrong option is an error before anything is sent."""
    with pytest.raises(FalRequestInvalid):
        await client.submit(INGREDIENT, BODY, **options)  # type: ignore[arg-type]
    assert wire.seen == []


@pytest.mark.parametrize("endpoint", ["fox", "", "a/../b", "a/b?x=1", "a//b", "https://x/y", "a/b#c", "a/.."])
async def test_an_endpoint_cannot_lead_elsewhere(client: FalClient, wire: Wire, endpoint: str) -> None:
    """What is no owner/app/path is refused before anything is sent."""
    with pytest.raises(FalRequestInvalid, match="endpoint"):
        await client.submit(endpoint, BODY)
    assert wire.seen == []


async def test_a_body_that_is_not_json_is_refused(client: FalClient, wire: Wire) -> None:
    """NaN is found before anything is sent."""
    with pytest.raises(FalRequestInvalid, match="JSON"):
        await client.submit(INGREDIENT, BODY | {"x": float("nan")})
    assert wire.seen == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, FalRequestRejected),
        (401, FalAuthenticationError),
        (403, FalPermissionDenied),
        (404, FalNotFound),
        (405, FalRequestRejected),
        (413, FalRequestRejected),
        (415, FalRequestRejected),
        (422, FalValidationError),
        (429, FalRateLimited),
    ],
)
async def test_definite_refusals_are_not_billed(
    client: FalClient, wire: Wire, status: int, kind: type[FalError]
) -> None:
    """A refusal that fal itself wrote proves that nothing runs; it is sent once, 429 included."""
    wire.on(PATH, answer({"detail": "no, because"}, status, retry_after="7"))
    error = await failed(client, wire)
    assert type(error) is kind
    assert error.billed == "no"
    assert "Not billed" in str(error)
    assert "no, because" in str(error) or status == 422
    if isinstance(error, FalRateLimited):
        assert error.retry_after == 7


async def test_a_locked_account_says_so(client: FalClient, wire: Wire) -> None:
    """The commonest 403 tells the user to top up, not to change the key."""
    detail = "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."
    wire.on(PATH, answer({"detail": detail}, 403))
    assert isinstance(await failed(client, wire), FalAccountLocked)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 415, 422, 429])
async def test_a_refusal_that_fal_did_not_write_decides_nothing(
    client: FalClient, wire: Wire, status: int
) -> None:
    """A proxy's page proves only that a proxy answered, so the request counts as perhaps running."""
    wire.on(PATH, Answer(status, b"<html>Blocked by policy</html>", {"content-type": "text/html"}))
    error = await failed(client, wire)
    assert isinstance(error, FalSubmitUnknown)
    assert error.billed == "maybe"


async def test_a_refusal_with_fals_request_id_is_fals(client: FalClient, wire: Wire) -> None:
    """With fal's request id header even a stock phrase is fal's own."""
    wire.on(PATH, answer({"detail": "Bad Request", "more": 1}, 400, x_fal_request_id=ID))
    assert isinstance(await failed(client, wire), FalRequestRejected)


async def test_a_page_in_place_of_fals_body_decides_nothing(client: FalClient, wire: Wire) -> None:
    """What replaced the body may have passed fal's headers on: the request that they name is looked for."""
    wire.on(PATH, Answer(400, b"oops", {"x-fal-request-id": ID}))
    error = await failed(client, wire)
    assert isinstance(error, FalSubmitUnknown)
    assert error.request_id == ID


@pytest.mark.parametrize(
    "status", [300, 301, 302, 303, 307, 308, 402, 408, 409, 410, 425, 500, 502, 503, 504]
)
async def test_every_other_answer_is_unknown_and_never_repeated(
    client: FalClient, wire: Wire, status: int
) -> None:
    """Redirects are not followed and failures not retried: one POST, and its fate is unknown."""
    wire.on("/elsewhere", answer(receipt(wire)))
    wire.on(
        PATH, answer({"detail": "hm"}, status, location="/elsewhere", x_fal_needs_retry="1", retry_after="0")
    )
    error = await failed(client, wire)
    assert isinstance(error, FalSubmitUnknown)
    assert len(wire.seen) == 1
    assert "May have been billed" in str(error)
    assert error.request_id is None


BAD_ANSWERS = {
    "no answer, connection closed": Answer(end="silent"),
    "no answer, connection reset": Answer(end="reset"),
    "headers, then reset": answer({"request_id": ID}, cut=0, end="reset"),
    "cut inside the id": answer({"request_id": ID}, cut=30),
    "not JSON": Answer(200, b"<html>hello</html>"),
    "not an object": answer([ID]),
    "no id": answer({"status": "IN_QUEUE"}),
    "an empty id": answer({"request_id": ""}),
    "an id that is no id": answer({"request_id": "../../x"}),
    "a number for an id": answer({"request_id": 5}),
    "an empty body": Answer(204),
    "a body that never ends": Answer(200, b"x", {"content-length": "100"}, cut=1),
    "broken compression": Answer(200, b"xx", {"content-encoding": "gzip"}),
    "a redirect to no URL": Answer(302, b"", {"location": "//[::"}),
    "a redirect to another scheme": Answer(302, b"", {"location": "ftp://x.example/"}),
    "no HTTP": Answer(99, b"", {"content-length": "-5"}),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
async def test_an_answer_without_a_usable_id_is_unknown(client: FalClient, wire: Wire, name: str) -> None:
    """Whatever arrives, or does not: without a request id the generation may run, and is not sent again."""
    wire.on(PATH, BAD_ANSWERS[name])
    error = await failed(client, wire)
    assert isinstance(error, FalSubmitUnknown)
    assert error.request_id is None


NAMED = {
    "cut behind the id": answer({"request_id": ID, "response_url": "x" * 50}, cut=60),
    "reset behind the id": answer({"request_id": ID, "x": "y" * 50}, cut=60, end="reset"),
    "a 500 with the header": answer({"detail": "x"}, 500, x_fal_request_id=ID),
    "a 504 page with the header": Answer(504, b"<html/>", {"x-fal-request-id": ID}),
    "a 409 with the id in its body": answer({"request_id": ID}, 409),
    "an unreadable 200 with the header": Answer(200, b"?", {"x-fal-request-id": ID}),
    "no body, but the header": answer({"a": 1}, cut=0, end="reset", x_fal_request_id=ID),
}


@pytest.mark.parametrize("name", NAMED)
async def test_an_id_in_a_broken_answer_is_kept(client: FalClient, wire: Wire, name: str) -> None:
    """A request that fal named can be adopted by its id, however broken the answer was."""
    wire.on(PATH, NAMED[name])
    error = await failed(client, wire)
    assert isinstance(error, FalSubmitUnknown)
    assert error.request_id == ID
    assert ID in str(error)


async def test_a_server_that_never_answers_is_unknown_in_time(wire: Wire, key: str) -> None:
    """The wait for an answer is bounded, and its end decides nothing about the generation."""
    wire.on(PATH, Answer(end="hang"))
    async with FalClient(key, base_url=wire.url, submit_timeout=3) as client:
        assert isinstance(await failed(client, wire), FalSubmitUnknown)


async def test_every_submit_has_a_connection_of_its_own(client: FalClient, wire: Wire) -> None:
    """No kept connection is used for a POST, so none that the server closes meanwhile can lose it."""
    wire.on("/.well-known/jwks.json", answer({"keys": []}))
    wire.on(PATH, answer(receipt(wire)))
    await client.webhook_keys()
    for _ in range(3):
        await client.submit(INGREDIENT, BODY)
    await client.webhook_keys(refresh=True)
    numbers = [one.connection for one in wire.seen]
    assert len(set(numbers)) == 4
    assert numbers[0] == numbers[-1]


async def test_a_cancelled_submit_is_not_swallowed(client: FalClient, wire: Wire) -> None:
    """Cancelling the waiting task ends it at once, without a second POST."""
    wire.on(PATH, Answer(end="hang"))
    task = asyncio.create_task(client.submit(INGREDIENT, BODY))
    await asyncio.to_thread(wire.wait_for_a_request)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(wire.seen) == 1


async def test_urls_of_foreign_hosts_are_rebuilt(client: FalClient, wire: Wire) -> None:
    """A reply that names other hosts gets neither the key nor a place in the receipt."""
    foreign = {
        "status_url": "https://evil.example/status",
        "response_url": f"http://127.0.0.1:{wire.port}@evil.example/",
        "cancel_url": None,
    }
    wire.on(PATH, answer(receipt(wire, **foreign)))
    got = await client.submit(INGREDIENT, BODY)
    base = f"{wire.url}/fal-ai/ltx-2.3-quality/requests/{ID}"
    assert (got.status_url, got.response_url, got.cancel_url) == (f"{base}/status", base, f"{base}/cancel")
