"""Which streams of a file a player would show and play, and when each of their frames is shown.

The one place that decides it: whatever is probed, decoded, rendered, joined or measured takes these streams, by
number. Cover pictures and stills beside a moving picture are no video; among several tracks the one that the file marks
as its default counts, else the first.

Times are read from the packets, which no decoder has touched: what an edit list hides is not shown and not counted,
gaps count, and a frame without a time has the one that its neighbours leave to it.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final, TypeVar

from av import AudioStream, Packet, VideoFrame, VideoStream
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition

from prefect_ltx.media.graph import frame_rate
from prefect_ltx.media.limits import Limits

_S = TypeVar("_S", VideoStream, AudioStream)
_STILL_CODECS: Final = frozenset(("png", "mjpeg", "webp", "gif"))
_NOT_SHOWN: Final = Disposition.attached_pic | Disposition.timed_thumbnails
_NOT_MEANT: Final = Disposition.comment | Disposition.visual_impaired | Disposition.hearing_impaired
_JITTER: Final = 0.1
"""The share of a frame's length by which a time may be off in a video whose frames come evenly."""
_HELD: Final = 1.5
_FIRST_TRIES: Final = 64
_HELD_SECONDS: Final = 0.0015
"""Containers round a packet's length to a millisecond."""


@dataclass(frozen=True)
class Picture:
    """The frames that are shown of a video stream.

    `times` are seconds on the file's own clock, in the order in which they are shown; `end` is when the last of them
    ends. `rate` is exact where `constant` is true, and the mean where frames come unevenly. `hidden` frames more are
    not shown. `first` is the first frame, decoded, where it could be.
    """

    stream: int
    frames: int
    times: tuple[float, ...]
    end: float
    rate: Fraction
    constant: bool
    hidden: int
    first: VideoFrame | None

    @property
    def start(self) -> float:
        """When the first frame is shown."""
        return self.times[0] if self.times else 0.0


@dataclass(frozen=True)
class Sound:
    """What is heard of an audio stream, in seconds on the file's own clock; `sounding` leaves out gaps."""

    stream: int
    start: float
    end: float
    sounding: float


def chosen_video(container: InputContainer) -> VideoStream | None:
    """The video stream that a player would show; None where all are covers."""
    shown = [each for each in container.streams.video if not each.disposition & _NOT_SHOWN]
    moving = [each for each in shown if not _is_still(each)]
    return _chosen(moving or shown)


def chosen_audio(container: InputContainer) -> AudioStream | None:
    """The audio stream that a player would play."""
    streams = list(container.streams.audio)
    return _chosen([each for each in streams if not each.disposition & _NOT_MEANT] or streams)


def read_times(
    container: InputContainer, video: VideoStream, audio: AudioStream | None, limits: Limits
) -> tuple[Picture, Sound | None]:
    """Read every packet of two streams; ends the container's use for anything else.

    More frames than `limits` allow are not read: one more than allowed is all there is to know.
    """
    promised = {each.index: len(each.index_entries) for each in (video, audio) if each is not None}
    shown: list[int | None] = []
    held: dict[int, int] = {}
    heard: list[tuple[int, int]] = []
    seen = dict.fromkeys(promised, 0)
    first: VideoFrame | None = None
    tries = 0
    # AVI has one time for a packet, when it is decoded: that of the first is when the first is shown.
    only_decoding = container.format.name == "avi"
    for packet in _packets(container, *([video] if audio is None else [video, audio])):
        seen[packet.stream_index] += 1
        if packet.stream_index != video.index:
            if packet.pts is not None and not packet.is_discard:
                heard.append((packet.pts, packet.duration or 0))
        else:
            if first is None and tries < _FIRST_TRIES:
                first, tries = _decoded(packet), tries + 1
            if not packet.is_discard:
                shown.append(time := packet.dts if packet.pts is None or only_decoding else packet.pts)
                if time is not None:
                    held[time] = packet.duration or 0
        if len(shown) > limits.frames or len(heard) > limits.index_entries:
            break
    # A file that was cut short promises more in its header than there is: decoding is measured against the promise.
    missing = {index: max(0, count - seen[index]) for index, count in promised.items()}
    picture = _picture(video, shown, held, missing[video.index], seen[video.index] - len(shown), first)
    return picture, None if audio is None else _sound(audio, heard, missing[audio.index])


def _chosen(streams: Sequence[_S]) -> _S | None:
    marked = [each for each in streams if each.disposition & Disposition.default]
    return next(iter(marked or streams), None)


