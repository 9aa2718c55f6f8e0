"""Is a file whole, and is it what was asked for: every frame decoded, counted and compared.

A header proves nothing: a fast-start MP4 cut in half probes well, and ffmpeg reads it with exit code 0.
"""

import asyncio
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TypeVar

from av import AudioFrame, AudioStream, CodecContext, Packet, VideoFrame, VideoStream
from av.error import FFmpegError

from prefect_ltx.media.allowed import decoding_options
from prefect_ltx.media.errors import MediaInvalid
from prefect_ltx.media.graph import frame_rate
from prefect_ltx.media.header import check_header
from prefect_ltx.media.info import AudioInfo, MediaInfo
from prefect_ltx.media.limits import DEFAULT_LIMITS, Limits
from prefect_ltx.media.magic import MediaFormat, sniff
from prefect_ltx.media.probe import audio_info, open_container, probe
from prefect_ltx.media.streams import chosen_audio, chosen_video
from prefect_ltx.media.webp import webp_pictures

_T = TypeVar("_T")
_NO_FRAME = "not one frame can be decoded"
_AUDIO_SLACK_SECONDS = 0.1  # a header counts encoder padding that is not decoded


async def verify_video(
    path: Path | str,
    *,
    width: int | None = None,
    height: int | None = None,
    frames: int | None = None,
    fps: str | float | Fraction | None = None,
    duration: float | None = None,
    audio: bool | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> MediaInfo:
    """Decode a whole video in a worker thread and compare it with what is given (None: not compared).

    `duration` is in seconds and may differ by a frame and a half. Returns what was found, with `frames` as
    decoded. Cancelling ends the decoding at the next packet.

    Raises:
        MediaInvalid: no video, damaged, cut short, beyond a limit, or not as asked; every difference is named.
    """
    path = Path(path)
    info, decoded = await _in_time(partial(_probed_and_decoded, path, limits), limits)
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
    seconds = _seconds(decoded, info)
    if duration is not None and abs(seconds - duration) > _slack(info):
        problems.append(f"{seconds:.3f} s long, expected {duration:.3f} s")
    if audio is not None and audio != (info.audio is not None):
        problems.append("no audio, expected some" if audio else "audio, expected none")
    if problems:
        raise MediaInvalid(path.name, problems)
    return found


async def verify_image(
    path: Path | str,
    *,
    width: int | None = None,
    height: int | None = None,
    duration: float | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> MediaInfo:
    """Decode an image, every picture of an animated one, in a worker thread and compare it with what is given.

    `duration` is of an animation, in seconds; it may differ by a picture and a half, and one in which nothing
    moves may be a single picture.

    Raises:
        MediaInvalid: no image, damaged, beyond a limit, or not as asked.
    """
    path = Path(path)
    info = await asyncio.to_thread(probe, path, limits=limits)
    problems: list[str] = []
    if info.kind != "image":
        problems.append(f"is a {info.container} video, not an image")
    else:
        problems += (await _decode(path, sniff(path), limits)).problems
    if (width or info.width) != info.width or (height or info.height) != info.height:
        problems.append(f"{info.width}x{info.height} pixels, expected {width}x{height}")
    # libwebp writes an animation in which nothing moves as one picture, which has no duration.
    if duration is not None and info.frames > 1 and abs(info.duration - duration) > _slack(info):
        problems.append(f"plays for {info.duration:.3f} s, expected {duration:.3f} s")
    if problems:
        raise MediaInvalid(path.name, problems)
    return info


async def verify_audio(
    path: Path | str, known: MediaFormat, *, duration: float | None = None, limits: Limits = DEFAULT_LIMITS
) -> AudioInfo:
    """Decode a file of audio alone (`M4A`, `WAV`), written by this project, and compare its length in seconds.

    Raises:
        MediaInvalid: no audio, pictures in it, damaged, or of another length.
    """
    path = Path(path)
    check_header(path, known, limits)
    decoded = await _decode(path, known, limits)
    problems = [problem for problem in decoded.problems if problem != _NO_FRAME]
    if decoded.frames:
        problems.append("has pictures, expected none")
    if decoded.audio is None:
        problems.append("has no audio that can be decoded")
    # An encoder pads its last block, and a header counts what is cut off at the start.
    elif duration is not None and abs(decoded.audio_seconds - duration) > _AUDIO_SLACK_SECONDS:
        problems.append(f"{decoded.audio_seconds:.3f} s of audio, expected {duration:.3f} s")
    if problems or decoded.audio is None:
        raise MediaInvalid(path.name, problems)
    return decoded.audio.model_copy(update={"duration": decoded.audio_seconds})


@dataclass
class _Decoded:
    frames: int = 0
    shown: float | None = 0.0
    """Seconds from the first frame's time to the last one's; None where some have none."""
    last: float = 0.0
    """Seconds for which the last frame is shown, where the file says so."""
    audio: AudioInfo | None = None
    audio_seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


def _seconds(decoded: _Decoded, info: MediaInfo) -> float:
    """From the first picture shown to the end of the last; a header may count what comes before the first."""
    if decoded.shown is None or not info.frame_rate:
        return info.duration
    return decoded.shown + (float(1 / info.frame_rate) if info.constant or not decoded.last else decoded.last)


def _slack(info: MediaInfo) -> float:
    return 1.5 / float(info.frame_rate) + 0.01 if info.frame_rate else 0.1


async def _decode(path: Path, known: MediaFormat, limits: Limits) -> _Decoded:
    return await _in_time(partial(_decode_all, path, known, limits), limits)


async def _in_time(work: Callable[[threading.Event], _T], limits: Limits) -> _T:
    stop = threading.Event()
    timer = asyncio.get_running_loop().call_later(limits.wall_seconds, stop.set)
    try:
        return await asyncio.to_thread(work, stop)
    finally:
        timer.cancel()
        stop.set()


def _probed_and_decoded(path: Path, limits: Limits, stop: threading.Event) -> tuple[MediaInfo, _Decoded]:
    info = probe(path, limits=limits)
    if info.kind != "video":
        raise MediaInvalid(path.name, [f"is a {info.container} image, not a video"])
    return info, _decode_all(path, sniff(path), limits, stop)


def _decode_all(path: Path, known: MediaFormat, limits: Limits, stop: threading.Event) -> _Decoded:
    found = _Decoded()
    try:
        if known.container == "webp":
            _decode_webp(path, stop, found)
        else:
            _decode_streams(path, known, stop, found, limits)
    except (FFmpegError, MemoryError) as error:
        reason = error.strerror if isinstance(error, FFmpegError) else "out of memory"
        found.problems.append(f"damaged: decoding stops after {found.frames} frames ({reason})")
    if stop.is_set():
        found.problems.append(f"decoding took longer than {limits.wall_seconds:g} s")
    if not found.frames and not found.problems:
        found.problems.append(_NO_FRAME)
    return found


def _decode_streams(
    path: Path, known: MediaFormat, stop: threading.Event, found: _Decoded, limits: Limits
) -> None:
    sizes: set[tuple[int, int]] = set()
    corrupt = backwards = untimed = 0
    first, last, length = math.inf, -math.inf, 0.0
    try:
        with open_container(path, known, limits=limits, err_detect="explode") as container:
            chosen: list[VideoStream | AudioStream | None] = [
                chosen_video(container),
                chosen_audio(container),
            ]
            streams = [each for each in chosen if each is not None]
            for stream in streams:
                stream.codec_context.options = {
                    **decoding_options(),
                    "err_detect": "explode",
                    "max_pixels": str(limits.pixels),
                }
                if isinstance(stream, VideoStream):
                    stream.thread_type = "AUTO"
            for packet in container.demux(*streams):
                if stop.is_set():
                    return
                corrupt += packet.is_corrupt
                for frame in packet.decode():
                    if isinstance(frame, VideoFrame):
                        found.frames += 1
                        sizes.add((frame.width, frame.height))
                        corrupt += frame.is_corrupt
                        if frame.pts is None:
                            untimed += 1
                            continue
                        backwards += frame.time <= last
                        first, last = min(first, frame.time), max(last, frame.time)
                        length = float((frame.duration or 0) * (frame.time_base or 0))
                    elif isinstance(frame, AudioFrame):
                        found.audio_seconds += frame.samples / frame.sample_rate
            if found.audio_seconds and (audio := chosen_audio(container)) is not None:
                found.audio = audio_info(audio)
            if found.frames > limits.frames:
                found.problems.append(f"more than {limits.frames} frames")
    finally:
        # Where a container has no times below zero, those frames cannot be placed by what is decoded.
        found.shown, found.last = (max(0.0, last - first), length) if not untimed else (None, 0.0)
        if corrupt:
            found.problems.append(f"damaged: {corrupt} frames or packets are corrupt")
        if backwards:
            found.problems.append(f"damaged: the times of {backwards} frames do not grow")
        if len(sizes) > 1:
            found.problems.append("the picture size changes on the way")


def _decode_webp(path: Path, stop: threading.Event, found: _Decoded) -> None:
    for picture in webp_pictures(path):
        if stop.is_set():
            return
        decoder = CodecContext.create("webp", "r")
        found.frames += len(decoder.decode(Packet(picture)))


def _against_header(decoded: _Decoded, info: MediaInfo) -> list[str]:
    """What the packets hold and decoding does not give; what an edit list hides is in neither."""
    problems = []
    if decoded.frames != info.frames:
        problems.append(f"{decoded.frames} of {info.frames} frames can be decoded")
    if info.audio and decoded.audio_seconds < info.audio.sounding - _AUDIO_SLACK_SECONDS:
        problems.append(
            f"{decoded.audio_seconds:.2f} of {info.audio.sounding:.2f} s of its audio can be decoded"
        )
    return problems
