"""What each of the six further inputs of reference-video-to-video does to the stand-in's picture."""

import asyncio
import itertools
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image, ImageChops, ImageStat

from prefect_ltx.fal import ReferenceVideoRequest
from prefect_ltx.local.ffmpeg_renderer import FfmpegRenderer
from prefect_ltx.local.renderer import RenderJob
from prefect_ltx.media import BITEXACT, generator, run_ffmpeg, target

SIZE = (128, 64)
COLOURS = {"image_url": (200, 40, 60), "mid_image_url": (40, 180, 70), "end_image_url": (50, 60, 210)}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A clip that moves, a control video whose left half is white, and one picture a keyframe."""
    folder = tmp_path_factory.mktemp("six")
    how = {"c:v": "libx264", "preset": "ultrafast", "pix_fmt": "yuv420p", "frames:v": 25, **BITEXACT}
    clips = {
        "video_url": generator("testsrc2=s=128x64:r=24").video,
        "control_video_url": generator("color=c=black:s=128x64:r=24").video.filter(
            "drawbox", x=0, y=0, w=64, h=64, color="white", t="fill"
        ),
    }
    for name, picture in clips.items():
        asyncio.run(run_ffmpeg(target(picture, path=folder / f"{name}.mp4", **how)))
    for name, colour in COLOURS.items():
        Image.new("RGB", SIZE, colour).save(folder / f"{name}.png")
    return {name: next(folder.glob(f"{name}.*")) for name in (*clips, *COLOURS)}


def rendered(files: dict[str, Path], folder: Path, *fields: str, frames: int = 17, **more: Any) -> list[Any]:
    """The clip's frames, made of these media fields."""
    media = {name: files[name] for name in ("video_url", *fields)}
    request = ReferenceVideoRequest.model_validate(
        {
            "prompt": "It turns.",
            "num_frames": frames,
            "seed": 7,
            "generate_audio": False,
            "video_quality": "maximum",
            "video_write_mode": "fast",
            **{name: str(path) for name, path in media.items()},
            **more,
        }
    )
    folder.mkdir(exist_ok=True)
    job = RenderJob(
        request_id="r",
        request=request,
        seed=7,
        prompt="It turns.",
        width=SIZE[0],
        height=SIZE[1],
        num_frames=frames,
        fps=Fraction(24),
        video=media["video_url"],
        image=media.get("image_url"),
        folder=folder,
        media=media,
    )
    made = FfmpegRenderer().render(job, lambda *_: None, threading.Event())
    return pictures(made)


def pictures(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        # What says nothing of its matrix is taken for BT.709 in this project.
        return [frame.to_image(src_colorspace="ITU709") for frame in container.decode(video=0)]


def off(one: Any, other: Any) -> float:
    """The mean difference of two pictures, of 255."""
    return max(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean)


@pytest.mark.parametrize("frames", [9, 17, 18, 40])
def test_keyframes_stand_on_their_frames(files: dict[str, Path], tmp_path: Path, frames: int) -> None:
    """The first, the middle and the last frame are the pictures, whole; the frames between are not."""
    found = rendered(files, tmp_path / "made", *COLOURS, frames=frames)
    assert len(found) == frames
    places = dict(zip(COLOURS, (0, (frames - 1) // 2, frames - 1), strict=True))
    for field, place in places.items():
        assert off(found[place], Image.new("RGB", SIZE, COLOURS[field])) < 4, field
    assert all(off(found[frames // 4], Image.new("RGB", SIZE, colour)) > 12 for colour in COLOURS.values())


def test_one_picture_may_stand_in_two_places(files: dict[str, Path], tmp_path: Path) -> None:
    """A clip that ends on the picture it began with."""
    same = {**files, "end_image_url": files["image_url"]}
    found = rendered(same, tmp_path / "made", "image_url", "end_image_url")
    whole = Image.new("RGB", SIZE, COLOURS["image_url"])
    assert off(found[0], whole) < 4
    assert off(found[-1], whole) < 4
    assert off(found[8], whole) > 12


def test_the_control_video_is_the_structure(files: dict[str, Path], tmp_path: Path) -> None:
    """Used as it is, its white half is the bright half of the clip; estimated from, only its edge shows."""

    def halves(picture: Any) -> tuple[float, ...]:
        grey = picture.convert("L")
        parts = [(4, 0, 56, 64), (60, 0, 68, 64), (72, 0, 124, 64)]
        return tuple(ImageStat.Stat(grey.crop(part)).mean[0] for part in parts)

    direct = rendered(
        files, tmp_path / "direct", "control_video_url", skip_control_preprocess=True, video_strength=1
    )
    left, _, right = halves(direct[8])
    assert left - right > 150
    built_in = rendered(files, tmp_path / "built-in", "control_video_url", video_strength=1)
    left, edge, right = halves(built_in[8])
    assert edge - max(left, right) > 20
    without = rendered(files, tmp_path / "without", video_strength=1)
    assert off(without[8], direct[8]) > 20
    assert off(without[8], built_in[8]) > 20


def test_strength_says_how_much_of_the_original_is_painted_over(
    files: dict[str, Path], tmp_path: Path
) -> None:
    """At 0 the clip is the original, at 1 nothing of it is left, and it grows in between."""
    original = pictures(files["video_url"])[8]
    how = {"skip_control_preprocess": True, "preserve_original_video": True}
    apart = [
        off(
            rendered(files, tmp_path / f"{strength}", "control_video_url", strength=strength, **how)[8],
            original,
        )
        for strength in (0, 0.3, 0.7, 1)
    ]
    assert apart[0] < 6
    assert apart == sorted(apart)
    assert min(after - before for before, after in itertools.pairwise(apart)) > 5
    # Without the original to keep, it only shortens the schedule, which a stand-in has not.
    plain = rendered(files, tmp_path / "plain", strength=0.3)
    assert off(plain[8], rendered(files, tmp_path / "whole", strength=1)[8]) < 1
