"""One sound of many: the shots' own, voices over them, and music that ducks below both.

Where something else is heard is measured on the finished foreground, ten milliseconds at a time, and the music's gain
is computed from that before anything is mixed: it is the stated number of decibels lower there, to the hundredth, and
it moves on a smooth curve that begins before the word does. A compressor would only come near it, and late.
"""

import array
import asyncio
import math
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import Any, Final

import av
import ffmpeg

from prefect_ltx.film.timeline import SAMPLE_RATE, Timeline
from prefect_ltx.media import BITEXACT, generator, run_ffmpeg, source, target
from prefect_ltx.media.magic import WAV

HEARD_DBFS: Final = -45.0
"""Of ten milliseconds of the foreground, from which on it counts as heard."""
_WINDOW: Final = 80  # samples at 8 kHz: 10 ms
_LOOKED_AT: Final = 8000
_GAIN_RATE: Final = 4000
"""Samples a second of the gain's curve; it is brought to 48 kHz, and holds nothing faster than its ramps."""
_BEFORE, _AFTER = 0.15, 0.35
"""Seconds that the music is down before and after what is heard; shorter pauses are bridged by that."""
_DOWN, _UP = 0.2, 0.5
"""Seconds of the ramps, outside of these."""
_EDGE: Final = 240
"""5 ms: no voice begins or breaks off in the middle of a wave."""


@dataclass(frozen=True)
class MusicTrack:
    """Music as decoded PCM (`bring_sound`): levels in dB, fades in seconds, `seconds` its own length."""

    path: Path
    seconds: float
    level: float
    fade_in: float
    fade_out: float
    duck: float
    loop: bool


@dataclass(frozen=True)
class VoiceTrack:
    """A voice as decoded PCM, from a frame of the film on."""

    path: Path
    seconds: float
    level: float
    frame: int


@dataclass(frozen=True)
class Mix:
    """What is heard besides the shots' own sound."""

    music: MusicTrack | None = None
    voices: Sequence[VoiceTrack] = ()


NOTHING_ELSE: Final = Mix()


async def mixed(own: Path | None, mix: Mix, timeline: Timeline, folder: Path, *, timeout: float) -> Path:
    """The film's sound as PCM of exactly `timeline.samples` samples; `own` is that of the shots, where they have any.

    Raises:
        FfmpegFailed: ffmpeg failed.
    """
    foreground = folder / "foreground.mov"
    graph = target(_foreground(own, mix, timeline), path=foreground, **{"c:a": "pcm_f32le", **BITEXACT})
    await run_ffmpeg(graph, timeout=timeout)
    if mix.music is None:
        return foreground
    music = _music(mix.music, timeline)
    if mix.music.duck:
        curve = folder / "gain.wav"
        await asyncio.to_thread(_write_gain, curve, foreground, mix.music.duck, timeline)
        gain = source(curve, known=WAV).audio.filter("aresample", SAMPLE_RATE)
        music = ffmpeg.filter([music, _whole(gain, timeline)], "amultiply")
    both = ffmpeg.filter([source(foreground).audio, music], "amix", inputs=2, duration="first", normalize=0)
    made = folder / "mix.mov"
    await run_ffmpeg(target(both, path=made, **{"c:a": "pcm_f32le", **BITEXACT}), timeout=timeout)
    return made


def _foreground(own: Path | None, mix: Mix, timeline: Timeline) -> Any:
    silence = generator(f"anullsrc=r={SAMPLE_RATE}:cl=stereo").audio
    streams = [_whole(source(own).audio if own is not None else silence, timeline)]
    for place, voice in enumerate(mix.voices):
        # One recording may be heard twice, and ffmpeg-python takes equal inputs for one.
        stream = source(voice.path, thread_queue_size=8 + place).audio
        start = timeline.sample(voice.frame)
        length = max(1, min(round(voice.seconds * SAMPLE_RATE), timeline.samples - start))
        stream = stream.filter("atrim", end_sample=length).filter("volume", f"{voice.level:.3f}dB")
        stream = stream.filter("afade", type="in", nb_samples=_EDGE)
        stream = stream.filter(
            "afade", type="out", start_sample=max(0, length - _EDGE), nb_samples=min(_EDGE, length)
        )
        if start:
            stream = stream.filter("adelay", delays=f"{start}S", all=1)
        streams.append(_whole(stream, timeline))
    if len(streams) == 1:
        return streams[0]
    return ffmpeg.filter(streams, "amix", inputs=len(streams), duration="first", normalize=0)


