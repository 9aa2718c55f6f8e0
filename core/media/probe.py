"""What a media file says about itself, read in process with PyAV (no ffprobe), from a local file only."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError
from pydantic import BaseModel, ConfigDict

from prefect_ltx.media.allowed import decoding_options, opening_options
from prefect_ltx.media.errors import MediaInvalid
from prefect_ltx.media.header import check_header, check_picture, track_matrix
from prefect_ltx.media.limits import AUDIO_CODECS, DEFAULT_LIMITS, VIDEO_CODECS, Limits
from prefect_ltx.media.magic import MediaFormat, MediaKind, sniff
from prefect_ltx.media.webp import read_webp


class AudioInfo(BaseModel):
    """The first audio stream: `layout` is ffmpeg's name (`stereo`), `duration` in seconds."""

    model_config = ConfigDict(frozen=True)

    codec: str
    sample_rate: int
    channels: int
    layout: str
    duration: float


class MediaInfo(BaseModel):
    """A video or an image as its header describes it; only decoding proves it (`verify_video`).

    `fps` is an exact fraction as text (`24`, `24000/1001`; `0` for a still; the mean where frames come unevenly),
    `duration` is in seconds, `size` in bytes. A still has one frame. `width` and `height` are as shown: a video that
    its header turns by a quarter has them swapped, and with `upright` false its pictures are turned when they are
    decoded. `pixel_aspect` is the width of a pixel over its height. `colour` holds range, primaries, transfer and
    matrix as numbers of ISO 23091-2 (range: 1 limited, 2 full; 2 is "unspecified" for the others).
    """

    model_config = ConfigDict(frozen=True)

    kind: MediaKind
    container: str
    content_type: str
    codec: str
    pix_fmt: str
    width: int
    height: int
    frames: int
    fps: str
    duration: float
    audio: AudioInfo | None
    size: int
    bit_rate: int = 0
    upright: bool = True
    pixel_aspect: str = "1"
    colour: tuple[int, int, int, int] = (0, 2, 2, 2)

    @property
    def frame_rate(self) -> Fraction:
        """`fps` as a number."""
        return Fraction(self.fps)

    @property
    def square_pixels(self) -> bool:
        """Whether a pixel is as wide as it is high."""
        return self.pixel_aspect == "1"

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height in square pixels; the same as `width` and `height` where the pixels are square."""
        return max(1, round(self.width * Fraction(self.pixel_aspect))), self.height


def probe(path: Path | str, *, limits: Limits = DEFAULT_LIMITS) -> MediaInfo:
    """Read the header of a local video or image; a few milliseconds, blocking.

    Frames are counted from the packets where the header does not say how many there are.

    Raises:
        MediaInvalid: not one of the formats and codecs this project reads, no picture in it, an unreadable
            header, or more than `limits` allow.
    """
    path = Path(path)
    known = sniff(path)
    check_header(path, known, limits)
    if known.container == "webp":
        return _bounded(path.name, _webp_info(path, known), limits)
    try:
        with open_container(path, known, limits=limits) as container:
            return _bounded(path.name, _info(path, known, container, limits), limits)
    except FFmpegError as error:
        raise MediaInvalid(path.name, [f"cannot be read as {known.container} ({error.strerror})"]) from error
    except (OSError, ValueError, OverflowError, ZeroDivisionError) as error:
        raise MediaInvalid(
            path.name, [f"cannot be read as {known.container} ({type(error).__name__})"]
        ) from error


def open_container(
    path: Path, known: MediaFormat, *, limits: Limits = DEFAULT_LIMITS, **options: str
) -> InputContainer:
    """Open a sniffed local file: its demuxer fixed, and only what `allowed` names runs, now or when it is decoded."""
    container = av.open(
        f"file:{path.absolute()}",
        format=known.demuxer,
        options={
            **opening_options(known),
            "max_streams": str(limits.streams),
            "max_pixels": str(limits.pixels),
            **options,
        },
        metadata_errors="replace",
    )
    for stream in container.streams:
        # A stream whose codec libav does not know has no context.
        if (context := stream.codec_context) is not None:
            context.options = {**context.options, **decoding_options()}
    return container


def audio_info(container: InputContainer) -> AudioInfo | None:
    """Describe the first audio stream of an open container."""
    if not container.streams.audio:
        return None
    audio = container.streams.audio[0]
    return AudioInfo(
        codec=audio.codec_context.codec.canonical_name,
        sample_rate=audio.rate or 0,
        channels=audio.channels,
        layout=audio.layout.name,
        duration=_seconds(audio, container),
    )


def _bounded(name: str, info: MediaInfo, limits: Limits) -> MediaInfo:
    check_picture(name, info.width, info.height, limits)
    problems = []
    if info.frames > limits.frames:
        problems.append(f"more than {limits.frames} frames")
    elif info.frames * info.width * info.height > limits.decoded_pixels:
        problems.append(f"its frames have more than {limits.decoded_pixels} pixels together")
    longest = max(info.duration, info.audio.duration if info.audio else 0.0)
    if longest > limits.seconds:
        problems.append(f"{longest:.0f} s long, more than the limit of {limits.seconds:.0f} s")
    if info.codec not in VIDEO_CODECS:
        problems.append(f"its video codec {info.codec!r} is not one this project reads")
    if info.audio is not None and info.audio.codec not in AUDIO_CODECS:
        problems.append(f"its audio codec {info.audio.codec!r} is not one this project reads")
    if problems:
        raise MediaInvalid(name, problems)
    return info


def _info(path: Path, known: MediaFormat, container: InputContainer, limits: Limits) -> MediaInfo:
    if len(container.streams) > limits.streams:
        raise MediaInvalid(
            path.name, [f"{len(container.streams)} streams, more than the limit of {limits.streams}"]
        )
    if not container.streams.video:
        raise MediaInvalid(path.name, ["has no video stream"])
    video = container.streams.video[0]
    audio = container.streams.audio[0] if container.streams.audio else None
    for stream in (video, audio):
        if stream is not None and stream.codec_context is None:
            raise MediaInvalid(path.name, [f"the codec of its {stream.type} is unknown"])
    if video.width <= 0 or video.height <= 0:
        raise MediaInvalid(path.name, ["its header gives no picture size"])
    duration, sound = _seconds(video, container), audio_info(container)
    # Reading the packets ends the container's use for anything else, so it comes last.
    rate = video.average_rate or video.guessed_rate or Fraction(0)
    frames = video.frames
    if not frames:
        frames, span = _count(container, video, limits)
        # Matroska gives a nominal rate; where the times say otherwise, the frames come unevenly.
        if rate and span > 0 and abs(span - (frames - 1) / rate) > Fraction(3, 2) / rate:
            rate = (frames / (span + 1 / rate)).limit_denominator(1001)
    context = video.codec_context
    moving = known.kind == "video" or frames > 1
    a, b, c, d = track_matrix(path) if known.demuxer == "mov" else (1, 0, 0, 1)
    sideways = a == d == 0 and bool(b and c)
    aspect = Fraction(video.sample_aspect_ratio or 1)
    if sideways:
        aspect = 1 / aspect
    return MediaInfo(
        kind=known.kind,
        container=known.container,
        content_type=known.content_type,
        codec=video.codec_context.codec.canonical_name,
        pix_fmt=video.pix_fmt or "",
        width=video.height if sideways else video.width,
        height=video.width if sideways else video.height,
        frames=frames if known.kind == "video" else max(frames, 1),
        fps=str(rate) if moving else "0",
        duration=(duration or (float(frames / rate) if rate else 0.0)) if moving else 0.0,
        audio=sound,
        size=path.stat().st_size,
        bit_rate=video.bit_rate or container.bit_rate or 0,
        upright=(a, b, c, d) == (1, 0, 0, 1),
        pixel_aspect=str(aspect),
        colour=(
            int(context.color_range),
            int(context.color_primaries),
            int(context.color_trc),
            int(context.colorspace),
        ),
    )


def _count(container: InputContainer, stream: Any, limits: Limits) -> tuple[int, Fraction]:
    """How many packets there are, and the seconds from the first picture's time to the last one's."""
    frames = 0
    first = last = None
    for packet in container.demux(stream):
        frames += bool(packet.size)
        if packet.size and packet.pts is not None:
            first = packet.pts if first is None else min(first, packet.pts)
            last = packet.pts if last is None else max(last, packet.pts)
        if frames > limits.frames:  # one more than allowed is all there is to know
            break
    if first is None or last is None or stream.time_base is None:
        return frames, Fraction(0)
    return frames, (last - first) * Fraction(stream.time_base)


def _seconds(stream: Any, container: InputContainer) -> float:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else 0.0


def _webp_info(path: Path, known: MediaFormat) -> MediaInfo:
    # PyAV's libraries (ffmpeg 8) do not open animated WebP.
    header = read_webp(path)
    return MediaInfo(
        kind=known.kind,
        container=known.container,
        content_type=known.content_type,
        codec="webp",
        pix_fmt="",
        width=header.width,
        height=header.height,
        frames=header.frames,
        fps=str(header.fps),
        duration=header.duration_ms / 1000,
        audio=None,
        size=path.stat().st_size,
    )
