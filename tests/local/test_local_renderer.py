"""Renderers are plugged in by name, by object, or as one stored clip."""

import threading
from pathlib import Path
from typing import Any

import pytest
from local_fal_helpers import Caller

from prefect_ltx.local import LocalFal, Renderer, RendererUnusable, RenderJob, RenderRefused, Report


class Choosy:
    """Refuses what is longer than nine frames, and copies a clip otherwise."""

    clip = b""

    def render(self, job: RenderJob, progress: Report, cancelled: threading.Event) -> Path:
        if job.num_frames > 9:
            raise RenderRefused("num_frames", "at most 9 here", "less_than_equal")
        progress(0.5, "Choosing")
        made = job.folder / "any-name.mp4"
        made.write_bytes(self.clip)
        return made


def broken() -> None:
    """Not a renderer."""


def test_a_renderer_is_named_as_module_and_object(clip_file: Path, video_body: dict[str, Any]) -> None:
    """A class is called without arguments; what it makes is delivered and billed as it is."""
    Choosy.clip = clip_file.read_bytes()
    with LocalFal(renderer=f"{__name__}:Choosy") as fal, Caller(fal.url) as caller:
        result = caller.generate(video_body)
        assert caller.get(result.json()["video"]["url"]).content == Choosy.clip
        assert [str(charge.units) for charge in fal.bill] == ["1"]
        refused = caller.generate(video_body | {"num_frames": 17})
        entry = refused.json()["detail"][0]
        assert (refused.status_code, entry["loc"], entry["type"]) == (
            422,
            ["body", "num_frames"],
            "less_than_equal",
        )
        assert refused.headers["x-fal-retryable"] == "false"


def test_a_stored_clip_answers_everything(clip_file: Path, video_body: dict[str, Any]) -> None:
    """Whatever was asked; billed by what the clip holds."""
    with LocalFal(renderer=f"stored-clip:{clip_file}") as fal, Caller(fal.url) as caller:
        result = caller.generate(
            video_body | {"num_frames": 481, "resolution": {"width": 1920, "height": 1080}}
        )
        assert caller.get(result.json()["video"]["url"]).content == clip_file.read_bytes()
        assert result.headers["x-fal-billable-units"] == "1"


@pytest.mark.parametrize(
    "spec",
    [
        "nonsense",
        "no_such_module:X",
        f"{__name__}:nothing",
        f"{__name__}:broken",
        "stored-clip:/no/such/clip.mp4",
    ],
)
def test_a_renderer_that_cannot_be_used_stops_the_start(spec: str) -> None:
    """One clear line; nothing is served."""
    with pytest.raises(RendererUnusable), LocalFal(renderer=spec):
        pass


def test_the_protocol_is_what_is_checked() -> None:
    """Anything with a render is a renderer."""
    assert isinstance(Choosy(), Renderer)


def test_renders_run_at_the_same_time(video_body: dict[str, Any]) -> None:
    """As many as the server's concurrency, each in a thread of its own."""
    meet = threading.Barrier(3, timeout=20)

    class Meeting:
        def render(self, job: RenderJob, progress: Report, cancelled: threading.Event) -> Path:
            meet.wait()
            raise RenderRefused("prompt", "we have met")

    with LocalFal(renderer=Meeting(), concurrency=3) as fal, Caller(fal.url) as caller:
        ids = [caller.submit(video_body)["request_id"] for _ in range(3)]
        for request_id in ids:
            caller.until(request_id)
            assert caller.result(request_id).json()["detail"][0]["msg"] == "we have met"
