"""Small pictures of pictures, for pages that show many: in process, from bytes in memory, guarded as every opening."""

import io
import math
from fractions import Fraction
from typing import Final

import av
from av.error import FFmpegError

from prefect_ltx.media.allowed import decoding_options, opening_options
from prefect_ltx.media.limits import DEFAULT_LIMITS
from prefect_ltx.media.magic import sniff_bytes

THUMBNAIL: Final = (320, 180)
"""Pixels that a thumbnail has at most, wide and high."""
_TIME: Final = Fraction(1, 25)


def thumbnail(data: bytes) -> bytes | None:
    """A JPEG of at most 320x180 pixels, some kilobytes, of a picture; None where that cannot be read. Blocking."""
    frame = read_small_picture(data)
    if frame is None or not frame.width or not frame.height:
        return None
    scale = min(1.0, THUMBNAIL[0] / frame.width, THUMBNAIL[1] / frame.height)
    wide, high = (max(2, math.floor(side * scale / 2) * 2) for side in (frame.width, frame.height))
    try:
        return jpeg(frame.reformat(wide, high, "yuvj420p"), quality=6)
    except (FFmpegError, ValueError):
        return None


def read_small_picture(data: bytes) -> av.VideoFrame | None:
    """The first picture of an image in memory; None where its format is not one this project reads."""
    known = sniff_bytes(data[:64])
    if known is None or known.kind != "image":
        return None
    bounds = {"max_pixels": str(DEFAULT_LIMITS.pixels)}
    try:
        with av.open(
            io.BytesIO(data), mode="r", format=known.demuxer, options={**opening_options(known), **bounds}
        ) as container:
            container.streams.video[0].codec_context.options = {**decoding_options(), **bounds}
            return next(container.decode(video=0))
    except (FFmpegError, StopIteration, IndexError, ValueError, MemoryError):
        return None


def jpeg(frame: av.VideoFrame, *, quality: int) -> bytes:
    """A picture as a JPEG; `quality` as libav counts it, 2 the best and 31 the worst."""
    codec = av.CodecContext.create("mjpeg", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = frame.width, frame.height, "yuvj420p"
    codec.time_base = _TIME
    codec.options = {"qmin": str(quality), "qmax": str(quality)}
    frame.pts = 0
    return b"".join(bytes(packet) for packet in (*codec.encode(frame), *codec.encode(None)))
