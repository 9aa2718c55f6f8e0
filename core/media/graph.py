"""The two ends of every ffmpeg graph: a checked local file goes in, a local file comes out.

ffmpeg-python builds the graph in between and `run_ffmpeg` runs it. Names reach ffmpeg only here, as absolute
paths behind the `file:` protocol, so a name that starts with `-` or holds `:` or `%` is only a name.
"""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import ffmpeg

from prefect_ltx.media.allowed import opening_options
from prefect_ltx.media.header import check_header
from prefect_ltx.media.limits import DEFAULT_LIMITS, Limits
from prefect_ltx.media.magic import MediaFormat, sniff

BITEXACT: Final[Mapping[str, str | int]] = {
    "map_metadata": -1,
    "fflags": "+bitexact",
    "flags:v": "+bitexact",
    "flags:a": "+bitexact",
}
"""Output options without which the same input gives other bytes (versions and times in the file)."""

BT709: Final[Mapping[str, str]] = {
    "color_primaries": "bt709",
    "color_trc": "bt709",
    "colorspace": "bt709",
    "range": "tv",
}
"""What `setparams` says of pictures for the web: it tags, and converts nothing."""

_MUXERS: Final = {
    ".mp4": "mp4",
    ".mov": "mov",
    ".m3u8": "hls",
    ".m4a": "ipod",
    ".wav": "wav",
    ".webp": "webp",
    ".gif": "gif",
    ".jpg": "image2",
    ".jpeg": "image2",
    ".png": "image2",
}


def source(
    path: Path | str, *, limits: Limits = DEFAULT_LIMITS, known: MediaFormat | None = None, **options: Any
) -> Any:
    """Return an ffmpeg-python input node (`.video`, `.audio`) for a local file; `options` are ffmpeg's.

    The demuxer is told from the file's first bytes and fixed; only what `allowed` names is opened and decoded.

    Raises:
        MediaInvalid: the file's format is not one this project reads, or claims more than `limits` allow.
    """
    path = Path(path).absolute()
    # What this program wrote itself (a WAV) may be of a format that is not read from others.
    known = known or sniff(path)
    check_header(path, known, limits)
    fixed = {
        "format": known.demuxer,
        **opening_options(known),
        "max_pixels": limits.pixels,
        "max_streams": limits.streams,
    }
    return ffmpeg.input(f"file:{path}", **{**fixed, **options})


def generator(description: str, **options: Any) -> Any:
    """Return an input node for one of ffmpeg's own generators, such as `sine=f=220:r=48000`.

    The description must come from this program, never from a user.
    """
    return ffmpeg.input(description, **{"format": "lavfi", **options})


def target(*streams: Any, path: Path | str, **options: Any) -> Any:
    """Return an output node that writes `streams` to a local file; `options` are ffmpeg's.

    The muxer follows from the suffix (.mp4, .mov, .m4a, .wav, .webp, .gif, .jpg, .png) unless `format` names
    one. A .jpg or .png takes exactly one picture.
    """
    path = Path(path).absolute()
    muxer = options.pop("format", None) or _MUXERS.get(path.suffix.lower())
    if muxer is None:
        raise ValueError(f"no container is known for the suffix {path.suffix!r}")
    if muxer == "image2":
        # update=1 takes the name as it is; without it a % in the name would be read as a pattern.
        options = {"update": 1, "frames:v": 1, **options}
    return ffmpeg.output(*streams, f"file:{path}", **{"format": muxer, **options})


def nowhere(*streams: Any, **options: Any) -> Any:
    """Return an output node that decodes and measures `streams` and writes nothing."""
    return ffmpeg.output(*streams, "-", **{"format": "null", **options})


def frame_rate(value: str | float | Fraction) -> Fraction:
    """Return a frame rate as an exact fraction; 23.976, 29.97 and their like become n*1000/1001.

    Raises:
        ValueError: not a positive finite number.
    """
    rate = Fraction(str(value)) if isinstance(value, float) else Fraction(value)
    if rate <= 0:
        raise ValueError(f"a frame rate has to be above zero, not {value}")
    ntsc = Fraction(round(rate) * 1000, 1001)
    if ntsc > 0 and abs(rate - ntsc) < Fraction(1, 1000) and rate.denominator != 1:
        return ntsc
    return rate.limit_denominator(1001)
