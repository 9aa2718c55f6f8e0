"""The client against the embedded fal: the same protocol, spoken from both sides."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fal_wire import Answer, Wire
from PIL import Image

from prefect_ltx.fal import (
    INGREDIENT,
    FalAccountLocked,
    FalAuthenticationError,
    FalClient,
    FalError,
    FalGenerationFailed,
    FalNotFound,
    FalRateLimited,
    FalResultExpired,
    FalResultNotReady,
    FalSubmitUnknown,
    FalValidationError,
    GenerationResult,
    ImageSize,
    IngredientRequest,
    QueueStatus,
    WebhookSignatureInvalid,
    price_usd,
    verify_webhook,
)
from prefect_ltx.local import LocalFal


@pytest.fixture
async def client(fal: LocalFal, key: str) -> AsyncIterator[FalClient]:
    async with FalClient(key, base_url=fal.url, read_backoff=0.01) as one:
        yield one


@pytest.fixture
async def body(client: FalClient, tmp_path: Path) -> dict[str, object]:
    """A small ingredient request whose sheet has been uploaded."""
    sheet = tmp_path / "sheet.png"
    Image.new("RGB", (64, 64), "navy").save(sheet)
    url = await client.upload(sheet, content_type="image/png", file_name="sheet.png")
    request = IngredientRequest(
        prompt="Reference sheet: navy. Generated video: navy.",
        image_url=url,
        num_frames=9,
        resolution=ImageSize(width=256, height=144),
        seed=11,
    )
    return {**request.body()}


def posts(fal: LocalFal) -> int:
    return sum(1 for method, path, _ in fal.log if method == "POST" and path.endswith("/ingredient"))


async def finished(client: FalClient, request_id: str) -> QueueStatus:
    async with asyncio.timeout(60):
        while (status := await client.status(INGREDIENT, request_id)).status != "COMPLETED":
            await asyncio.sleep(0.05)
    return status


async def generated(client: FalClient, body: dict[str, object]) -> GenerationResult:
    receipt = await client.submit(INGREDIENT, body)
    await finished(client, receipt.request_id)
    return await client.result(INGREDIENT, receipt.request_id)


async def test_a_generation_from_upload_to_bill(
    client: FalClient, fal: LocalFal, body: dict[str, object], tmp_path: Path
) -> None:
    """Submit, status, result, download, listing, price and billing agree about one generation."""
    before = datetime.now(UTC) - timedelta(seconds=5)
    result = await generated(client, body)
    assert result.video.seed == 11
    assert result.billable_units == 1
    got = await client.download(
        result.video.video.url, tmp_path / "v.mp4", expected_size=result.video.video.file_size
    )
    assert got.sha256 == hashlib.sha256((tmp_path / "v.mp4").read_bytes()).hexdigest()
    [listed] = [one async for one in client.list_requests(INGREDIENT, start=before)]
    assert (listed.request_id, listed.json_input) == (result.request_id, body)
    price = (await client.prices([INGREDIENT]))[INGREDIENT]
    assert price.unit_price * 1 == price_usd(256, 144, 9)
    [event] = await client.billing_events(request_ids=[result.request_id], start=before)
    assert event.cost_total == fal.bill.total_usd == price_usd(256, 144, 9)
    assert posts(fal) == 1


async def test_the_status_stream_of_a_generation(client: FalClient, body: dict[str, object]) -> None:
    """The server's events end with COMPLETED, and with the result there."""
    receipt = await client.submit(INGREDIENT, body)
    async with asyncio.timeout(60):
        seen = [
            one.status async for one in client.stream_status(INGREDIENT, receipt.request_id, receipt=receipt)
        ]
    assert seen[-1] == "COMPLETED"
    assert (await client.result(INGREDIENT, receipt.request_id, receipt=receipt)).video.video.url


async def test_the_synchronous_run_with_inline_media(
    client: FalClient, fal: LocalFal, body: dict[str, object], tmp_path: Path
) -> None:
    """A run in sync_mode brings the video itself, by one POST."""
    result = await client.run(INGREDIENT, body | {"sync_mode": True})
    got = await client.download(result.video.video.url, tmp_path / "v.mp4")
    assert got.size > 500
    assert posts(fal) == 1
    assert len(fal.bill) == 1


@pytest.mark.parametrize(
    "fault", ["lost_reply", "accept_then_502", "accept_then_cut_body", "reject_reset", "reject_5xx"]
)
async def test_an_unclear_submit_is_sent_once(
    client: FalClient, fal: LocalFal, body: dict[str, object], fault: str
) -> None:
    """However the answer to the POST is lost, it is unknown and there is no second one."""
    fal.faults.add(fault)
    with pytest.raises(FalSubmitUnknown):
        await client.submit(INGREDIENT, body)
    assert posts(fal) == 1


@pytest.mark.parametrize(
    ("fault", "kind"), [("reject_429", FalRateLimited), ("account_locked", FalAccountLocked)]
)
async def test_a_refused_submit_costs_nothing(
    client: FalClient, fal: LocalFal, body: dict[str, object], fault: str, kind: type[FalError]
) -> None:
    """A definite refusal is sent once and bills nothing."""
    fal.faults.add(fault)
    with pytest.raises(kind) as caught:
        await client.submit(INGREDIENT, body)
    assert caught.value.billed == "no"
    assert (posts(fal), len(fal.bill)) == (1, 0)


