"""Recipes: what they accept, and that each operation does to pictures and sound what it says."""

import asyncio
import os
import re
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import av
import pytest
from pydantic import ValidationError

from prefect_ltx.media import (
    RECIPES,
    AudioFile,
    HlsVideo,
    Limits,
    LoudnessTarget,
    MediaInvalid,
    Poster,
    Preview,
    Recipe,
    Rendition,
    Scale,
    SocialVideo,
    Thumbnails,
    Trim,
    WebVideo,
    ffmpeg_binary,
    generator,
    probe,
    recipe_named,
    render_renditions,
    run_ffmpeg,
    target,
)

MakeClip = Callable[..., Awaitable[Path]]

# Frame n has the brightness 16 + 4n, so a frame tells its number.
NUMBERED = "color=black:s=128x72:r={fps},format=yuv420p,geq=lum=16+4*N:cb=128:cr=128"
FASTEST = WebVideo(preset="ultrafast")


async def numbered(path: Path, *, frames: int = 49, fps: str = "24", tone: str = "sine=r=48000") -> Path:
    options = {"c:v": "libx264", "crf": 4, "frames:v": frames, "t": frames / 24, "c:a": "aac"}
    pictures = generator(NUMBERED.format(fps=fps)).video
    await run_ffmpeg(target(pictures, generator(tone).audio, path=path, **options))
    return path


