"""Clips joined to a film: frames counted, sound without holes and clicks, chapters."""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
from film_parts import quietest, samples_of, steepest, tone_clip

from prefect_ltx.film import Clip, FilmInvalid, join_clips, skip_at
from prefect_ltx.media import measure_loudness, probe, run_ffmpeg, source, target, verify_video

FRAMES = (17, 25, 17, 33)
OVERLAPS = (0, 0, 6, 0)
TONES = (220, 330, 262, 196)


async def four_clips(folder: Path, fps: str) -> list[Clip]:
    return [
        Clip(
            await tone_clip(folder / f"{index}.mp4", frames=frames, fps=fps, tone=tone, phase=index),
            f"shot-{index}",
            f"Chapter = {index}; \\ #",
            overlap=overlap,
        )
        for index, (frames, tone, overlap) in enumerate(zip(FRAMES, TONES, OVERLAPS, strict=True))
    ]


def steepest_inside(samples: Sequence[float], joins: Sequence[int]) -> float:
    """The steepest step of the shots themselves, away from all joins and from the film's ends."""
    edges = [0, *joins, len(samples)]
    return max(steepest(list(samples[a + 1200 : b - 1200])) for a, b in pairwise(edges))


@pytest.mark.parametrize("fps", ["24", "24000/1001", "30"])
async def test_film_is_exact_to_the_frame_and_sample(tmp_path: Path, fps: str) -> None:
    """Cuts and a cross-fade: the frames add up, sound and picture end together, nothing clicks, nothing is silent."""
    rate = Fraction(fps)
    film = await join_clips(await four_clips(tmp_path, fps), tmp_path / "film.mp4", fps=rate, title="A = b")
    frames = sum(FRAMES) - sum(OVERLAPS)
    assert film.timeline.duration == frames / rate
    info = await verify_video(film.path, width=128, height=96, frames=frames, fps=rate, audio=True)
    assert info.duration == pytest.approx(float(frames / rate), abs=1e-6)
    assert info.audio is not None
    assert info.audio.duration == pytest.approx(film.timeline.samples / 48000, abs=1e-6)

    samples = samples_of(film.path)[: film.timeline.samples]
    joins = [film.timeline.sample(span.start) for span in film.timeline.spans[1:]]
    normal = steepest_inside(samples, joins)
    for join in joins:
        # Two waves at equal power are at most the square root of two steeper than one of them.
        assert steepest(samples[join - 1200 : join + 1200]) < 1.5 * normal
    assert quietest(samples[480:-480]) > 0.1


async def test_hard_joins_would_click(tmp_path: Path) -> None:
    """The measure of the test above sees a click: the same clips put end to end have one at every join."""
    clips = await four_clips(tmp_path, "24")
    parts = [samples_of(clip.path)[: frames * 2000] for clip, frames in zip(clips, FRAMES, strict=True)]
    whole = [sample for part in parts for sample in part]
    joins = [sum(FRAMES[:index]) * 2000 for index in range(1, 4)]
    normal = steepest_inside(whole, joins)
    assert max(steepest(whole[join - 240 : join + 240]) for join in joins) > 3 * normal


async def test_every_frame_is_there_once_and_fades_are_blends(tmp_path: Path) -> None:
    """Frames of a cut film are those of its clips in order; in a cross-fade there is a mixture of both."""
    black = await tone_clip(tmp_path / "a.mp4", frames=9, tone=None, size="64x64")
    clips = [Clip(black, "a"), Clip(black, "b", overlap=4), Clip(black, "c", skip=2)]
    film = await join_clips(clips, tmp_path / "film.mp4", fps=Fraction(24))
    assert (film.timeline.frames, film.info.audio) == (9 + 9 - 4 + 7, None)
    ours, theirs = pictures(film.path), pictures(black)
    alike = [min(range(9), key=lambda k: distance(frame, theirs[k])) for frame in ours]
    assert alike[:5] == [0, 1, 2, 3, 4]
    assert alike[9:] == [4, 5, 6, 7, 8, 2, 3, 4, 5, 6, 7, 8]
    for step, frame in enumerate(ours[5:9]):
        share = step / 4
        mixed = [(1 - share) * a + share * b for a, b in zip(theirs[5 + step], theirs[step], strict=True)]
        assert distance(frame, mixed) < 6


async def test_chapters_name_the_shots(tmp_path: Path) -> None:
    """A chapter a shot, beginning with the shot's first frame, with its title to the letter; and the film's title."""
    film = await join_clips(
        await four_clips(tmp_path, "24"), tmp_path / "f.mp4", fps=Fraction(24), title="One = two; #3 \\ ü"
    )
    with av.open(str(film.path)) as container:
        chapters = [
            (each["start"] * each["time_base"], each["metadata"]["title"]) for each in container.chapters()
        ]
        title = container.metadata["title"]
    starts = [span.start / Fraction(24) for span in film.timeline.spans]
    assert chapters == [(start, f"Chapter = {index}; \\ #") for index, start in enumerate(starts)]
    assert title == "One = two; #3 \\ ü"


