"""Joining clips to one film: every frame once, no hole and no click in the sound, one loudness, chapters.

Three ffmpeg processes: the sound is joined (no picture decoded), measured, and then picture and sound are
written together. A cut is a cut in the picture; in the sound it is a cross-fade of 10 ms into the new shot, for
which the old shot's end is continued by its own mirror image, because a waveform that just stops clicks.
"""

import asyncio
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from prefect_ltx.film.captions import font_for, laid_over, missing_letters, subtitle_strips, write_strips
from prefect_ltx.film.errors import FilmInvalid
from prefect_ltx.film.metadata import metadata_text
from prefect_ltx.film.mix import NOTHING_ELSE, Mix, mixed
from prefect_ltx.film.picture import Canvas, joined_picture
from prefect_ltx.film.sound import joined_sound
from prefect_ltx.film.timeline import SAMPLE_RATE, Timeline
from prefect_ltx.film.webvtt import Cue
from prefect_ltx.media import (
    BITEXACT,
    AudioInfo,
    MediaInfo,
    MediaInvalid,
    Progress,
    probe,
    run_ffmpeg,
    source,
    target,
    verify_video,
)
from prefect_ltx.media.allowed import PROTOCOLS
from prefect_ltx.media.loudness import TRUE_PEAK_DBTP, WEB_LUFS, Level, find_level, prepared
from prefect_ltx.media.magic import sniff
from prefect_ltx.media.probe import frame_times, open_container
from prefect_ltx.media.shown import own_clock

_EDGE_SAMPLES: Final = 240
SUBTITLE_SHARE: Final = 0.05
"""Of the picture's height, for a letter."""


@dataclass(frozen=True)
class Clip:
    """One shot's video. `overlap` frames are shared with the clip before; `skip` frames at its start are left out."""

    path: Path
    shot: str
    title: str = ""
    overlap: int = 0
    skip: int = 0


@dataclass(frozen=True)
class JoinedFilm:
    """A film that was written and verified: its file, timeline, loudness before (LUFS), and what to tell."""

    path: Path
    timeline: Timeline
    info: MediaInfo
    loudness_before: float | None
    warnings: list[str] = field(default_factory=list)