def brightness(path: Path) -> list[float]:
    """Mean of each frame's luma, over the middle of the picture."""
    with av.open(str(path)) as container:
        found = []
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            row = bytes(plane)[plane.line_size * (frame.height // 2) :][: frame.width]
            found.append(sum(row) / len(row))
        return found


def numbers(path: Path) -> list[int]:
    return [round((mean - 16) / 4) for mean in brightness(path)]


def mean_colour(path: Path) -> tuple[float, float]:
    """Mean of both colour planes of the first frame."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0)).reformat(format="yuv420p")
    means = []
    for plane in frame.planes[1:]:
        rows = [bytes(plane)[plane.line_size * y :][: plane.width] for y in range(plane.height)]
        means.append(sum(map(sum, rows)) / (plane.width * plane.height))
    return means[0], means[1]


def by_name(renditions: list[Rendition]) -> dict[str, Rendition]:
    return {rendition.name: rendition for rendition in renditions}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_data(name: str) -> None:
    """A recipe comes back from JSON as it was, and goes by its name."""
    recipe = recipe_named(name)
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert recipe.name == name


@pytest.mark.parametrize(
    "wrong",
    [
        {"outputs": [{"kind": "web", "name": "../up"}]},
        {"outputs": [{"kind": "web", "name": "-i"}]},
        {"outputs": [{"kind": "web", "name": "a:b"}]},
        {"outputs": [{"kind": "web", "name": "video"}]},
        {"outputs": [{"kind": "web"}, {"kind": "web"}]},
        {"outputs": [{"kind": "hls"}, {"kind": "web", "name": "hls_media"}]},
        {"outputs": [{"kind": "exec"}]},
        {"outputs": [{"kind": "web", "preset": "medium -f null"}]},
        {"outputs": [{"kind": "web", "vf": "movie=/etc/passwd"}]},
        {"outputs": [{"kind": "social", "aspect": "16:9"}]},
        {"outputs": [{"kind": "social", "width": 1081}]},
        {"frame_rate": "25,drawtext=x"},
        {"frame_rate": "0"},
        {"frame_rate": "1/0"},
        {"scale": {}},
        {"scale": {"width": "640:flags=x"}},
        {"trim": {"start": 2, "end": 1}},
        {"trim": {"start": float("inf")}},
        {"loudness": {"lufs": -12}},
        {"colour": "bt709:x"},
        {"name": "My Recipe"},
    ],
    ids=str,
)
def test_nothing_but_numbers_choices_and_checked_names(wrong: dict[str, Any]) -> None:
    """No text of a user's can become an option, a filter or a path."""
    with pytest.raises(ValidationError):
        Recipe.model_validate(wrong)


@pytest.mark.parametrize("name", ["social", "broadcast", "review"])
async def test_every_ready_made_recipe_holds_what_it_promises(
    make_clip: MakeClip, tmp_path: Path, name: str
) -> None:
    """Its files are there, verified, at its loudness, and no others."""
    clip, out = await make_clip(frames=25, size="192x108"), tmp_path / "out"
    recipe = recipe_named(name)
    if name == "social":  # full size belongs into the benchmark
        small = [
            each.model_copy(update={"width": 108}) for each in recipe.outputs if isinstance(each, SocialVideo)
        ]
        recipe = recipe.model_copy(update={"outputs": (Poster(), *small, Preview())})
    found = by_name(await render_renditions(clip, out, recipe=recipe))
    assert {path.name for path in out.iterdir()} == {each.path.name for each in found.values()}
    assert {output.stem for output in recipe.outputs} <= set(found)
    sounding = [each for each in found.values() if "audio" in each.facts]
    assert recipe.loudness is not None
    assert sounding
    for each in sounding:
        assert each.facts["loudness_lufs"] == pytest.approx(recipe.loudness.lufs, abs=0.5)
    for each in found.values():
        if each.content_type == "video/mp4":
            assert each.facts["frames"] == 25
    for output in recipe.outputs:
        if isinstance(output, SocialVideo):
            facts = found[output.stem].facts
            assert (facts["width"], facts["height"]) == output.size


async def test_a_trim_is_exact_to_the_frame(tmp_path: Path) -> None:
    """Times name frames; what is kept begins and ends with exactly those, and the sound goes with them."""
    # Silence up to frame 12 and from frame 36 on.
    tone = "aevalsrc=0.4*sin(2*PI*440*t)*gte(t\\,0.5)*lt(t\\,1.5):s=48000"
    clip = await numbered(tmp_path / "clip.mp4", tone=tone)
    recipe = Recipe(trim=Trim(start=0.5, end=1.5), loudness=None, outputs=(FASTEST, AudioFile(format="wav")))
    found = by_name(await render_renditions(clip, tmp_path / "out", recipe=recipe))
    assert numbers(found["web"].path) == list(range(12, 36))
    assert found["web"].facts["video"] == "encoded"
    with av.open(str(found["audio"].path)) as container:
        samples = b"".join(bytes(frame.planes[0])[: frame.samples * 4] for frame in container.decode(audio=0))
    assert len(samples) == 48000 * 4
    begin = [
        abs(int.from_bytes(samples[at : at + 4], "little", signed=True)) / 2**31
        for at in range(1920, 9600, 4)
    ]
    end = [
        abs(int.from_bytes(samples[at : at + 4], "little", signed=True)) / 2**31
        for at in range(182400, 190000, 4)
    ]
    assert max(begin) > 0.3
    assert max(end) > 0.3


@pytest.mark.parametrize("lead_in", [0, 3, 42])
async def test_a_lead_in_is_cut_off_with_its_sound(tmp_path: Path, lead_in: int) -> None:
    """What quality control found at the start is gone; a trim counts from what is left."""
    clip = await numbered(tmp_path / "clip.mp4")
    recipe = Recipe(trim=Trim(end=0.25), outputs=(FASTEST,))
    (web,) = await render_renditions(clip, tmp_path / "out", recipe=recipe, lead_in_frames=lead_in)
    assert numbers(web.path) == list(range(lead_in, lead_in + 6))
    assert web.facts["audio"]["duration"] == pytest.approx(0.25, abs=0.03)


async def test_a_lead_in_can_be_kept_and_cannot_be_everything(tmp_path: Path) -> None:
    """A recipe may keep it; a clip that is all lead-in gives nothing."""
    clip = await numbered(tmp_path / "clip.mp4", frames=9)
    kept = Recipe(remove_lead_in=False, outputs=(FASTEST,))
    (web,) = await render_renditions(clip, tmp_path / "out", recipe=kept, lead_in_frames=9)
    assert web.facts["frames"] == 9
    with pytest.raises(MediaInvalid, match="nothing of its 9 frames is left"):
        await render_renditions(clip, tmp_path / "out", lead_in_frames=9)


@pytest.mark.parametrize(
    ("before", "after", "frames"),
    [
        ("24", "25", 49),
        ("24", "30000/1001", 48),
        ("30", "24", 33),
        ("24", "12", 25),
        ("25", "60", 9),
        ("24", "2", 25),
    ],
)
async def test_a_frame_rate_is_converted_to_an_exact_count(
    make_clip: MakeClip, tmp_path: Path, before: str, after: str, frames: int
) -> None:
    """The duration stays, the number of frames follows from it."""
    clip = await make_clip(frames=frames, fps=before, size="64x64", audio=None)
    recipe = Recipe(frame_rate=after, outputs=(FASTEST,))
    (web,) = await render_renditions(clip, tmp_path / "out", recipe=recipe)
    assert web.facts["fps"] == after
    assert web.facts["duration"] == pytest.approx(
        probe(clip).duration, abs=0.51 / float(probe(web.path).frame_rate)
    )


@pytest.mark.parametrize(
    ("scale", "size"),
    [({"height": 72}, (128, 72)), ({"width": 64}, (64, 36)), ({"width": 72, "height": 72}, (72, 72))],
)
async def test_scaling_holds_for_every_output(
    make_clip: MakeClip, tmp_path: Path, scale: dict[str, int], size: tuple[int, int]
) -> None:
    """One side keeps the aspect, two sides crop; poster and video have the same size."""
    recipe = Recipe(scale=Scale(**scale), outputs=(FASTEST, Poster()))
    found = await render_renditions(await make_clip(frames=9), tmp_path / "out", recipe=recipe)
    assert {(each.facts["width"], each.facts["height"]) for each in found} == {size}


@pytest.mark.parametrize(("anchor", "part"), [(0.0, "red"), (1.0, "blue")])
async def test_a_crop_keeps_the_side_of_its_anchor(tmp_path: Path, anchor: float, part: str) -> None:
    """0 is the left of a wide picture, 1 its right."""
    halves = generator("color=red:s=256x144:r=24").video.filter(
        "drawbox", x=128, w=128, h=144, color="blue", t="fill"
    )
    await run_ffmpeg(target(halves, path=tmp_path / "clip.mp4", **{"c:v": "libx264", "frames:v": 3}))
    crop = SocialVideo(width=72, anchor=anchor, preset="ultrafast")
    (made,) = await render_renditions(tmp_path / "clip.mp4", tmp_path / "out", recipe=Recipe(outputs=(crop,)))
    blue, red = mean_colour(made.path)
    assert (red > 200) == (part == "red")
    assert (blue > 200) == (part == "blue")


@pytest.mark.parametrize("aspect", ["9:16", "4:5", "1:1"])
async def test_a_blurred_pad_shows_the_whole_picture(tmp_path: Path, aspect: Any) -> None:
    """Between blurred edges lies the whole frame, left and right edge included."""
    bars = generator("color=gray:s=256x144:r=24").video
    bars = bars.filter("drawbox", w=16, h=144, color="white", t="fill").filter(
        "drawbox", x=240, w=16, h=144, color="black", t="fill"
    )
    await run_ffmpeg(target(bars, path=tmp_path / "clip.mp4", **{"c:v": "libx264", "frames:v": 3}))
    output = SocialVideo(aspect=aspect, fit="blur", width=128, preset="ultrafast")
    (made,) = await render_renditions(
        tmp_path / "clip.mp4", tmp_path / "out", recipe=Recipe(outputs=(output,))
    )
    with av.open(str(made.path)) as container:
        frame = next(container.decode(video=0))
        row = bytes(frame.planes[0])[frame.planes[0].line_size * (frame.height // 2) :][: frame.width]
    assert (frame.width, frame.height) == output.size
    assert row[2] > 200
    assert row[125] < 40


async def test_the_poster_is_not_the_black_at_the_start(tmp_path: Path) -> None:
    """It is a typical frame of the whole clip, wherever the clip's best part lies."""
    dark = generator("testsrc2=s=128x72:r=24").video.filter(
        "drawbox", w=128, h=72, color="black", t="fill", enable="lt(n,30)"
    )
    await run_ffmpeg(target(dark, path=tmp_path / "clip.mp4", **{"c:v": "libx264", "frames:v": 121}))
    (poster,) = await render_renditions(
        tmp_path / "clip.mp4", tmp_path / "out", recipe=Recipe(outputs=(Poster(),))
    )
    assert brightness(poster.path)[0] > 40


async def test_hls_plays_from_its_playlist(make_clip: MakeClip, tmp_path: Path) -> None:
    """A player that reads the playlist gets every frame, in segments of the length asked for."""
    clip, out = await make_clip(frames=97, size="64x64"), tmp_path / "out"
    recipe = Recipe(outputs=(HlsVideo(segment_seconds=1, preset="ultrafast"),))
    found = by_name(await render_renditions(clip, out, recipe=recipe))
    assert found["hls"].facts["segments"] == 5
    assert found["hls"].content_type == "application/vnd.apple.mpegurl"
    with av.open(str(found["hls"].path), options={"allowed_extensions": "ALL"}) as container:
        assert sum(1 for _ in container.decode(video=0)) == 97


async def test_thumbnails_and_cues_belong_together(make_clip: MakeClip, tmp_path: Path) -> None:
    """Cues follow each other from zero to the end, and every one names a part inside the picture."""
    recipe = Recipe(outputs=(Thumbnails(every=0.5, width=32, columns=3),))
    found = by_name(await render_renditions(await make_clip(frames=97), tmp_path / "out", recipe=recipe))
    text = found["thumbnails_vtt"].path.read_text()
    cues = re.findall(
        r"00:00:([\d.]+) --> 00:00:([\d.]+)\nthumbnails\.jpg#xywh=(\d+),(\d+),(\d+),(\d+)", text
    )
    assert text.startswith("WEBVTT\n")
    assert len(cues) == 8
    assert [end for _, end, *_ in cues[:-1]] == [start for start, *_ in cues[1:]]
    assert (float(cues[0][0]), float(cues[-1][1])) == (0, pytest.approx(97 / 24, abs=0.001))
    facts = found["thumbnails"].facts
    for *_, x, y, width, height in cues:
        assert int(x) + int(width) <= facts["width"]
        assert int(y) + int(height) <= facts["height"]


async def test_audio_alone_is_left_out_where_there_is_none(make_clip: MakeClip, tmp_path: Path) -> None:
    """A file of nothing helps nobody."""
    recipe = Recipe(outputs=(AudioFile(), Poster()))
    found = await render_renditions(await make_clip(audio=None), tmp_path / "out", recipe=recipe)
    assert [each.name for each in found] == ["poster"]
    only = Recipe(outputs=(AudioFile(),))
    assert await render_renditions(await make_clip(audio=None), tmp_path / "out", recipe=only) == []


@pytest.mark.parametrize("lufs", [-14, -16, -23])
async def test_surround_sound_is_levelled_after_it_is_mixed_down(
    make_clip: MakeClip, tmp_path: Path, lufs: Any
) -> None:
    """What is measured is what is heard."""
    tone = "aevalsrc=" + "|".join(f"0.2*sin(2*PI*{200 + 90 * n}*t)" for n in range(6)) + ":c=5.1:s=48000"
    recipe = Recipe(loudness=LoudnessTarget(lufs=lufs), outputs=(AudioFile(),))
    clip = await make_clip(frames=73, audio=tone, size="64x64")
    (audio,) = await render_renditions(clip, tmp_path / "out", recipe=recipe)
    assert audio.facts["audio"]["layout"] == "stereo"
    assert audio.facts["loudness_lufs"] == pytest.approx(lufs, abs=0.5)


async def test_what_cannot_be_levelled_is_left_as_it_is(make_clip: MakeClip, tmp_path: Path) -> None:
    """Single clicks in silence have no gain that brings them to a target; the rendition says so."""
    clicks = "aevalsrc=0.9*lt(mod(t\\,1)\\,0.001):s=48000"
    clip = await make_clip(frames=97, size="64x64", audio=clicks)
    (web,) = await render_renditions(clip, tmp_path / "out", recipe=Recipe(outputs=(FASTEST,)))
    assert web.facts["loudness_target_lufs"] is None
    assert web.facts["audio"]["duration"] == pytest.approx(97 / 24, abs=0.03)


BT601 = {"color_primaries": "smpte170m", "color_trc": "smpte170m", "colorspace": "smpte170m"}


@pytest.mark.parametrize(
    ("options", "video"), [({}, "copied"), (BT601, "encoded"), ({"pix_fmt": "yuv444p"}, "encoded")], ids=str
)
async def test_videos_are_tagged_as_bt709(
    make_clip: MakeClip, tmp_path: Path, options: dict[str, str], video: str
) -> None:
    """Untagged pictures get the tags without being encoded; others are converted."""
    clip = await make_clip(frames=9, **options)
    (web,) = await render_renditions(clip, tmp_path / "out", recipe=Recipe(outputs=(FASTEST,)))
    assert web.facts["video"] == video
    assert probe(web.path).colour == (1, 1, 1, 1)
    kept = Recipe(colour="keep", outputs=(FASTEST,))
    (web,) = await render_renditions(clip, tmp_path / "out", recipe=kept)
    assert probe(web.path).colour[1:] == probe(clip).colour[1:]


async def test_colours_survive_the_conversion(tmp_path: Path) -> None:
    """A red tagged as BT.601 is the red of BT.709 afterwards: another number, the same colour."""
    red = generator("color=red:s=64x64:r=24").video
    red = red.filter("scale", out_color_matrix="bt601").filter("format", "yuv420p")
    await run_ffmpeg(target(red, path=tmp_path / "clip.mp4", **{"c:v": "libx264", "frames:v": 3, **BT601}))
    (web,) = await render_renditions(
        tmp_path / "clip.mp4", tmp_path / "out", recipe=Recipe(outputs=(FASTEST,))
    )
    blue, red_difference = mean_colour(web.path)
    assert (blue, red_difference) == (pytest.approx(102, abs=2), pytest.approx(240, abs=2))


async def test_a_video_too_heavy_for_the_web_is_encoded(make_clip: MakeClip, tmp_path: Path) -> None:
    """Fit is what browsers play and lines carry."""
    light = Recipe(outputs=(WebVideo(copy_up_to_mbps=0.01, preset="ultrafast"),))
    (web,) = await render_renditions(await make_clip(), tmp_path / "out", recipe=light)
    assert web.facts["video"] == "encoded"


async def test_a_half_source_is_refused_for_pictures_alone(make_clip: MakeClip, tmp_path: Path) -> None:
    """Also where no output has every frame, the source is decoded to its end."""
    clip = await make_clip(frames=49, movflags="+faststart")
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.raises(MediaInvalid):
        await render_renditions(clip, tmp_path / "out", recipe=Recipe(outputs=(Poster(),)))
    assert list((tmp_path / "out").iterdir()) == []


DAMAGES = {
    "cut": 'size=$(stat -c %s "$name"); truncate -s $((size * 2 / 3)) "$name"',
    "zeros": 'dd if=/dev/zero of="$name" bs=1 seek=$(($(stat -c %s "$name") / 2)) count=3000 conv=notrunc 2>&-',
    "another": 'cp "$FIRST" "$name"',
}


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        *((kind, "cut") for kind in ("web.mp4", "preview.webp", "poster.jpg", "hls_media.mp4", "audio.wav")),
        *((kind, "zeros") for kind in ("web.mp4", "hls_media.mp4")),
        *((kind, "another") for kind in ("web.mp4", "poster.jpg")),
    ],
)
async def test_a_damaged_output_is_never_handed_out(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str, kind: str
) -> None:
    """ffmpeg ended well, and one file is not right: nothing of the recipe appears under its name."""
    clip = await make_clip(frames=33, audio="sine=r=48000")
    other = (
        await make_clip("other.mp4", frames=25, size="256x144") if kind == "web.mp4" else tmp_path / "o.jpg"
    )
    if kind == "poster.jpg":
        await run_ffmpeg(target(generator("testsrc2=s=64x64").video, path=other))
    stem, suffix = kind.split(".")
    wrapper = tmp_path / "ffmpeg"
    wrapper.write_text(
        f'#!/bin/sh\nFIRST={other}\n"{ffmpeg_binary()}" "$@" || exit $?\nfor arg in "$@"; do\n'
        f'  name=${{arg#file:}}\n  case "$name" in *out/*{stem}*.{suffix}) {DAMAGES[damage]};; esac\ndone\n'
    )
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("FFMPEG_BINARY", str(wrapper))
    outputs = (FASTEST, Preview(), Poster(), HlsVideo(preset="ultrafast"), AudioFile(format="wav"))
    with pytest.raises(MediaInvalid, match="hls" if stem == "hls_media" else kind):
        await render_renditions(clip, tmp_path / "out", recipe=Recipe(outputs=outputs))
    assert list((tmp_path / "out").iterdir()) == []


async def test_cancelling_leaves_the_results_as_they_were(make_clip: MakeClip, tmp_path: Path) -> None:
    """Half a recipe is none: what was there before is there after, and nothing else."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "web.mp4").write_text("before")
    slow = Recipe(outputs=(WebVideo(copy_if_fit=False, preset="slow"), HlsVideo(preset="slow")))
    clip = await make_clip(frames=481, size="512x288", preset="ultrafast")
    begun = asyncio.Event()
    work = asyncio.create_task(
        render_renditions(clip, out, recipe=slow, on_progress=lambda progress: begun.set())
    )
    await begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert [path.name for path in out.iterdir()] == ["web.mp4"]
    assert (out / "web.mp4").read_text() == "before"


async def test_limits_hold_for_what_is_rendered(make_clip: MakeClip, tmp_path: Path) -> None:
    """A video beyond the caller's limits gives no rendition and no folder of results."""
    with pytest.raises(MediaInvalid, match="limit"):
        await render_renditions(await make_clip(), tmp_path / "out", limits=Limits(pixels=10_000))
    assert not os.path.exists(tmp_path / "out")
