"""fal_client, unmodified, against the embedded fal: everything a user of fal does with it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fal_client
import fal_client.client as module
import httpx
import pytest
from local_fal_helpers import INGREDIENT, VIDEO
from official_client import pointed_at

from prefect_ltx.local import LocalFal

UNKNOWN = "01a083d0-1d3c-7000-8000-000000000000"


@pytest.fixture
def client(fal: LocalFal, monkeypatch: pytest.MonkeyPatch) -> Iterator[fal_client.SyncClient]:
    with pointed_at(fal.url, monkeypatch) as pointed:
        yield pointed


def test_run(client: fal_client.SyncClient, video_body: dict[str, Any]) -> None:
    """The output itself."""
    output = client.run(VIDEO, video_body)
    assert (output["seed"], set(output)) == (7, {"video", "seed", "prompt"})
    assert httpx.get(output["video"]["url"]).status_code == 200


def test_submit_poll_and_get(client: fal_client.SyncClient, sheet_body: dict[str, Any]) -> None:
    """A handle follows the URLs of the receipt; events end with Completed and its metrics."""
    handle = client.submit(INGREDIENT, sheet_body)
    events = list(handle.iter_events(with_logs=True, interval=0.01))
    assert isinstance(events[-1], fal_client.Completed)
    assert events[-1].metrics["inference_time"] > 0
    assert events[-1].logs[0]["message"].startswith("prefect-ltx embedded stand-in")
    assert handle.get() == client.result(INGREDIENT, handle.request_id)


def test_subscribe_with_logs(
    fal: LocalFal, client: fal_client.SyncClient, video_body: dict[str, Any]
) -> None:
    """As the model's page shows it: every update's logs are a list to go through."""
    fal.faults.add("concurrency", value=1)
    fal.faults.add("slow_run", times=2, value=0.3)
    client.submit(VIDEO, video_body)
    seen: list[str] = []
    lines: set[str] = set()

    def on_queue_update(update: fal_client.Status) -> None:
        seen.append(type(update).__name__)
        if isinstance(update, fal_client.InProgress):
            lines.update(log["message"] for log in update.logs)

    output = client.subscribe(
        VIDEO,
        video_body,
        with_logs=True,
        interval=0.02,
        on_enqueue=seen.append,
        on_queue_update=on_queue_update,
    )
    assert output["video"]["content_type"] == "video/mp4"
    assert {"Queued", "InProgress", "Completed"} <= set(seen)
    assert any(line.startswith("Seed 7") for line in lines)


def test_status_walks_from_queued_to_completed(
    fal: LocalFal, client: fal_client.SyncClient, video_body: dict[str, Any]
) -> None:
    """Queued has a position; logs are None until they are asked for."""
    fal.faults.add("concurrency", value=0)
    first, second = (client.submit(VIDEO, video_body) for _ in range(2))
    assert (first.status().position, second.status().position) == (0, 1)
    fal.faults.clear()
    assert first.get() == client.result(VIDEO, first.request_id)
    second.get()
    assert client.status(VIDEO, first.request_id).logs is None
    assert client.status(VIDEO, first.request_id, with_logs=True).logs


def test_cancel(fal: LocalFal, client: fal_client.SyncClient, video_body: dict[str, Any]) -> None:
    """Queued: taken back. Finished or unknown: fal's 400 and 404."""
    fal.faults.add("concurrency", value=0)
    handle = client.submit(VIDEO, video_body)
    handle.cancel()
    assert handle.status().error_type == "client_cancelled"
    with pytest.raises(module.FalClientHTTPError) as cancelled:
        handle.get()
    assert (cancelled.value.status_code, cancelled.value.error_type) == (499, "client_cancelled")
    for request_id, status in ((handle.request_id, 400), (UNKNOWN, 404)):
        with pytest.raises(module.FalClientHTTPError) as refused:
            client.cancel(VIDEO, request_id)
        assert refused.value.status_code == status
    assert len(fal.bill) == 0


