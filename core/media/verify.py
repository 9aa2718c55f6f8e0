"""Is a file whole, and is it what was asked for: every frame decoded, counted and compared.

A header proves nothing: a fast-start MP4 cut in half probes well, and ffmpeg reads it with exit code 0.
"""

import asyncio
import threading
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from av import AudioFrame, AudioStream, VideoFrame, VideoStream
from av.error import FFmpegError

from prefect_ltx.media.errors import MediaInvalid
from prefect_ltx.media.graph import frame_rate
from prefect_ltx.media.magic import sniff
from prefect_ltx.media.probe import MediaInfo, open_container, probe

_AUDIO_SLACK_SECONDS = 0.1  # a header counts encoder padding that is not decoded


async def verify_video(
    path: Path | str,
    *,
    width: int | None = None,
    height: int | None = None,
    frames: int | None = None,
    fps: str | float | Fraction | None = None,
    audio: bool | None = None,
) -> MediaInfo:
    """Decode a whole video in a worker thread and compare it with what is given (None: not compared).

    Returns what was found, with `frames` as decoded. Cancelling ends the decoding at the next packet.

    Raises:
        MediaInvalid: no video, damaged, cut short, or not as asked; every difference is named.
    """
    path = Path(path)
    info = await asyncio.to_thread(probe, path)
    if info.kind != "video":
        raise MediaInvalid(path.name, [f"is a {info.container} image, not a video"])
    decoded = await _decode(path)
    problems = [*decoded.problems, *_against_header(decoded, info)]
    found = info.model_copy(update={"frames": decoded.frames})
    if width is not None and info.width != width:
        problems.append(f"{info.width} pixels wide, expected {width}")
    if height is not None and info.height != height:
        problems.append(f"{info.height} pixels high, expected {height}")
    if frames is not None and frames != decoded.frames == info.frames:
        problems.append(f"{decoded.frames} frames, expected {frames}")
    if fps is not None and abs(info.frame_rate - frame_rate(fps)) > Fraction(1, 1000):
        problems.append(f"{info.fps} frames per second, expected {frame_rate(fps)}")
    if audio is not None and audio != (info.audio is not None):
        problems.append("no audio, expected some" if audio else "audio, expected none")
    if problems:
        raise MediaInvalid(path.name, problems)
    return found


async def verify_image(path: Path | str, *, width: int | None = None, height: int | None = None) -> MediaInfo:
    """Decode an image in a worker thread and compare its size; animated WebP is checked by its structure.

    Raises:
        MediaInvalid: no image, damaged, or of another size.
    """
    path = Path(path)
    info = await asyncio.to_thread(probe, path)
    problems: list[str] = []
    if info.kind != "image":
        problems.append(f"is a {info.container} video, not an image")
    elif info.container != "webp":
        problems += (await _decode(path)).problems
    if (width or info.width) != info.width or (height or info.height) != info.height:
        problems.append(f"{info.width}x{info.height} pixels, expected {width}x{height}")
    if problems:
        raise MediaInvalid(path.name, problems)
    return info


@dataclass
class _Decoded:
    frames: int = 0
    audio_seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


async def _decode(path: Path) -> _Decoded:
    stop = threading.Event()
    try:
        return await asyncio.to_thread(_decode_all, path, stop)
    finally:
        stop.set()


def _decode_all(path: Path, stop: threading.Event) -> _Decoded:
    found = _Decoded()
    sizes: set[tuple[int, int]] = set()
    corrupt = 0
    try:
        with open_container(path, sniff(path), err_detect="explode") as container:
            streams: list[VideoStream | AudioStream] = []
            streams += [*container.streams.video[:1], *container.streams.audio[:1]]
            for stream in streams:
                stream.codec_context.options = {"err_detect": "explode"}
                if isinstance(stream, VideoStream):
                    stream.thread_type = "AUTO"
            for packet in container.demux(*streams):
                if stop.is_set():
                    return found
                corrupt += packet.is_corrupt
                for frame in packet.decode():
                    if isinstance(frame, VideoFrame):
                        found.frames += 1
                        sizes.add((frame.width, frame.height))
                        corrupt += frame.is_corrupt
                    elif isinstance(frame, AudioFrame):
                        found.audio_seconds += frame.samples / frame.sample_rate
    except FFmpegError as error:
        found.problems.append(f"damaged: decoding stops after {found.frames} frames ({error.strerror})")
    if corrupt:
        found.problems.append(f"damaged: {corrupt} frames or packets are corrupt")
    if not found.frames and not found.problems:
        found.problems.append("not one frame can be decoded")
    if len(sizes) > 1:
        found.problems.append("the picture size changes on the way")
    return found


def _against_header(decoded: _Decoded, info: MediaInfo) -> list[str]:
    problems = []
    if decoded.frames != info.frames:
        problems.append(f"{decoded.frames} of {info.frames} frames can be decoded")
    # Other containers give no length of their own to an audio stream.
    timed = info.audio is not None and info.container in ("mp4", "mov")
    if timed and info.audio and decoded.audio_seconds < info.audio.duration - _AUDIO_SLACK_SECONDS:
        problems.append(
            f"{decoded.audio_seconds:.2f} of {info.audio.duration:.2f} s of its audio can be decoded"
        )
    return problems
