"""The six further inputs by their content: signatures change nothing, other bytes change everything, nothing leaks."""

import base64
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from prefect_ltx.cli import plain
from prefect_ltx.fal import ReferenceVideoRequest, parse_request
from prefect_ltx.generation import Services, plan_request
from prefect_ltx.ledger import generation_keys
from prefect_ltx.local import LocalFal

NEEDLE = "needle-in-haystack"
SMALL = {"num_frames": 9, "resolution": {"width": 256, "height": 128}, "video_write_mode": "fast", "seed": 7}
FIRST: dict[str, Any] = {"prompt": "a copper pan", "video_url": "https://cdn/v.mp4?sig=1", "seed": 7}


class Files(ThreadingHTTPServer):
    """Serves what `content` holds now, by path; a query is a signature that it does not look at."""

    content: dict[str, bytes]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Files)
        data = self.server.content[self.path.partition("?")[0]]
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def files(media_folder: Path) -> Iterator[Files]:
    server = Files(("127.0.0.1", 0), Handler)
    server.content = {f"/{name}": (media_folder / name).read_bytes() for name in ("clip.mp4", "sheet.png")}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("changes", "digests", "key"),
    [
        ({}, {}, "9f3240712e93acdbeb1ef1901d9467b65588171bab5d019596be9e66bae31408"),
        (
            {"image_url": "https://cdn/i.png", "resolution": "square", "video_strength": 0.4},
            {"image_url": "b" * 64},
            "7c24197ca2bcb95ec5de25cb5f26b089c13ca1612b0aa75f53e764c7ec0714dd",
        ),
    ],
)
def test_a_request_without_them_keeps_the_key_of_the_release_before(
    changes: dict[str, Any], digests: dict[str, str], key: str
) -> None:
    """These keys were computed by the code before the six inputs were fields: what they bought is not bought again."""
    body = FIRST | changes
    spelled = body | {"strength": 1, "preserve_original_video": False, "end_image_url": None}
    for data in (body, spelled):
        found = generation_keys(
            "account-1",
            ReferenceVideoRequest.ENDPOINT,
            parse_request(data),
            {"video_url": "a" * 64} | digests,
        )
        assert key in found


async def test_signatures_are_no_identity_and_appear_nowhere(
    fal: LocalFal,
    services: Services,
    files: Files,
    media_folder: Path,
    ltx_env: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Two signed URLs, a path and a data URI of one control video are one purchase; other bytes at it are another."""
    caplog.set_level(logging.DEBUG, logger="prefect_ltx")
    base = f"http://me:{NEEDLE}@127.0.0.1:{files.server_port}"
    clip, sheet = media_folder / "clip.mp4", media_folder / "sheet.png"

    def signed(name: str, number: int) -> str:
        return f"{base}/{name}?X-Amz-Signature={NEEDLE}{number}"

    def data(path: Path, kind: str) -> str:
        return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"

    def asked(video: list[str], picture: list[str]) -> Any:
        return parse_request(
            {
                "prompt": "It turns.",
                "video_url": video[0],
                "control_video_url": video[1],
                "image_url": picture[0],
                "mid_image_url": picture[1],
                "end_image_url": picture[2],
                "skip_control_preprocess": True,
                "preserve_original_video": True,
                "strength": 0.5,
                **SMALL,
            }
        )

    ways = [
        asked([signed("clip.mp4", 1)] * 2, [signed("sheet.png", 1)] * 3),
        asked([signed("clip.mp4", 2)] * 2, [signed("sheet.png", number) for number in (2, 3, 4)]),
        asked([str(clip)] * 2, [str(sheet)] * 3),
        asked([f"file://{clip}", data(clip, "video/mp4")], [data(sheet, "image/png")] * 3),
    ]
    how: dict[str, Any] = {"recipe": "none", "tags": [], "frame_rule": "as_is", "quality": "warn"}
    made = [await plain.make(way, max_seeds=1, **how) for way in ways]
    assert [each.reused for each in made] == [False, True, True, True]
    assert len(fal.bill) == 1

    files.content["/clip.mp4"] += b"\0" * 16
    plan = await plan_request(services, ways[0])
    assert plan.status == "new"
    assert plan.key != made[0].key

    texts = [caplog.text, *(each.model_dump_json() for each in made), plan.model_dump_json()]
    texts += [repr(way) for way in ways]
    texts += [str((await services.ledger.find())[0])]
    places = [*(ltx_env / "archive").rglob("*"), *ltx_env.glob("ledger.db*"), *(ltx_env / "home").rglob("*")]
    texts += [path.read_bytes().decode(errors="ignore") for path in places if path.is_file()]
    assert not [text[:200] for text in texts if NEEDLE in text]
    # What fal is sent are its own files.
    sent = (await services.ledger.find())[0].body
    assert all(str(sent[field]).startswith(fal.url) for field in ways[0].media())
