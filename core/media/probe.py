"""What a media file says about itself, read in process with PyAV (no ffprobe), from a local file only."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError
from pydantic import BaseModel, ConfigDict

from prefect_ltx.media.errors import MediaInvalid
from prefect_ltx.media.graph import PROTOCOLS
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

    `fps` is an exact fraction as text (`24`, `24000/1001`; `0` for a still), `duration` is in seconds, `size`
    in bytes. A still has one frame.
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

    @property
    def frame_rate(self) -> Fraction:
        """`fps` as a number."""
        return Fraction(self.fps)


def probe(path: Path | str) -> MediaInfo:
    """Read the header of a local video or image; a few milliseconds, blocking.

    Frames are counted from the packets where the header does not say how many there are.

    Raises:
        MediaInvalid: not one of the formats this project reads, no picture in it, or an unreadable header.
    """
    path = Path(path)
    known = sniff(path)
    if known.container == "webp":
        return _webp_info(path, known)
    try:
        with open_container(path, known) as container:
            return _info(path, known, container)
    except FFmpegError as error:
        raise MediaInvalid(path.name, [f"cannot be read as {known.container} ({error.strerror})"]) from error


def open_container(path: Path, known: MediaFormat, **options: str) -> InputContainer:
    """Open a sniffed local file with its demuxer fixed and nothing but local protocols."""
    return av.open(
        f"file:{path.absolute()}",
        format=known.demuxer,
        options={"protocol_whitelist": PROTOCOLS, **options},
        metadata_errors="replace",
    )


def _info(path: Path, known: MediaFormat, container: InputContainer) -> MediaInfo:
    if not container.streams.video:
        raise MediaInvalid(path.name, ["has no video stream"])
    video = container.streams.video[0]
    if video.width <= 0 or video.height <= 0:
        raise MediaInvalid(path.name, ["its header gives no picture size"])
    audio = container.streams.audio[0] if container.streams.audio else None
    duration = _seconds(video, container)
    audio_info = audio and AudioInfo(
        codec=audio.codec_context.name,
        sample_rate=audio.rate or 0,
        channels=audio.channels,
        layout=audio.layout.name,
        duration=_seconds(audio, container),
    )
    # Reading the packets ends the container's use for anything else, so it comes last.
    frames = video.frames or sum(1 for packet in container.demux(video) if packet.size)
    rate = video.average_rate or video.guessed_rate or Fraction(0)
    moving = known.kind == "video" or frames > 1
    return MediaInfo(
        kind=known.kind,
        container=known.container,
        content_type=known.content_type,
        codec=video.codec_context.name,
        pix_fmt=video.pix_fmt or "",
        width=video.width,
        height=video.height,
        frames=frames if known.kind == "video" else max(frames, 1),
        fps=str(rate) if moving else "0",
        duration=(duration or (float(frames / rate) if rate else 0.0)) if moving else 0.0,
        audio=audio_info or None,
        size=path.stat().st_size,
    )


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
