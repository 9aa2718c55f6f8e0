"""Only fal's own words: what a gateway, a proxy or a login page answers is never a verdict, on any route."""

import contextlib
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from fal_wire import Answer, Wire, answer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefect_ltx.fal import (
    INGREDIENT,
    FalClient,
    FalDownloadError,
    FalError,
    FalGateway,
    FalSubmitUnknown,
    FalUploadError,
    IngredientRequest,
)
from prefect_ltx.fal.reply import Reply
from prefect_ltx.fal.verdicts import cancel_outcome, generation_result, queue_status, run_result, submitted_id

ID = "01a083d0-1d3c-7000-8000-00000000000a"
ROOT = f"/fal-ai/ltx-2.3-quality/requests/{ID}"
START = datetime(2026, 11, 20, 10, tzinfo=UTC)
BODY = IngredientRequest(prompt="a fox", image_url="https://files.example/sheet.png", seed=7).body()

HTML = Answer(body=b"<!doctype html><html><body>Sign in</body></html>", headers={"content-type": "text/html"})
FOREIGN = {
    "a page": HTML,
    "nothing": Answer(),
    "text": Answer(body=b"upstream connect error", headers={"content-type": "text/plain"}),
    "Kong": answer({"message": "no Route matched with those values", "request_id": "0f3a"}),
    "a model gateway": answer({"error": {"message": "key not found", "type": "auth_error", "code": "401"}}),
    "Google": answer({"error": {"code": 404, "message": "Not found", "status": "NOT_FOUND"}}),
    "FastAPI": answer({"detail": "Not Found"}),
    "FastAPI's security": answer({"detail": "Not authenticated"}),
    "Django": answer({"detail": "Authentication credentials were not provided."}),
    "FastAPI's header": answer(
        {"detail": [{"loc": ["header", "x-team"], "msg": "Field required", "type": "missing"}]}
    ),
    "RFC 9457": answer({"title": "Error 1015", "status": 429, "detail": "You are being rate limited"}),
    "Spring": answer({"timestamp": 1, "status": 404, "error": "Not Found", "path": "/x"}),
    "NOT_FOUND of another": answer({"status": "NOT_FOUND", "message": "no such job"}),
    "a list": answer([{"detail": "x"}]),
    "a text": answer("gone"),
    "null": answer(None),
}
STATUSES = (
    200,
    201,
    302,
    307,
    400,
    401,
    403,
    404,
    405,
    407,
    408,
    410,
    413,
    422,
    429,
    451,
    499,
    500,
    502,
    503,
    511,
)


def at(what: Answer, status: int) -> Answer:
    return Answer(status, what.body, what.headers)


CASES = [at(HTML, status) for status in STATUSES]
CASES += [at(FOREIGN["FastAPI"], status) for status in STATUSES]
CASES += [at(what, status) for what in FOREIGN.values() for status in (200, 404, 422)]
CASES += [
    Answer(what.status, what.body, what.headers | {"x-fal-request-id": ID})
    for what in (
        at(HTML, 404),
        at(FOREIGN["Kong"], 404),
        at(FOREIGN["Spring"], 422),
        at(FOREIGN["a list"], 499),
    )
]
CASES += [Answer(204), at(FOREIGN["nothing"], 499), at(FOREIGN["Kong"], 403), at(FOREIGN["Spring"], 410)]


async def stream(client: FalClient) -> list[object]:
    return [one async for one in client.stream_status(INGREDIENT, ID)]


async def listed(client: FalClient) -> list[object]:
    return [one async for one in client.list_requests(INGREDIENT, start=START)]


Call = Callable[[FalClient], Awaitable[object]]
ROUTES: dict[str, tuple[str, Call]] = {
    "status": (f"{ROOT}/status", lambda client: client.status(INGREDIENT, ID)),
    "stream": (f"{ROOT}/status/stream", stream),
    "result": (ROOT, lambda client: client.result(INGREDIENT, ID)),
    "cancel": (f"{ROOT}/cancel", lambda client: client.cancel(INGREDIENT, ID)),
    "list_requests": ("/v1/models/requests/by-endpoint", listed),
    "listing": (
        "/v1/models/requests/by-endpoint",
        lambda client: client.listing(INGREDIENT, start=START),
    ),
    "prices": ("/v1/models/pricing", lambda client: client.prices([INGREDIENT])),
    "billing": ("/v1/models/billing-events", lambda client: client.billing_events(start=START)),
    "account": ("/v1/account/billing", lambda client: client.whoami()),
    "webhook keys": ("/.well-known/jwks.json", lambda client: client.webhook_keys(refresh=True)),
    "upload token": (
        "/storage/auth/token",
        lambda client: client.upload(b"x", content_type="image/png", file_name="x.png"),
    ),
}


