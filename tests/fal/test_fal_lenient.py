"""Section C: of a result only `video.url` is needed; nothing else loses what was paid for, or raises raw."""

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from fal_wire import Answer, Wire, answer
from hypothesis import given
from hypothesis import strategies as st

from prefect_ltx.fal import INGREDIENT, FalClient, FalError, FalProtocolError, read_video

ID = "01a083d0-1d3c-7000-8000-00000000000a"
ROOT = f"/fal-ai/ltx-2.3-quality/requests/{ID}"
URL = "https://v3b.fal.media/files/b/x/y.mp4?sig=1"
VIDEO: dict[str, Any] = {"video": {"url": URL, "file_size": 9}, "seed": 7, "prompt": "a fox"}
MISSING = object()


def changed(**changes: object) -> dict[str, Any]:
    return {name: value for name, value in (VIDEO | changes).items() if value is not MISSING}


async def read(client: FalClient, wire: Wire, what: Answer) -> Any:
    wire.on(ROOT, what)
    return (await client.result(INGREDIENT, ID)).video


async def test_a_result_as_on_the_pages_is_not_odd(client: FalClient, wire: Wire) -> None:
    """What fal documents is taken as it is."""
    video = await read(client, wire, answer(VIDEO | {"timings": {"inference": 63.1}}))
    assert (video.video.url, video.seed, video.prompt, video.video.file_size) == (URL, 7, "a fox", 9)
    assert video.oddities == ()
    assert video.model_extra == {"timings": {"inference": 63.1}}


@pytest.mark.parametrize(
    "seed", [MISSING, None, -1, 2**63, 2**64, 10**90, "7", "", True, 7.5, 1e300, [7], {"a": 1}, float("nan")]
)
async def test_a_seed_that_is_none_is_unknown(client: FalClient, wire: Wire, seed: object) -> None:
    """A seed that no column can hold, or that is no whole number, counts as unknown and is named."""
    video = await read(client, wire, answer(changed(seed=seed)))
    assert video.seed is None
    assert any(one.startswith("seed") for one in video.oddities)
    assert video.video.url == URL


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
async def test_every_seed_that_can_be_stored_is_kept(client: FalClient, wire: Wire, seed: int) -> None:
    """All 63 bits are a seed."""
    assert (await read(client, wire, answer(changed(seed=seed)))).seed == seed


async def test_a_seed_of_five_thousand_digits_is_unknown(client: FalClient, wire: Wire) -> None:
    """Nothing here turns a number into an error because it is long."""
    body = json.dumps(VIDEO).replace('"seed": 7', f'"seed": {"9" * 5000}').encode()
    video = await read(client, wire, Answer(200, body))
    assert (video.seed, video.video.url) == (None, URL)


@pytest.mark.parametrize(
    ("prompt", "kept"),
    [
        (MISSING, None),
        (None, None),
        (5, None),
        (["a"], None),
        ("a\x00b", "ab"),
        ("half \ud83d emoji", "half \ufffd emoji"),
        ("\udc00", "\ufffd"),
        ("a" * 200_000, "a" * 100_000),
    ],
)
async def test_a_prompt_is_made_storable(
    client: FalClient, wire: Wire, prompt: object, kept: str | None
) -> None:
    """A prompt that is missing or that no database takes does not lose the video."""
    video = await read(client, wire, answer(changed(prompt=prompt)))
    assert video.prompt == kept
    assert any(one.startswith("prompt") for one in video.oddities)


async def test_bytes_that_are_not_utf8_do_not_hide_the_video(client: FalClient, wire: Wire) -> None:
    """One wrong byte in a prompt is one replaced character."""
    body = json.dumps(VIDEO).encode().replace(b"a fox", b"a \xff fox")
    video = await read(client, wire, Answer(200, body))
    assert (video.prompt, video.video.url) == ("a \ufffd fox", URL)


@pytest.mark.parametrize("size", [0, -5, "12", 12.5, 2**40, 2**63, 10**90, True, [1], float("inf")])
async def test_a_size_that_is_none_is_unknown(client: FalClient, wire: Wire, size: object) -> None:
    """A file size that cannot be true does not stop the download."""
    video = await read(client, wire, answer(changed(video={"url": URL, "file_size": size})))
    assert video.video.file_size is None
    assert any("file_size" in one for one in video.oddities) or size == float("inf")


@pytest.mark.parametrize(
    "video",
    [[{"url": URL}], URL, [URL], [None, {"url": URL}], {"url": f"  {URL}\n"}, {"url": URL, "x": None}],
)
async def test_the_video_may_come_in_other_shapes(client: FalClient, wire: Wire, video: object) -> None:
    """A list with the file, or the bare URL, is the file."""
    assert (await read(client, wire, answer(changed(video=video)))).video.url == URL


