"""Sound files as people have them (WAV, MP3, M4A, FLAC, Ogg, or the sound of a video), read as strictly as videos.

`read_sound` looks, `bring_sound` decodes once into PCM of our own, which everything after it works on.
"""

import asyncio
from pathlib import Path
from typing import Any, Final

import ffmpeg
from av.error import FFmpegError
from pydantic import BaseModel, ConfigDict

from prefect_ltx.media.allowed import opening_options
from prefect_ltx.media.errors import MediaInvalid
from prefect_ltx.media.graph import BITEXACT, target
from prefect_ltx.media.header import check_header
from prefect_ltx.media.limits import AUDIO_CODECS, DEFAULT_LIMITS, Limits
from prefect_ltx.media.magic import HEAD_BYTES, WAV, MediaFormat, sniff_bytes
from prefect_ltx.media.probe import open_container
from prefect_ltx.media.process import run_ffmpeg
from prefect_ltx.media.shown import SAMPLE_RATE
from prefect_ltx.media.streams import chosen_audio

_MP3: Final = MediaFormat("mp3", "mp3", "audio/mpeg", "audio")
_FLAC: Final = MediaFormat("flac", "flac", "audio/flac", "audio")
_OGG: Final = MediaFormat("ogg", "ogg", "audio/ogg", "audio")


class SoundFile(BaseModel):
    """A sound file as its header and packets describe it; `stream` is the number of the sound in the file."""

    model_config = ConfigDict(frozen=True)

    container: str
    demuxer: str
    codec: str
    seconds: float
    channels: int
    stream: int


def read_sound(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> SoundFile:
    """What a sound file is; blocking, reads its packets and decodes nothing.

    Raises:
        MediaInvalid: not a sound that this project reads, or beyond a limit.
    """
    known = _sniffed(path)
    check_header(path, known, limits)
    try:
        with open_container(path, known, limits=limits) as container:
            audio = chosen_audio(container)
            if audio is None or audio.codec_context is None:
                raise MediaInvalid(path.name, ["there is no sound in it that this project reads"])
            codec = audio.codec_context.codec.canonical_name
            if codec not in AUDIO_CODECS:
                raise MediaInvalid(path.name, [f"its audio codec {codec!r} is not one this project reads"])
            base, end = audio.time_base or 0, 0
            for packet in container.demux(audio):
                if packet.pts is not None:
                    end = max(end, packet.pts + (packet.duration or 0))
            seconds = float(end * base)
            index, channels = audio.index, audio.channels
    except FFmpegError as error:
        raise MediaInvalid(path.name, [f"cannot be read as {known.container} ({error.strerror})"]) from error
    except (OSError, ValueError, OverflowError, ZeroDivisionError) as error:
        raise MediaInvalid(
            path.name, [f"cannot be read as {known.container} ({type(error).__name__})"]
        ) from error
    if seconds <= 0:
        raise MediaInvalid(path.name, ["its sound is empty"])
    if seconds > limits.seconds:
        raise MediaInvalid(
            path.name, [f"{seconds:.0f} s long, more than the limit of {limits.seconds:.0f} s"]
        )
    return SoundFile(
        container=known.container,
        demuxer=known.demuxer,
        codec=codec,
        seconds=seconds,
        channels=channels,
        stream=index,
    )


async def bring_sound(path: Path, into: Path, *, timeout: float = 600) -> Path:
    """Decode a sound file to 32 bit float stereo at 48 kHz, in the QuickTime file `into`; from its first sample on.

    Raises:
        MediaInvalid: see `read_sound`.
        FfmpegFailed: it is damaged.
    """
    found = await asyncio.to_thread(read_sound, path)
    known = MediaFormat(found.container, found.demuxer, "", "audio")
    origin = ffmpeg.input(
        f"file:{path.absolute()}",
        format=known.demuxer,
        max_streams=DEFAULT_LIMITS.streams,
        **opening_options(known),
    )
    stream: Any = origin[str(found.stream)].filter("aresample", SAMPLE_RATE)
    stream = stream.filter(
        "aformat", sample_fmts="flt", channel_layouts="mono" if found.channels == 1 else "stereo"
    )
    if found.channels == 1:
        # As it is on both sides: ffmpeg's own way of making two of one is 3 dB softer.
        left, right = (both := stream.filter_multi_output("asplit", 2))[0], both[1]
        stream = ffmpeg.filter([left, right], "amerge", inputs=2)
    stream = stream.filter("asetpts", "N/SR/TB")
    await run_ffmpeg(target(stream, path=into, **{"c:a": "pcm_f32le", **BITEXACT}), timeout=timeout)
    return into


def _sniffed(path: Path) -> MediaFormat:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise MediaInvalid(
            path.name, [f"cannot be read ({error.strerror or type(error).__name__})"]
        ) from error
    found = sniff_bytes(head)
    if found is None:
        if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
            found = WAV
        elif head.startswith(b"fLaC"):
            found = _FLAC
        elif head.startswith(b"OggS"):
            found = _OGG
        elif head.startswith(b"ID3") or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2):
            found = _MP3  # a tag, or the sync of a frame of layer 3
    if found is None or found.kind == "image":
        raise MediaInvalid(path.name, ["not a WAV, MP3, M4A, FLAC or Ogg file: convert it to one of them"])
    return found