async def test_reads_get_over_broken_routes(
    client: FalClient, fal: LocalFal, body: dict[str, object]
) -> None:
    """Failing status and result routes are asked again, and the generation is still paid for once."""
    receipt = await client.submit(INGREDIENT, body)
    fal.faults.add("status_5xx", times=2)
    fal.faults.add("read_reset", times=1)
    await finished(client, receipt.request_id)
    fal.faults.add("result_5xx", times=3)
    assert (await client.result(INGREDIENT, receipt.request_id)).video.seed == 11
    assert (posts(fal), len(fal.bill)) == (1, 1)


async def test_how_generations_end_badly(client: FalClient, fal: LocalFal, body: dict[str, object]) -> None:
    """A failed run, a refused input and an unknown id are three different errors."""
    fal.faults.add("job_fails")
    with pytest.raises(FalGenerationFailed) as failed:
        await generated(client, body)
    assert (failed.value.retryable, failed.value.billed) == (True, "no")
    with pytest.raises(FalValidationError, match="body.num_frames") as invalid:
        await generated(client, body | {"num_frames": 999})
    assert invalid.value.billed == "maybe"
    with pytest.raises(FalNotFound):
        await client.result(INGREDIENT, "01a083d0-1d3c-7000-8000-00000000000a")
    assert len(fal.bill) == 0


async def test_an_expired_result_is_still_in_the_listing(
    client: FalClient, fal: LocalFal, body: dict[str, object]
) -> None:
    """What the result route no longer has, the listing still names with its output."""
    fal.faults.add("result_404")
    start = datetime.now(UTC) - timedelta(seconds=5)
    with pytest.raises(FalResultExpired):
        await generated(client, body)
    [listed] = [one async for one in client.list_requests(INGREDIENT, start=start)]
    assert isinstance(listed.json_output, dict)
    assert "video" in listed.json_output


async def test_cancelling(client: FalClient, fal: LocalFal, body: dict[str, object]) -> None:
    """A queued request is cancelled, a finished one says so, an unknown one is not found."""
    fal.faults.add("stuck_queue")
    queued = await client.submit(INGREDIENT, body)
    with pytest.raises(FalResultNotReady):
        await client.result(INGREDIENT, queued.request_id)
    assert await client.cancel(INGREDIENT, queued.request_id, receipt=queued) == "cancelled"
    done = await generated(client, body)
    assert await client.cancel(INGREDIENT, done.request_id) == "already_completed"
    assert await client.cancel(INGREDIENT, "01a083d0-1d3c-7000-8000-00000000000a") == "not_found"
    assert len(fal.bill) == 1


@pytest.mark.parametrize("fault", ["refused_upload", "refused_cdn_token"])
async def test_uploads_find_another_way(client: FalClient, fal: LocalFal, tmp_path: Path, fault: str) -> None:
    """When the CDN refuses, the signed URL takes the file, and it can be read back."""
    fal.faults.add(fault, times=4 if fault == "refused_cdn_token" else 1)
    url = await client.upload(b"some bytes", content_type="image/png", file_name="x.png")
    assert (await client.download(url, tmp_path / "x.png")).size == 10


async def test_large_uploads_and_broken_downloads(client: FalClient, fal: LocalFal, tmp_path: Path) -> None:
    """Over 100 MiB goes up in parts and comes back the same, though the first download ends half-way."""
    source = tmp_path / "large.bin"
    with source.open("wb") as file:
        for number in range(11):
            file.seek(number * 10 * 1024 * 1024)
            file.write(b"part %d" % number)
        file.truncate(100 * 1024 * 1024 + 1)
    url = await client.upload(source, content_type="video/mp4", file_name="large.mp4")
    fal.faults.add("truncated_download")
    got = await client.download(url, tmp_path / "back.bin")
    with source.open("rb") as file:
        assert got.sha256 == hashlib.file_digest(file, "sha256").hexdigest()


async def test_a_webhook_of_the_server_is_believed(
    client: FalClient, wire: Wire, body: dict[str, object]
) -> None:
    """What the server signs verifies with the key set that it publishes, and names the request."""
    wire.on("/hook", Answer(200))
    receipt = await client.submit(INGREDIENT, body, webhook_url=f"{wire.url}/hook?nonce=n-1")
    await asyncio.to_thread(wire.wait_for_a_request, 30)
    [call] = wire.seen
    hook = verify_webhook(call.headers, call.body, await client.webhook_keys())
    assert (hook.request_id, hook.status, call.query) == (receipt.request_id, "OK", {"nonce": "n-1"})
    with pytest.raises(WebhookSignatureInvalid):
        verify_webhook(call.headers, call.body + b" ", await client.webhook_keys())


async def test_a_wrong_key_is_named(key: str, body: dict[str, object]) -> None:
    """A key that the server does not take is an authentication error on every call."""
    with LocalFal(key=key) as strict:
        async with FalClient("other:key", base_url=strict.url) as client:
            for call in (client.submit(INGREDIENT, body), client.status(INGREDIENT, "id-1")):
                with pytest.raises(FalAuthenticationError):
                    await call
