import asyncio
import gc
import json
import logging

import pytest
from fal_wire import Answer, Wire, answer

from prefect_ltx.fal import (
    INGREDIENT,
    CancelOutcome,
    FalAuthenticationError,
    FalClient,
    FalError,
    FalGateway,
    FalNotFound,
    FalProtocolError,
    FalRateLimited,
    FalRequestInvalid,
    FalUnavailable,
    SubmitReceipt,
)

ID = "01a083d0-1d3c-7000-8000-00000000000a"
ROOT = f"/fal-ai/ltx-2.3-quality/requests/{ID}"
STATUS = f"{ROOT}/status"
VIDEO = {"video": {"url": "https://v3b.fal.media/files/b/x/y.mp4?sig=1"}, "seed": 7, "prompt": "a fox"}
DONE = {"status": "COMPLETED", "request_id": ID, "logs": None, "metrics": {"inference_time": 63.1}}


async def test_status_is_read_from_the_body_at_any_2xx(client: FalClient, wire: Wire, key: str) -> None:
    """Position, logs and metrics are there, null logs are none, and the URL is owner/app only."""
    logs = [{"message": "50%", "timestamp": "2026-11-20T10:00:00Z", "level": "INFO", "source": "USER"}]
    wire.on(
        STATUS,
        answer({"status": "IN_QUEUE", "request_id": ID, "queue_position": 0}, 202),
        answer({"status": "IN_PROGRESS", "request_id": ID, "logs": logs, "new": 1}, 202),
        answer(DONE),
    )
    queued, running, done = [await client.status(INGREDIENT, ID) for _ in range(3)]
    assert (queued.status, queued.queue_position, queued.logs) == ("IN_QUEUE", 0, [])
    assert (running.status, running.logs[0].message, running.logs[0].level) == ("IN_PROGRESS", "50%", "INFO")
    assert (done.logs, done.metrics["inference_time"], done.error) == ([], 63.1, None)
    assert wire.seen[0].headers["authorization"] == f"Key {key}"
    assert [one.query["logs"] for one in wire.seen] == ["1"] * 3


async def test_status_keeps_the_words_of_a_failure(client: FalClient, wire: Wire) -> None:
    """Error and error type of a finished request are kept, whatever JSON type fal writes them in."""
    wire.on(STATUS, answer(DONE | {"error": {"a": 1}, "error_type": "runner_disconnected"}))
    status = await client.status(INGREDIENT, ID, logs=False)
    assert status.error == "{'a': 1}"
    assert status.error_type == "runner_disconnected"
    assert wire.seen[0].query["logs"] == "0"


@pytest.mark.parametrize(
    "failure",
    [
        answer({"detail": "x"}, 500),
        Answer(502, b"<html>nginx</html>"),
        answer({"detail": "x"}, 429, retry_after="0"),
        answer({"detail": "x"}, 408),
        answer({"detail": "x"}, 400, x_fal_needs_retry="1"),
        Answer(end="silent"),
        Answer(end="reset"),
        answer(DONE, cut=20),
        Answer(200, b"<html>login</html>"),
        answer({"status": "UNHEARD_OF"}),
    ],
)
async def test_reads_are_repeated(client: FalClient, wire: Wire, failure: Answer) -> None:
    """A read survives three bad answers of any kind, because reading costs nothing."""
    wire.on(STATUS, failure, failure, failure, answer(DONE))
    assert (await client.status(INGREDIENT, ID)).status == "COMPLETED"
    assert len(wire.seen) == 4


@pytest.mark.parametrize(
    ("failure", "kind", "calls"),
    [
        (answer({"detail": "x"}, 503), FalUnavailable, 4),
        (answer({"detail": "x"}, 503, x_fal_retryable="false"), FalUnavailable, 1),
        (answer({"detail": "x"}, 504, x_fal_request_timeout_type="user"), FalUnavailable, 1),
        (answer({"detail": "x"}, 429, retry_after="3600"), FalRateLimited, 1),
        (answer({"detail": "x"}, 429), FalRateLimited, 4),
        (answer({"detail": "x"}, 401), FalAuthenticationError, 1),
        (answer({"status": "NOT_FOUND"}, 404), FalNotFound, 1),
        (answer({}, 302, location="https://evil.example/"), FalGateway, 4),
        (answer({"detail": "x"}, 302, location="https://evil.example/"), FalProtocolError, 1),
        (Answer(200, b"<html/>"), FalGateway, 4),
        (Answer(end="silent"), FalUnavailable, 4),
    ],
)
async def test_reads_end_in_the_right_error(
    client: FalClient, wire: Wire, failure: Answer, kind: type[FalError], calls: int
) -> None:
    """What cannot get better is not repeated, what can is repeated within bounds; neither says "billed"."""
    wire.on(STATUS, failure)
    with pytest.raises(FalError) as caught:
        await client.status(INGREDIENT, ID)
    assert type(caught.value) is kind
    assert len(wire.seen) == calls
    assert "This call cost nothing" in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (answer({"status": "OK"}), "cancelled"),
        (answer({"status": "CANCELLATION_REQUESTED"}, 202), "requested"),
        (answer({"success": True}), "requested"),
        (answer({}, 202, x_fal_request_id=ID), "requested"),
        (answer({"status": "ALREADY_COMPLETED"}, 400), "already_completed"),
        (answer({"status": "NOT_FOUND"}, 404), "not_found"),
    ],
)
async def test_cancel_tells_what_became_of_it(
    client: FalClient, wire: Wire, reply: Answer, outcome: CancelOutcome
) -> None:
    """Only a plain OK says that it never runs; every other success promises no more than a try."""
    wire.on(f"{ROOT}/cancel", reply)
    assert await client.cancel(INGREDIENT, ID) == outcome
    assert [one.method for one in wire.seen] == ["PUT"]