def _is_still(stream: VideoStream) -> bool:
    context = stream.codec_context
    if context is None or stream.disposition & Disposition.still_image:
        return True
    # Motion JPEG and animations are videos: they have more than one frame, and their header or index says so.
    return (
        context.codec.canonical_name in _STILL_CODECS and max(stream.frames, len(stream.index_entries)) <= 1
    )


def _packets(container: InputContainer, *streams: VideoStream | AudioStream) -> "Iterator[Packet[Any]]":
    try:
        yield from (packet for packet in container.demux(*streams) if packet.size)
    except FFmpegError:
        return  # a file that ends too early: what was promised and did not come is counted


def _decoded(packet: "Packet[Any]") -> VideoFrame | None:
    try:
        return next((frame for frame in packet.decode() if isinstance(frame, VideoFrame)), None)
    except (FFmpegError, MemoryError):
        return None  # damage is found, and told, by decoding all of it


def _picture(
    stream: VideoStream,
    shown: Sequence[int | None],
    held: Mapping[int, int],
    missing: int,
    hidden: int,
    first: VideoFrame | None,
) -> Picture:
    tick = Fraction(stream.time_base or Fraction(1, 1000))
    rates = [
        Fraction(rate)
        for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate)
        if rate is not None and 0 < rate <= 1000
    ]
    ticks = _filled(shown, 1 / (next(iter(rates), Fraction(25)) * tick))
    if not ticks:
        return Picture(stream.index, missing, (), 0.0, next(iter(rates), Fraction(0)), True, hidden, first)
    ticks.sort()
    span, last = (ticks[-1] - ticks[0]) * tick, held.get(ticks[-1], 0) * tick
    if span > 0:
        rates.append(frame_rate((len(ticks) - 1) / span))
    times = tuple(each * float(tick) for each in ticks)
    rate = _steady(times, rates, float(tick))
    if rate and len(ticks) > 1 and last * rate > _HELD:
        rate = None  # the last frame is shown for longer than all others
    constant = rate is not None
    if rate is None:
        last = last or span / (len(ticks) - 1)
        rate = (len(ticks) / (span + last)).limit_denominator(1001)
    elif rate:
        last = 1 / rate
    return Picture(
        stream=stream.index,
        frames=len(shown) + missing,
        times=times,
        end=times[-1] + float(last + (missing / rate if rate else 0)),
        rate=rate,
        constant=constant,
        hidden=hidden,
        first=first,
    )


def _filled(shown: Sequence[int | None], length: Fraction) -> list[int]:
    """Times in ticks; frames without one (Matroska has none below zero) come before all others, each for `length`."""
    known = [each for each in shown if each is not None]
    untimed = len(shown) - len(known)
    earliest = min(known, default=0)
    return [round(earliest - (untimed - at) * length) for at in range(untimed)] + known


def _steady(times: Sequence[float], rates: Sequence[Fraction], tick: float) -> Fraction | None:
    """The rate at which frames with these times come evenly, of those given; None where they do not."""
    if len(times) < 2:
        return next(iter(rates), Fraction(0))
    best: tuple[float, Fraction] | None = None
    for rate in dict.fromkeys(rates):
        slack = max(tick * 1.01, _JITTER / float(rate))
        length = float(1 / rate)
        off = max(abs(time - times[0] - at * length) for at, time in enumerate(times))
        if off <= slack and (best is None or off < best[0] - 1e-9):
            best = off, rate
    return None if best is None else best[1]


def _sound(stream: AudioStream, heard: Sequence[tuple[int, int]], missing: int) -> Sound:
    tick = float(stream.time_base or Fraction(1, 1000))
    if not heard:
        length = float((stream.duration or 0) * tick)
        return Sound(stream.index, 0.0, length, length)
    order = sorted(heard)
    # What an encoder puts before the sound is in the packets, and libav counts it out of the start.
    start = max(order[0][0], stream.start_time) if stream.start_time is not None else order[0][0]
    end = max(time + length for time, length in order)
    # A packet's length may be stretched over the gap behind it.
    longest = statistics.median(length for _, length in order)
    sounding = min(float(order[-1][1]), longest)
    for (time, length), (after, _) in pairwise(order):
        sounding += min(after - time, length + max(2.0, _HELD_SECONDS / tick), longest)
    lost = missing * sounding / len(order)
    return Sound(stream.index, start * tick, (end + lost) * tick, (sounding + lost) * tick)