async def test_loudness_is_that_of_the_whole_film(tmp_path: Path) -> None:
    """A loud and a soft shot: the film is at its target, and the difference between the shots stays."""
    loud = await tone_clip(tmp_path / "loud.mp4", frames=49, tone=400)
    film = await join_clips(
        [Clip(loud, "a"), Clip(loud, "b")], tmp_path / "f.mp4", fps=Fraction(24), loudness=-20
    )
    after = await measure_loudness(film.path)
    assert after is not None
    assert after.integrated == pytest.approx(-20, abs=0.5)
    assert film.loudness_before is not None
    kept = await join_clips([Clip(loud, "a")], tmp_path / "g.mp4", fps=Fraction(24), loudness=None)
    again = await measure_loudness(kept.path)
    assert again is not None
    assert again.integrated == pytest.approx((await measure_loudness(loud) or again).integrated, abs=0.5)


async def test_unequal_clips_are_fitted_and_told(tmp_path: Path) -> None:
    """Another size, another rate, sound that ends early or is missing: same timeline, and a person is told."""
    usual = await tone_clip(tmp_path / "a.mp4", frames=25)
    clips = [
        Clip(usual, "a"),
        Clip(await tone_clip(tmp_path / "b.mp4", frames=25, size="96x96"), "b"),
        Clip(await tone_clip(tmp_path / "c.mp4", frames=30, fps="30"), "c"),
        Clip(await tone_clip(tmp_path / "d.mp4", frames=25, sound_seconds=0.98), "d"),
        Clip(await tone_clip(tmp_path / "e.mp4", frames=25, tone=None), "e"),
        Clip(await tone_clip(tmp_path / "f.mp4", frames=25, sound_seconds=0.5), "f"),
        Clip(usual, "g", overlap=3),
    ]
    film = await join_clips(clips, tmp_path / "film.mp4", fps=Fraction(24))
    assert [span.frames for span in film.timeline.spans] == [25, 25, 24, 25, 25, 25, 25]
    assert (film.info.width, film.info.height, film.info.frames) == (128, 96, 171)
    assert [each.split(" ")[1].rstrip(":") for each in film.warnings] == ["b", "e", "f"]
    samples = samples_of(film.path)
    end_of_d = film.timeline.sample(film.timeline.spans[3].end)
    # 60 ms without sound of its own are bridged by its mirror image.
    assert quietest(samples[end_of_d - 6000 : end_of_d]) > 0.1


async def test_same_clips_same_bytes(tmp_path: Path) -> None:
    """A film that is made again has the same bytes, so that archiving it again is no conflict."""
    clips = await four_clips(tmp_path, "24")
    one = await join_clips(clips, tmp_path / "one.mp4", fps=Fraction(24))
    two = await join_clips(clips, tmp_path / "two.mp4", fps=Fraction(24))
    assert one.path.read_bytes() == two.path.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


async def test_cross_fades_have_to_fit(tmp_path: Path) -> None:
    """A shot that would be all cross-fade is refused, with its name."""
    clip = await tone_clip(tmp_path / "a.mp4", frames=9)
    with pytest.raises(FilmInvalid, match="shot b"):
        await join_clips(
            [Clip(clip, "a"), Clip(clip, "b", overlap=5), Clip(clip, "c", overlap=4)],
            tmp_path / "film.mp4",
            fps=Fraction(24),
        )
    assert probe(clip).frames == 9
    assert not (tmp_path / "film.mp4").exists()


def pictures(path: Path) -> list[list[int]]:
    with av.open(str(path)) as container:
        small = (frame.reformat(32, 32, "yuv420p").planes[0] for frame in container.decode(video=0))
        return [list(bytes(plane)[: 32 * plane.line_size]) for plane in small]


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


@pytest.mark.parametrize(("fps", "left_out"), [("24", 6), ("12", 3), ("25", 7), ("30", 8)])
async def test_a_lead_in_is_counted_in_the_films_frames(tmp_path: Path, fps: str, left_out: int) -> None:
    """Six frames at 24 a second are as many of the film's as last until the seventh: nothing of them is left."""
    clip = await tone_clip(tmp_path / "a.mp4", frames=25, tone=None)
    uneven = tmp_path / "uneven.mkv"
    late = source(clip).video.filter("setpts", "if(gt(N,5),PTS+0.1/TB,PTS)")
    await run_ffmpeg(target(late, path=uneven, format="matroska", fps_mode="vfr", enc_time_base="1/1000"))
    assert skip_at(Fraction(fps), probe(clip), clip, 6) == left_out
    info = probe(uneven)
    assert not info.constant
    assert skip_at(Fraction(fps), info, uneven, 6) == math.ceil(
        (0.25 + 0.1) * Fraction(fps) - Fraction(1, 100)
    )
    assert skip_at(Fraction(fps), info, uneven, 0) == 0