async def test_a_lost_answer_to_a_cancel_is_an_error(client: FalClient, wire: Wire) -> None:
    """A cancel without an answer may not have arrived: the caller has to know."""
    wire.on(f"{ROOT}/cancel", Answer(end="silent"))
    with pytest.raises(FalUnavailable):
        await client.cancel(INGREDIENT, ID)


STREAM = {"content-type": "text/event-stream"}


def events(*statuses: dict[str, object]) -> bytes:
    return b": hello\n\n" + b"".join(f"data: {json.dumps(one)}\n\n".encode() for one in statuses)


async def test_the_status_stream_ends_with_completed(client: FalClient, wire: Wire) -> None:
    """Events come one by one, each with its own logs, and nothing is awaited after COMPLETED."""
    body = events(
        {"status": "IN_QUEUE", "queue_position": 1},
        {"status": "IN_PROGRESS", "logs": [{"message": "a"}]},
        DONE,
    )
    wire.on(f"{STATUS}/stream", Answer(200, body, {"content-type": "text/event-stream"}))
    seen = [status async for status in client.stream_status(INGREDIENT, ID)]
    assert [one.status for one in seen] == ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]
    assert seen[1].logs[0].message == "a"
    assert seen[0].request_id == ID


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        (Answer(200, events({"status": "IN_PROGRESS"})), FalUnavailable),
        (Answer(200, events({"status": "IN_PROGRESS"}), {"content-length": "999"}, 50), FalUnavailable),
        (Answer(200, b"data: nonsense\n\n", STREAM), FalGateway),
        (Answer(200, b"data: nonsense\n\n"), FalGateway),
        (Answer(200, b'data: {"status": "NEW"}\n\n', STREAM | {"x-fal-request-id": ID}), FalProtocolError),
        (answer({"detail": "x"}, 404), FalNotFound),
        (Answer(end="silent"), FalUnavailable),
    ],
)
async def test_a_broken_status_stream_says_so(
    client: FalClient, wire: Wire, what: Answer, kind: type[FalError]
) -> None:
    """A stream that ends early is an error, so that nobody takes its last event for the end."""
    wire.on(f"{STATUS}/stream", what)
    with pytest.raises(kind):
        async for _ in client.stream_status(INGREDIENT, ID):
            pass


async def test_returned_urls_are_used_where_the_key_may_go(client: FalClient, wire: Wire, key: str) -> None:
    """The receipt's own URLs are followed; one that names a foreign host is rebuilt, key unspent."""
    wire.on("/special/status", answer(DONE))
    wire.on(ROOT, answer(VIDEO))
    receipt = SubmitReceipt(
        request_id=ID,
        status_url=f"{wire.url}/special/status",
        response_url="https://evil.example/result",
        cancel_url="https://queue.fal.run/x",
    )
    await client.status(INGREDIENT, ID, receipt=receipt)
    await client.result(INGREDIENT, ID, receipt=receipt)
    assert [one.path for one in wire.seen] == ["/special/status", ROOT]
    assert all(one.headers["authorization"] == f"Key {key}" for one in wire.seen)


@pytest.mark.parametrize("request_id", ["", "../x", "a/b", "a?b", "a..b", "é", "x" * 200])
async def test_a_request_id_cannot_lead_elsewhere(client: FalClient, wire: Wire, request_id: str) -> None:
    """An id that cannot be one is refused before anything is sent."""
    with pytest.raises(FalRequestInvalid):
        await client.status(INGREDIENT, request_id)
    assert wire.seen == []


async def test_without_a_key_none_is_sent(wire: Wire) -> None:
    """A server of one's own may need no key."""
    wire.on(STATUS, answer(DONE))
    async with FalClient(base_url=wire.url) as client:
        await client.status(INGREDIENT, ID)
    assert "authorization" not in wire.seen[0].headers


async def test_a_kept_connection_that_died_does_not_end_a_read(client: FalClient, wire: Wire) -> None:
    """Reads share connections, and one that the server closed meanwhile is replaced."""
    wire.on(STATUS, Answer(200, answer(DONE).body, {}, None, "stale"))
    for _ in range(5):
        assert (await client.status(INGREDIENT, ID)).status == "COMPLETED"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_one_client_serves_loop_after_loop(wire: Wire) -> None:
    """A client that outlives its event loop works in the next one."""
    wire.on(STATUS, answer(DONE))

    def three_loops() -> list[str]:
        client = FalClient(base_url=wire.url)

        async def once() -> str:
            return (await client.status(INGREDIENT, ID)).status

        return [asyncio.run(once()) for _ in range(3)]

    assert three_loops() == ["COMPLETED"] * 3
    gc.collect()  # here, where the open connections of the ended loops are expected


async def test_httpx_logs_no_query_of_ours(
    client: FalClient, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    """httpx's own INFO lines show our calls without their query."""
    caplog.set_level(logging.DEBUG)
    wire.on(STATUS, answer(DONE))
    await client.status(INGREDIENT, ID)
    lines = [record.getMessage() for record in caplog.records if record.name == "httpx"]
    assert any(STATUS in line for line in lines)
    assert not any("?" in line or "logs=" in line for line in lines)