@pytest.mark.parametrize("route", ROUTES)
async def test_what_fal_did_not_write_is_fal_being_unavailable(wire: Wire, key: str, route: str) -> None:
    """Whatever the status code and whatever is in it: no verdict, and it is said that something between answered."""
    path, call = ROUTES[route]
    async with FalClient(key, base_url=wire.url, read_attempts=1) as client:
        for what in CASES:
            wire.on(path, what)
            wire.on("/storage/upload/initiate", what)
            with pytest.raises(FalGateway) as caught:
                await call(client)
            assert caught.value.status == what.status
            assert caught.value.heard is not None
            assert caught.value.heard.by == "between"
            assert "between, not fal" in str(caught.value)
            assert "changes nothing about the generation" in str(caught.value)


async def test_a_foreign_answer_to_the_post_decides_nothing(wire: Wire, key: str) -> None:
    """A foreign 401, 403, 404 or 429 is not fal refusing: the request may run, and is never sent again."""
    async with FalClient(key, base_url=wire.url) as client:
        for what in CASES:
            for path, call in (
                (f"/{INGREDIENT}", client.submit(INGREDIENT, BODY)),
                (f"/run/{INGREDIENT}", client.run(INGREDIENT, BODY)),
            ):
                wire.on(path, what)
                with pytest.raises(FalSubmitUnknown) as caught:
                    await call
                assert caught.value.billed == "maybe"
                assert caught.value.heard is not None
                assert caught.value.heard.by == "between"
    assert len(wire.seen) == 2 * len(CASES)


async def test_a_receipt_that_is_not_fals_is_no_acceptance(client: FalClient, wire: Wire) -> None:
    """A gateway with a queue of its own names an id as well; it is only a word to ask fal about."""
    wire.on(f"/{INGREDIENT}", answer({"request_id": "gw-1", "accepted": True}, 202))
    with pytest.raises(FalSubmitUnknown) as caught:
        await client.submit(INGREDIENT, BODY)
    assert caught.value.request_id == "gw-1"


async def test_an_answer_about_another_request_is_not_believed(client: FalClient, wire: Wire) -> None:
    """A cache that mixes requests up cannot finish one with another's status."""
    wire.on(f"{ROOT}/status", answer({"status": "COMPLETED", "request_id": "another", "logs": None}))
    with pytest.raises(FalError, match="another request"):
        await client.status(INGREDIENT, ID)


async def test_a_gateways_passing_page_is_survived(client: FalClient, wire: Wire) -> None:
    """HTML now and then, of any status, does not end a read."""
    done = {"status": "COMPLETED", "request_id": ID, "logs": None}
    wire.on(f"{ROOT}/status", at(HTML, 404), at(HTML, 403), at(HTML, 200), answer(done))
    assert (await client.status(INGREDIENT, ID)).status == "COMPLETED"


async def test_a_gone_result_needs_fals_own_word_on_the_status_too(client: FalClient, wire: Wire) -> None:
    """fal's 404 on the result and a gateway's on the status say nothing about the generation."""
    wire.on(ROOT, answer({"status": "NOT_FOUND"}, 404))
    wire.on(f"{ROOT}/status", at(HTML, 404))
    with pytest.raises(FalGateway):
        await client.result(INGREDIENT, ID)