async def join_clips(
    clips: Sequence[Clip],
    path: Path | str,
    *,
    fps: Fraction,
    title: str = "",
    comment: str = "",
    loudness: float | None = WEB_LUFS,
    mix: Mix = NOTHING_ELSE,
    burn_in: Sequence[Cue] = (),
    font: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    timeout: float = 3600,
) -> JoinedFilm:
    """Write the film as an MP4 (H.264, AAC 48 kHz stereo, fast start) and verify every frame of it.

    Clips of another frame rate are brought to `fps`, clips of another size are fitted into the most common one
    and never cropped. A film whose clips are all silent has no sound. `loudness` is the target over the whole
    film in LUFS; None leaves it. `mix` is what is heard besides the shots, `burn_in` what is written on the picture.

    Raises:
        FilmInvalid: cross-fades that do not fit, or a clip shorter than what is skipped of it.
        MediaInvalid: a clip is unreadable, or the film did not come out as computed.
        FfmpegFailed: ffmpeg failed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    infos = [await asyncio.to_thread(probe, clip.path) for clip in clips]
    timeline = Timeline.of(
        fps,
        [
            (clip.shot, frames_at(fps, info) - clip.skip, clip.overlap)
            for clip, info in zip(clips, infos, strict=True)
        ],
    )
    canvas, warnings = Canvas.of(clips, infos)
    with tempfile.TemporaryDirectory(prefix=".join-", dir=path.parent) as scratch:
        sound = None
        level = None
        if any(info.audio for info in infos):
            sound = Path(scratch) / "sound.mov"
            stream, told = joined_sound(clips, infos, timeline)
            warnings += told
            graph = own_clock(target(stream, path=sound, **{"c:a": "pcm_f32le", **BITEXACT}))
            await run_ffmpeg(graph, timeout=timeout)
        if mix.music is not None or mix.voices:
            sound = await mixed(sound, mix, timeline, Path(scratch), timeout=timeout)
        if sound is not None and loudness is not None:
            level = await find_level(
                sound, _pcm(timeline), target=loudness, true_peak=TRUE_PEAK_DBTP, timeout=timeout
            )
        texts = Path(scratch) / "film.ffmeta"
        titles = [clip.title or clip.shot for clip in clips]
        texts.write_text(metadata_text(timeline, titles, title=title, comment=comment), "utf-8")
        strips = None
        if burn_in:
            letters = font_for(canvas.height, SUBTITLE_SHARE, font)
            if missing := missing_letters(letters, "".join(cue.text for cue in burn_in)):
                warnings.append(
                    f"the font of the subtitles has no {missing[:20]!r}: name one under subtitles.font"
                )
            pictures = subtitle_strips(burn_in, timeline.frames, canvas.width, canvas.height, letters)
            strips = await asyncio.to_thread(write_strips, Path(scratch) / "words.png", pictures)
        graph = _film(clips, infos, timeline, canvas, sound, level, texts, path, strips)
        await run_ffmpeg(graph, expected_frames=timeline.frames, on_progress=on_progress, timeout=timeout)
    info = await verify_video(
        path,
        width=canvas.width,
        height=canvas.height,
        frames=timeline.frames,
        fps=fps,
        audio=sound is not None,
    )
    return JoinedFilm(path, timeline, info, level.before.integrated if level else None, warnings)


async def check_film(path: Path, title: str, joined: JoinedFilm) -> None:
    """Compare a film's file with the film that it is to be: its title, size, every frame, and whether it has sound.

    Raises:
        MediaInvalid: it is another film, or damaged; every difference is named.
    """
    info = joined.info
    written = await asyncio.to_thread(_title_of, path)
    if written.split() != title.split():
        raise MediaInvalid(path.name, [f"the file's title is {written!r}, expected {title!r}"])
    await verify_video(
        path,
        width=info.width,
        height=info.height,
        frames=joined.timeline.frames,
        fps=joined.timeline.fps,
        audio=info.audio is not None,
    )


def _title_of(path: Path) -> str:
    with open_container(path, sniff(path)) as container:
        return str(container.metadata.get("title", ""))


def frames_at(fps: Fraction, info: MediaInfo) -> int:
    """How many frames a clip has once it is brought to `fps`; its own number where it has that rate, evenly.

    Raises:
        FilmInvalid: it is a still.
    """
    if info.kind != "video" or not info.frame_rate:
        raise FilmInvalid("a still picture is no clip")
    if info.constant and info.frame_rate == fps:
        return info.frames
    seconds = info.frames / info.frame_rate if info.constant else Fraction(info.duration)
    return max(2, math.floor(seconds * fps + Fraction(1, 2)))


def skip_at(fps: Fraction, info: MediaInfo, path: Path, frames: int) -> int:
    """How many frames at `fps` the first frames of a clip become: as many as leave nothing of them. Blocking."""
    if not frames or (info.constant and info.frame_rate == fps):
        return frames
    if info.constant:
        return math.ceil(frames * fps / info.frame_rate)
    times = frame_times(path)
    until = times[frames] if frames < len(times) else info.duration
    return math.ceil(Fraction(until).limit_denominator(1_000_000) * fps)


def _film(
    clips: Sequence[Clip],
    infos: Sequence[MediaInfo],
    timeline: Timeline,
    canvas: Canvas,
    sound: Path | None,
    level: Level | None,
    texts: Path,
    path: Path,
    strips: Path | None,
) -> Any:
    rate = timeline.fps
    streams = [joined_picture(clips, infos, timeline, canvas)]
    if strips is not None:
        streams = [laid_over(streams[0], strips, rate)]
    # The input of the titles has no stream, so ffmpeg-python would leave it out: it follows all others.
    titles = len(clips) + (sound is not None) + (strips is not None)
    options: dict[str, Any] = {
        **{name: value for name, value in BITEXACT.items() if name != "map_metadata"},
        "map_metadata:g": titles,
        "map_chapters": titles,
        "c:v": "libx264",
        "preset": "medium",
        "crf": 17,
        "pix_fmt": "yuv420p",
        # x264's bytes depend on its number of threads.
        "x264-params": "threads=4:lookahead-threads=1",
        "r": f"{rate.numerator}/{rate.denominator}",
        "frames:v": timeline.frames,
        # A time base in which every frame of this rate begins on a whole tick.
        "video_track_timescale": rate.numerator * (1 if rate.numerator >= 10_000 else 512),
        # Seeking to a chapter lands on its first frame; half a frame earlier, for ffmpeg compares with >=.
        "force_key_frames": ",".join(
            f"{max(0.0, float((start - Fraction(1, 2)) / rate)):.6f}" for _, start, _ in timeline.chapters()
        ),
        "movflags": "+faststart",
    }
    if sound is not None:
        stream = prepared(source(sound), _pcm(timeline), level=level)
        # Exactly as long as the picture, and its two ends do not click either.
        stream = stream.filter("apad").filter("atrim", end_sample=timeline.samples)
        stream = stream.filter("afade", type="in", nb_samples=_EDGE_SAMPLES)
        stream = stream.filter(
            "afade", type="out", start_sample=timeline.samples - _EDGE_SAMPLES, nb_samples=_EDGE_SAMPLES
        )
        streams.append(stream)
        options |= {"c:a": "aac", "b:a": "192k"}
    film = target(*streams, path=path, **options)
    return own_clock(film).global_args(
        "-f",
        "ffmetadata",
        "-format_whitelist",
        "ffmetadata",
        "-protocol_whitelist",
        PROTOCOLS,
        "-i",
        f"file:{texts.absolute()}",
    )


def _pcm(timeline: Timeline) -> AudioInfo:
    seconds = timeline.samples / SAMPLE_RATE
    return AudioInfo(
        codec="pcm_f32le", sample_rate=SAMPLE_RATE, channels=2, layout="stereo", duration=seconds, stream=0
    )