def _music(music: MusicTrack, timeline: Timeline) -> Any:
    own = round(music.seconds * SAMPLE_RATE)
    length = timeline.samples if music.loop else min(own, timeline.samples)
    stream = source(music.path, stream_loop=-1 if music.loop else 0).audio
    stream = stream.filter("asetpts", "N/SR/TB").filter("atrim", end_sample=length)
    stream = stream.filter("volume", f"{music.level:.3f}dB")
    fade_in = min(max(_EDGE, round(music.fade_in * SAMPLE_RATE)), length)
    fade_out = min(max(_EDGE, round(music.fade_out * SAMPLE_RATE)), length)
    stream = stream.filter("afade", type="in", nb_samples=fade_in)
    stream = stream.filter("afade", type="out", start_sample=length - fade_out, nb_samples=fade_out)
    return _whole(stream, timeline)


def _whole(stream: Any, timeline: Timeline) -> Any:
    stream = stream.filter("aformat", sample_fmts="fltp", channel_layouts="stereo")
    return stream.filter("apad").filter("atrim", end_sample=timeline.samples).filter("asetpts", "N/SR/TB")


def _write_gain(path: Path, foreground: Path, duck: float, timeline: Timeline) -> None:
    count = math.ceil(timeline.samples * _GAIN_RATE / SAMPLE_RATE) + _GAIN_RATE
    with wave.open(str(path), "wb") as file:
        # Two equal ones: a mono curve would be made softer for two.
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(_GAIN_RATE)
        curve = gain_curve(list(heard_spans(foreground)), duck, count)
        both = array.array("h", bytes(4 * count))
        both[::2] = both[1::2] = curve
        file.writeframes(both.tobytes())


def gain_curve(spans: Sequence[tuple[float, float]], duck: float, count: int) -> "array.array[int]":
    """`count` samples of gain (16 bit, full scale is 1) at 4 kHz: down by `duck` dB over each span of seconds."""
    depth = array.array("f", bytes(4 * count))  # 0 is untouched, 1 is down

    def put(at: int, value: float) -> None:
        if 0 <= at < count:
            depth[at] = max(depth[at], value)

    for begin, end in spans:
        first, last = round((begin - _BEFORE) * _GAIN_RATE), round((end + _AFTER) * _GAIN_RATE)
        down, up = round(_DOWN * _GAIN_RATE), round(_UP * _GAIN_RATE)
        for step in range(down):
            put(first - down + step, 0.5 - 0.5 * math.cos(math.pi * step / down))
        low, high = max(0, first), min(last, count)
        if low < high:
            depth[low:high] = array.array("f", [1.0]) * (high - low)
        for step in range(up):
            put(last + step, 0.5 + 0.5 * math.cos(math.pi * step / up))
    known: dict[float, int] = {}

    def gain(value: float) -> int:
        if value not in known:
            known[value] = round(32767 * 10 ** (-duck * value / 20))
        return known[value]

    return array.array("h", map(gain, depth))


def heard_spans(path: Path) -> Iterator[tuple[float, float]]:
    """(begin, end) in seconds of every stretch in which a sound is heard; blocking."""
    threshold = (32768 * 10 ** (HEARD_DBFS / 20)) ** 2 * _WINDOW
    samples = array.array("h")
    resampler = av.AudioResampler(format="s16", layout="mono", rate=_LOOKED_AT)
    loud: list[bool] = []
    with av.open(str(path)) as container:
        for frame in chain(container.decode(audio=0), [None]):
            for part in resampler.resample(frame):
                samples.frombytes(bytes(part.planes[0])[: part.samples * 2])
            whole = len(samples) // _WINDOW
            for window in range(whole):
                piece = samples[window * _WINDOW : (window + 1) * _WINDOW]
                loud.append(sum(value * value for value in piece) > threshold)
            del samples[: whole * _WINDOW]
    at = 0
    for is_heard, group in groupby(loud):
        length = sum(1 for _ in group)
        if is_heard:
            yield at * _WINDOW / _LOOKED_AT, (at + length) * _WINDOW / _LOOKED_AT
        at += length
