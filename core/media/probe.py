"""What a media file says about itself, read in process with PyAV (no ffprobe), from a local file only."""

import struct
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from av import AudioStream, VideoCodecContext, VideoFrame, VideoStream
from av.container import InputContainer
from av.error import FFmpegError
from av.sidedata.sidedata import Type

from prefect_ltx.media.allowed import decoding_options, opening_options
from prefect_ltx.media.errors import MediaInvalid
from prefect_ltx.media.header import check_header, check_picture
from prefect_ltx.media.info import AudioInfo, MediaInfo
from prefect_ltx.media.limits import AUDIO_CODECS, DEFAULT_LIMITS, VIDEO_CODECS, Limits
from prefect_ltx.media.magic import MediaFormat, sniff
from prefect_ltx.media.stills import still_facts
from prefect_ltx.media.streams import Sound, chosen_audio, chosen_video, read_times
from prefect_ltx.media.webp import read_webp

_PROGRESSIVE: Final = 1  # of libav's AVFieldOrder; 0 is unknown


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
    try:
        if known.kind == "image":
            return _bounded(path.name, _image_info(path, known, limits), limits)
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


def audio_info(audio: AudioStream, sound: Sound | None = None) -> AudioInfo:
    """Describe an audio stream, and when it is heard where its packets were read."""
    return AudioInfo(
        codec=audio.codec_context.codec.canonical_name,
        sample_rate=audio.rate or 0,
        channels=audio.channels,
        layout=audio.layout.name,
        duration=max(0.0, sound.end - sound.start) if sound else 0.0,
        start=sound.start if sound else 0.0,
        sounding=sound.sounding if sound else 0.0,
        stream=audio.index,
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
    if problems:
        raise MediaInvalid(name, problems)
    return info


def _check_codecs(name: str, video: VideoStream, audio: AudioStream | None) -> None:
    problems = []
    if (codec := video.codec_context.codec.canonical_name) not in VIDEO_CODECS:
        problems.append(f"its video codec {codec!r} is not one this project reads")
    if audio is not None and (codec := audio.codec_context.codec.canonical_name) not in AUDIO_CODECS:
        problems.append(f"its audio codec {codec!r} is not one this project reads")
    if problems:
        raise MediaInvalid(name, problems)


def _info(path: Path, known: MediaFormat, container: InputContainer, limits: Limits) -> MediaInfo:
    if len(container.streams) > limits.streams:
        raise MediaInvalid(
            path.name, [f"{len(container.streams)} streams, more than the limit of {limits.streams}"]
        )
    video, audio = chosen_video(container), chosen_audio(container)
    if video is None:
        covers = " but a cover picture" if container.streams.video else ""
        raise MediaInvalid(path.name, [f"has no video stream{covers}"])
    for stream in (video, audio):
        if stream is not None and stream.codec_context is None:
            raise MediaInvalid(path.name, [f"the codec of its {stream.type} is unknown"])
    if video.width <= 0 or video.height <= 0:
        raise MediaInvalid(path.name, ["its header gives no picture size"])
    check_picture(path.name, video.width, video.height, limits)
    _check_codecs(path.name, video, audio)
    context = video.codec_context
    context.options = {**context.options, "max_pixels": str(limits.pixels)}
    bit_rate = video.bit_rate or container.bit_rate or 0
    picture, sound = read_times(container, video, audio, limits)
    first = picture.first
    a, b, c, d = _matrix(first)
    sideways = a == d == 0 and bool(b and c)
    aspect = Fraction(video.sample_aspect_ratio or 1)
    if sideways:
        aspect = 1 / aspect
    return MediaInfo(
        kind=known.kind,
        container=known.container,
        content_type=known.content_type,
        codec=context.codec.canonical_name,
        pix_fmt=video.pix_fmt or "",
        width=video.height if sideways else video.width,
        height=video.width if sideways else video.height,
        frames=picture.frames,
        fps=str(picture.rate),
        duration=round(picture.end - picture.start, 9),
        audio=None if audio is None else audio_info(audio, sound),
        size=path.stat().st_size,
        bit_rate=bit_rate,
        upright=(a, b, c, d) == (1, 0, 0, 1),
        pixel_aspect=str(aspect),
        colour=_colour(context),
        stream=video.index,
        start=round(picture.start, 9),
        constant=picture.constant,
        last_seconds=round(picture.end - picture.times[-1], 9) if picture.times else 0.0,
        hides_frames=picture.hidden > 0,
        interlaced=int(context.field_order) > _PROGRESSIVE or (first is not None and first.interlaced_frame),
    )


def frame_times(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> tuple[float, ...]:
    """When each frame of a probed video is shown, in seconds from the first one; blocking, reads every packet."""
    with open_container(path, sniff(path), limits=limits) as container:
        video = chosen_video(container)
        assert video is not None
        picture, _ = read_times(container, video, None, limits)
    return tuple(time - picture.start for time in picture.times)


def _image_info(path: Path, known: MediaFormat, limits: Limits) -> MediaInfo:
    if known.container == "heic":
        raise MediaInvalid(
            path.name, ["a HEIC picture, which is read as a reference only; save it as JPEG or PNG"]
        )
    header = read_webp(path) if known.container == "webp" else None
    still = still_facts(path, known, limits=limits)
    stored = MediaInfo(
        kind=known.kind,
        container=known.container,
        content_type=known.content_type,
        codec="av1",
        pix_fmt="",
        width=still.width,
        height=still.height,
        frames=still.frames,
        fps="0",
        duration=0.0,
        audio=None,
        size=path.stat().st_size,
        upright=still.upright,
    )
    if known.container == "avif":
        return stored
    if header is not None:  # PyAV's libraries (ffmpeg 8) do not open animated WebP
        return stored.model_copy(
            update={
                "codec": "webp",
                "frames": header.frames,
                "fps": str(header.fps),
                "duration": header.duration_ms / 1000,
            }
        )
    with open_container(path, known, limits=limits) as container:
        video = container.streams.video[0]
        _check_codecs(path.name, video, None)
        rate = video.average_rate or video.guessed_rate or Fraction(0)
        frames = max(video.frames or len(video.index_entries), 1)
        moving = frames > 1
        return stored.model_copy(
            update={
                "codec": video.codec_context.codec.canonical_name,
                "pix_fmt": video.pix_fmt or "",
                "frames": frames,
                "fps": str(rate) if moving else "0",
                "duration": float((video.duration or 0) * (video.time_base or 0)) if moving else 0.0,
                "colour": _colour(video.codec_context),
            }
        )


def _colour(context: VideoCodecContext) -> tuple[int, int, int, int]:
    return (
        int(context.color_range),
        int(context.color_primaries),
        int(context.color_trc),
        int(context.colorspace),
    )


def _matrix(frame: VideoFrame | None) -> tuple[int, int, int, int]:
    """How a player turns and mirrors: a, b, c and d of the display matrix, as signs; upright is (1, 0, 0, 1)."""
    matrix = None if frame is None else frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
    if matrix is None:
        return 1, 0, 0, 1
    a, b, _, c, d = struct.unpack_from("=5i", bytes(matrix))
    return _sign(a), _sign(b), _sign(c), _sign(d)


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)