def test_a_timeout_of_the_client_cancels(
    fal: LocalFal, client: fal_client.SyncClient, video_body: dict[str, Any]
) -> None:
    """client_timeout: the client gives up and takes the request back."""
    fal.faults.add("concurrency", value=0)
    with pytest.raises(fal_client.FalClientTimeoutError) as timed_out:
        client.subscribe(VIDEO, video_body, client_timeout=1.2, interval=0.05)
    fal.faults.clear()
    assert timed_out.value.request_id
    assert client.status(VIDEO, timed_out.value.request_id).error_type


def test_bad_input_is_an_error_of_the_result(
    client: fal_client.SyncClient, video_body: dict[str, Any]
) -> None:
    """422 with fal's list as the message."""
    handle = client.submit(VIDEO, video_body | {"num_frames": 5})
    with pytest.raises(module.FalClientHTTPError) as invalid:
        handle.get()
    assert invalid.value.status_code == 422
    assert invalid.value.message[0]["loc"] == ["body", "num_frames"]
    assert invalid.value.response_headers["x-fal-retryable"] == "false"


def test_an_unknown_application_and_a_wrong_key(
    video_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """404 and 401 come back at submit."""
    with LocalFal(renderer="stored-clip", key="me:secret") as fal, pointed_at(fal.url, monkeypatch) as client:
        with pytest.raises(module.FalClientHTTPError) as unknown:
            client.submit("fal-ai/no-such-model", video_body)
        stranger = fal_client.SyncClient(key="me:other")
        with pytest.raises(module.FalClientHTTPError) as wrong:
            stranger.submit(VIDEO, video_body)
        assert (unknown.value.status_code, wrong.value.status_code) == (404, 401)
        assert client.run(VIDEO, video_body)["seed"] == 7


def test_upload(client: fal_client.SyncClient, clip_file: Path, video_body: dict[str, Any]) -> None:
    """Bytes and a file; the URL is an input."""
    for url in (client.upload(clip_file.read_bytes(), "video/mp4", "a.mp4"), client.upload_file(clip_file)):
        assert httpx.get(url).content == clip_file.read_bytes()
        assert client.run(VIDEO, video_body | {"video_url": url})["seed"] == 7


@pytest.mark.parametrize("size", [100, 100 * 40 + 1])
def test_multipart_upload(client: fal_client.SyncClient, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Above the client's threshold, with parts that finish in any order."""
    monkeypatch.setattr(module, "MULTIPART_THRESHOLD", 10)
    monkeypatch.setattr(module, "MULTIPART_CHUNK_SIZE", 100)
    data = bytes(at % 251 for at in range(size))
    assert httpx.get(client.upload(data, "video/mp4", "big.mp4")).content == data


def test_upload_falls_back_to_initiate(fal: LocalFal, client: fal_client.SyncClient, clip_file: Path) -> None:
    """The CDN refuses, the storage does not; expires_in is kept on that way too."""
    fal.faults.add("refused_upload", path="/files/upload")
    lifetime = fal_client.StorageSettings(expires_in="1h")
    url = client.upload(clip_file.read_bytes(), "video/mp4", lifecycle=lifetime)
    assert httpx.get(url).content == clip_file.read_bytes()
    assert [entry for entry in fal.log if "initiate" in entry[1]] == [
        ("POST", "/storage/upload/initiate", 200)
    ]


async def test_the_asynchronous_client(
    fal: LocalFal, client: fal_client.SyncClient, clip_file: Path, video_body: dict[str, Any]
) -> None:
    """The same with await."""
    calling = fal_client.AsyncClient(key="me:secret")
    url = await calling.upload_file(clip_file)
    handle = await calling.submit(VIDEO, video_body | {"video_url": url}, priority="low")
    assert [type(event).__name__ async for event in handle.iter_events(interval=0.02)][-1] == "Completed"
    assert (await handle.get())["seed"] == 7
    await (await calling._client).aclose()
    assert len(fal.bill) == 1
