"""The bounds inside which media is read and ffmpeg runs; what goes beyond them is refused or ended.

The defaults leave room for an hour of 1080p and for 8K; fal's clips stay a hundred times below.
"""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

_GIB: Final = 1024**3


class Limits(BaseModel):
    """Bounds on one input, and on one ffmpeg process (applied by the kernel, on Linux and where it can)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file_bytes: int = Field(8 * _GIB, gt=0, description="Size of an input, and of each file ffmpeg writes.")
    streams: int = Field(16, gt=0, description="Streams in one input.")
    pixels: int = Field(8192 * 8192, gt=0, description="Width times height of one picture.")
    frames: int = Field(216_000, gt=0, description="Pictures in one input; an hour at 60 a second.")
    decoded_pixels: int = Field(500_000_000_000, gt=0, description="Width times height times frames.")
    seconds: float = Field(3600.0, gt=0, description="Duration of one input.")
    index_entries: int = Field(4_000_000, gt=0, description="Entries in the tables of one MP4 header.")
    memory_bytes: int = Field(8 * _GIB, gt=0, description="Address space of one ffmpeg process.")
    wall_seconds: float = Field(600.0, gt=0, description="Wall time of decoding one file in full.")
    cpu_seconds: int | None = Field(
        None, gt=0, description="CPU time of one ffmpeg process; by default its wall time on every core."
    )


DEFAULT_LIMITS: Final = Limits()

# fmt: off
AUDIO_CODECS: Final = frozenset((
    "aac", "ac3", "alac", "eac3", "flac", "mp2", "mp3", "opus", "vorbis", "pcm_alaw", "pcm_f32le", "pcm_f64le",
    "pcm_mulaw", "pcm_s16be", "pcm_s16le", "pcm_s24be", "pcm_s24le", "pcm_s32be", "pcm_s32le", "pcm_u8",
))
"""Audio codecs that are decoded; ffmpeg's names."""

VIDEO_CODECS: Final = frozenset((
    "av1", "dnxhd", "ffv1", "gif", "h263", "h264", "hevc", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4", "png",
    "prores", "qtrle", "rawvideo", "theora", "vp8", "vp9", "webp",
))
"""Video codecs that are decoded; ffmpeg's names."""
# fmt: on