@pytest.mark.parametrize("field", ["content_type", "file_name"])
@pytest.mark.parametrize("value", [5, "a\x00\ud800", "x" * 10_000, ["a"], None])
async def test_the_files_other_fields_are_made_storable(
    client: FalClient, wire: Wire, field: str, value: object
) -> None:
    """Name and type of the file are hints, and bounded ones."""
    file = (await read(client, wire, answer(changed(video={"url": URL, field: value})))).video
    assert file.url == URL
    assert storable_everywhere(file.model_dump())
    assert len(getattr(file, field) or "") <= 500


@pytest.mark.parametrize(
    "url",
    [
        "https://v3.fal.media:99999/x",
        "https://v3.fal.media:0x/x",
        "https://v3.fal.media:/a\x00b",
        "https://xn--\ud800.example/x",
        "https://" + "a" * 64 + ".example/x",
        "https://a..example/x",
        "https://\u2603\ufe0f\u200d.example/x",
        "https://[::1/x",
        "https:///x",
        "ftp://v3.fal.media/x",
        "file:///etc/passwd",
        "/files/x.mp4",
        "v3.fal.media/x.mp4",
        "javascript:alert(1)",
        "data:video/mp4;base64",
        "",
        " ",
        5,
        None,
        ["https://x"],
    ],
)
async def test_a_video_that_nobody_can_fetch_is_said(client: FalClient, wire: Wire, url: object) -> None:
    """An address with a bad port, host, scheme or character is one clear error, and no verdict."""
    with pytest.raises(FalProtocolError, match="video") as caught:
        await read(client, wire, answer(changed(video={"url": url})))
    assert "changes nothing about the generation" in str(caught.value)


async def test_a_listings_output_and_a_webhooks_payload_are_read_alike(client: FalClient, wire: Wire) -> None:
    """`read_video` takes what the listing holds, however odd, and the listing itself stays readable."""
    odd = {"video": [URL], "prompt": "a\x00\ud800", "seed": 2**70, "more": [2**99, float("nan")]}
    entry = {
        "request_id": ID,
        "endpoint_id": INGREDIENT,
        "sent_at": "2026-11-20T10:00:00Z",
        "started_at": "never",
        "ended_at": 5e300,
        "status_code": "200",
        "duration": "long",
        "json_output": odd,
    }
    page = json.dumps({"items": [entry], "next_cursor": None, "has_more": False}).encode()
    wire.on("/v1/models/requests/by-endpoint", Answer(200, page))
    listing = await client.listing(INGREDIENT, start=datetime(2026, 11, 20, tzinfo=UTC))
    assert listing.complete
    [item] = listing.items
    assert (item.started_at, item.ended_at, item.status_code, item.duration) == (None, None, None, None)
    video = read_video(item.json_output)
    assert (video.video.url, video.seed, video.prompt) == (URL, None, "a\ufffd")


async def test_a_statuss_odd_fields_do_not_hide_it(client: FalClient, wire: Wire) -> None:
    """Logs, metrics, position and error in any type leave the status readable."""
    odd = {
        "status": "COMPLETED",
        "request_id": ID,
        "queue_position": "first",
        "logs": ["x", {"message": 5, "timestamp": {"a": 1}}, None],
        "metrics": [1],
        "error": {"a": ["\x00\ud800"]},
        "error_type": 7,
    }
    wire.on(f"{ROOT}/status", answer(odd))
    status = await client.status(INGREDIENT, ID)
    assert (status.status, status.queue_position, status.metrics) == ("COMPLETED", None, {})
    assert [one.message for one in status.logs] == ["5"]
    assert storable_everywhere(status.model_dump(mode="json"))


def storable_everywhere(value: object) -> bool:
    """Whether JSON readers, databases and files take it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return "\\u0000" not in text and text.encode("utf-8").decode() == text


texts = st.text(st.characters(codec=None, categories=None, exclude_categories=()), max_size=6)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(texts, anything, max_size=3), anything, anything, anything, anything)
def test_any_result_with_a_video_is_kept_and_can_be_stored(
    more: dict[str, Any], seed: object, prompt: object, size: object, name: object
) -> None:
    """Whatever stands beside the URL: the video is read, and everything read can be stored."""
    video = read_video(
        more | {"video": {"url": URL, "file_size": size, "file_name": name}, "seed": seed, "prompt": prompt}
    )
    assert video.video.url == URL
    assert storable_everywhere(video.model_dump(mode="json"))
    assert video.seed is None or 0 <= video.seed < 2**63
    assert video == read_video(video.model_dump(mode="json")) or video.oddities
    assert "sig=1" not in repr(video)


@given(anything)
def test_anything_else_is_a_fal_error(data: object) -> None:
    """What holds no video is a FalError, never a raw one."""
    with contextlib.suppress(FalError):
        read_video(data)