@pytest.mark.parametrize("status", [200, 401, 403, 407, 429, 502, 511])
async def test_a_page_in_place_of_the_file_is_not_the_file(
    client: FalClient, wire: Wire, tmp_path: Path, status: int
) -> None:
    """A login page is not archived as a video, by its type or by its first bytes."""
    for headers in ({"content-type": "text/html; charset=utf-8"}, {}):
        if status == 200 or headers:
            wire.on("/files/v.mp4", Answer(status, HTML.body, headers))
            with pytest.raises(FalGateway):
                await client.download(f"{wire.url}/files/v.mp4?sig=1", tmp_path / "v.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("body", "by"), [(HTML.body, "between"), (b'{"detail":"File not found"}', "fal")])
async def test_a_gone_file_says_who_said_so(
    client: FalClient, wire: Wire, tmp_path: Path, body: bytes, by: str
) -> None:
    """404 on the file is a hint that only the result route, asked by id, can confirm."""
    wire.on("/files/v.mp4", Answer(404, body))
    with pytest.raises(FalDownloadError) as caught:
        await client.download(f"{wire.url}/files/v.mp4", tmp_path / "v.mp4")
    assert caught.value.gone
    assert caught.value.heard is not None
    assert caught.value.heard.by == by


async def test_a_page_that_takes_an_upload_did_not_take_it(client: FalClient, wire: Wire) -> None:
    """A login page that answers 200 to the signed URL has not stored the file."""
    wire.on("/storage/auth/token", answer({"detail": "down for now"}, 503))
    signed = {"upload_url": f"{wire.url}/bucket/x", "file_url": "https://v3.fal.media/files/b"}
    wire.on("/storage/upload/initiate", answer(signed))
    wire.on("/bucket/x", HTML)
    with pytest.raises(FalGateway):
        await client.upload(b"abc", content_type="image/png", file_name="x.png")


@pytest.mark.parametrize("url", ["http://[::1", "nowhere", "http://a:99999/x", "http://a\x00b/"])
async def test_an_upload_url_that_cannot_be_used_is_said(client: FalClient, wire: Wire, url: str) -> None:
    """No raw error from an address that an answer names."""
    wire.on("/storage/auth/token", answer({"detail": "down for now"}, 503))
    wire.on(
        "/storage/upload/initiate", answer({"upload_url": url, "file_url": "https://v3.fal.media/files/b"})
    )
    with pytest.raises(FalUploadError):
        await client.upload(b"abc", content_type="image/png", file_name="x.png")


WORDS = (
    "detail error error_type status request_id message msg loc video url seed prompt file_size items keys prices "
    "billing_events next_cursor has_more username token access_url queue_position logs metrics sent_at endpoint_id "
    "cost_total timestamp unit_price"
)
HEADERS = (
    "x-fal-request-id x-fal-retryable x-fal-error-type x-fal-needs-retry x-fal-billable-units retry-after date age "
    "content-type content-range etag location x-anything"
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("a\x00\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS.split()), inner, max_size=6)
    ),
    max_leaves=12,
)
bodies = st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode())
values = st.sampled_from(
    [
        "true",
        "1",
        "id-1",
        "client_cancelled",
        "",
        "nan",
        "1e999",
        "99999999999999999999",
        "Thu, 32 Foo 2026",
        ID,
    ]
) | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
headers = st.dictionaries(st.sampled_from(HEADERS.split()), values, max_size=4)


def error_of(read: Callable[[Reply], object], reply: Reply) -> FalError | None:
    """The error that reading this answer raises, if it does; only a FalError is let through."""
    try:
        read(reply)
    except FalError as error:
        return error
    return None


@given(st.integers(100, 599), headers, bodies)
def test_no_answer_is_more_than_a_fal_error(status: int, named: dict[str, str], body: bytes) -> None:
    """Any status, headers and bytes: a value or a FalError, and no verdict unless fal wrote it."""
    reply = Reply(status, httpx.Headers(named), body)
    for read in (
        submitted_id,
        run_result,
        lambda one: queue_status(one, ID),
        lambda one: generation_result(one, ID),
        lambda one: cancel_outcome(one, ID),
    ):
        error = error_of(read, reply)
        assert error is None or len(str(error).splitlines()) == 1
        if error is not None and not reply.is_fals and not reply.ok:
            assert isinstance(error, FalGateway | FalSubmitUnknown)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(200, 599), headers, bodies)
async def test_no_answer_on_the_wire_is_more_than_a_fal_error(
    wire: Wire, tmp_path: Path, status: int, named: dict[str, str], body: bytes
) -> None:
    """The same on a real connection and on every route, the file and the submit among them."""
    posts = [f"/{INGREDIENT}", "/files/v", "/storage/upload/initiate"]
    for path in [path for path, _ in ROUTES.values()] + posts:
        wire.on(path, Answer(status, body, named))
    calls: list[Call] = [call for _, call in ROUTES.values()]
    calls += [
        lambda client: client.submit(INGREDIENT, BODY),
        lambda client: client.download(f"{wire.url}/files/v", tmp_path / "v"),
        lambda client: client.identify(),
    ]
    async with FalClient("a:b", base_url=wire.url, read_attempts=1, timeout=20) as client:
        for call in calls:
            with contextlib.suppress(FalError):
                await call(client)
