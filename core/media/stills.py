"""Still pictures as a viewer shows them: turned and mirrored by their EXIF, in sRGB, of an animation the first frame.

ffmpeg turns some formats and not others, and knows no ICC profile; Pillow knows both. What needs none of it is left
alone, so that a sheet of ordinary pictures keeps its bytes, which are a part of a generation's key.
"""

import io
import secrets
import struct
import warnings
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image, ImageCms, ImageOps

from prefect_ltx.media.errors import MediaInvalid
from prefect_ltx.media.limits import DEFAULT_LIMITS, Limits
from prefect_ltx.media.magic import MediaFormat, sniff

_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = 1
_SIDEWAYS: Final = 5  # and above: width and height change places
_PILLOW: Final = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP", "gif": "GIF", "avif": "AVIF"}
_MOST_CHUNKS: Final = 10_000
_MOST_CHUNK: Final = 1 << 20


_SDR: Final = (1, 6, 13, 14, 15)  # transfers of ISO 23091-2 that sRGB's curve stands for
_D50: Final = (0.9642, 1.0, 0.8249)
_COLORANTS: Final = {
    9: ((0.6734, 0.2790, -0.0019), (0.1657, 0.6753, 0.0299), (0.1251, 0.0456, 0.7969)),
    12: ((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841)),
}
"""BT.2020's and Display P3's primaries, adapted to D50, by their numbers in ISO 23091-2."""


class StillFacts(NamedTuple):
    """A picture as shown: its size, whether it is `upright` as stored, and whether it is `plain`.

    Of a plain one any decoder's pixels are the picture: no turn, no profile but sRGB's, no animation, no ink.
    """

    width: int
    height: int
    frames: int
    upright: bool
    plain: bool


def still_facts(path: Path, known: MediaFormat, *, limits: Limits = DEFAULT_LIMITS) -> StillFacts:
    """Read the header of a picture that was checked; no pixel is decoded.

    Raises:
        MediaInvalid: it cannot be read.
    """
    with _opened(path, known, limits) as image:
        orientation = _orientation(path, known, image)
        width, height = image.size
        if orientation >= _SIDEWAYS:
            width, height = height, width
        frames = getattr(image, "n_frames", 1) if known.container in ("webp", "avif") else 1
        profile = _profile(path, known, image)
        plain = (
            orientation == _UPRIGHT
            and profile is None
            and image.mode != "CMYK"
            and known.container in ("png", "jpeg", "gif", "webp")
            and not (known.container == "webp" and frames > 1)
        )
        return StillFacts(width, height, frames, orientation == _UPRIGHT, plain)


def read_still(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> Image.Image:
    """The first frame of a picture file, upright and in sRGB; RGB, or RGBA where it is transparent. Blocking.

    Raises:
        MediaInvalid: it cannot be read.
    """
    known = sniff(path)
    try:
        with _opened(path, known, limits) as image:
            orientation = _orientation(path, known, image)
            profile = _profile(path, known, image)
            image.load()
            picture = _in_srgb(image, profile)
    except (OSError, ValueError, SyntaxError, MemoryError, struct.error) as error:
        raise MediaInvalid(
            path.name, [f"cannot be read as {known.container} ({type(error).__name__})"]
        ) from error
    # A copy without its metadata, so that nobody turns it a second time.
    picture = picture.copy()
    picture.info = {}
    picture.getexif()[_ORIENTATION] = orientation
    turned = ImageOps.exif_transpose(picture)
    turned.info = {}
    return turned


def plain_still(path: Path, folder: Path, *, limits: Limits = DEFAULT_LIMITS) -> Path:
    """A picture file of whose pixels any decoder makes the picture: itself, or a PNG written to `folder`. Blocking.

    Raises:
        MediaInvalid: it cannot be read.
    """
    known = sniff(path)
    if still_facts(path, known, limits=limits).plain:
        return path
    written = folder / f"still-{secrets.token_hex(8)}.png"
    read_still(path, limits=limits).save(written, "PNG", compress_level=1)
    return written


def _opened(path: Path, known: MediaFormat, limits: Limits) -> Image.Image:
    name = _PILLOW.get(known.container)
    if name is None:
        raise MediaInvalid(path.name, [f"a {known.container} file is no picture that can be read here"])
    try:
        with warnings.catch_warnings():
            # Its own bound is a warning above an eighth of ours; `limits` hold for it.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path, formats=(name,))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, struct.error) as error:
        raise MediaInvalid(
            path.name, [f"cannot be read as {known.container} ({type(error).__name__})"]
        ) from error
    if image.width * image.height > limits.pixels:
        image.close()
        raise MediaInvalid(
            path.name, [f"{image.width}x{image.height} pixels, more than the limit of {limits.pixels}"]
        )
    return image


def _orientation(path: Path, known: MediaFormat, image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; upright where it is missing or unreadable."""
    try:
        if known.container == "png":
            exif = Image.Exif()
            # Pillow would decode all of a PNG to look for it behind the pixels.
            exif.load(b"Exif\0\0" + _png_chunk(path, b"eXIf"))
        elif known.container == "gif":
            return _UPRIGHT
        else:
            exif = image.getexif()
        found = exif.get(_ORIENTATION, _UPRIGHT)
    except (OSError, ValueError, SyntaxError, TypeError, KeyError, struct.error):
        return _UPRIGHT
    return found if isinstance(found, int) and 1 <= found <= 8 else _UPRIGHT


def _png_chunk(path: Path, wanted: bytes) -> bytes:
    """The contents of a PNG's first chunk of a kind; empty where the PNG has no such chunk."""
    with path.open("rb") as file:
        file.seek(8)
        for _ in range(_MOST_CHUNKS):
            head = file.read(8)
            if len(head) < 8:
                break
            length, kind = struct.unpack(">I4s", head)
            if kind == wanted:
                return file.read(min(length, _MOST_CHUNK))
            file.seek(length + 4, io.SEEK_CUR)
    return b""


def _profile(path: Path, known: MediaFormat, image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """The picture's colour profile, where it has one that is readable and not sRGB's own."""
    data = image.info.get("icc_profile")
    signal = _png_chunk(path, b"cICP") if known.container == "png" else b""
    if len(signal) == 4 and signal[1] in _SDR and signal[0] in _COLORANTS:
        data = _matrix_profile(_COLORANTS[signal[0]])
    if not isinstance(data, bytes) or not data:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        description = ImageCms.getProfileDescription(profile)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None  # as viewers do: an unreadable profile is ignored
    return None if "srgb" in description.lower() else profile


def _matrix_profile(colorants: tuple[tuple[float, float, float], ...]) -> bytes:
    """An ICC profile (version 4) of three colorants and sRGB's curve, for what a PNG's `cICP` names by a number."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"para\0\0\0\0\0\3\0\0" + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    text = "wide".encode("utf-16-be")
    words = b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", len(text), 28) + text
    tags = {b"desc": words, b"cprt": words, b"wtpt": b"XYZ \0\0\0\0" + fixed(*_D50)}
    for name, values in zip("rgb", colorants, strict=True):
        tags |= {f"{name}XYZ".encode(): b"XYZ \0\0\0\0" + fixed(*values), f"{name}TRC".encode(): curve}
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for tag, data in tags.items():
        table += tag + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">II4s4s4s", start + len(body), 0, b"\x04\x30\0\0", b"mntr", b"RGB ") + b"XYZ "
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + fixed(*_D50)
    return head.ljust(128, b"\0") + table + body


def _in_srgb(image: Image.Image, profile: ImageCms.ImageCmsProfile | None) -> Image.Image:
    clear = "A" in image.getbands() or "transparency" in image.info
    if image.mode.startswith("I"):
        image = image.point(lambda value: value / 256).convert("L")
    if image.mode in ("P", "PA", "1", "LA"):
        image = image.convert("RGBA" if clear else "RGB")
    if profile is not None:
        alpha = image.getchannel("A") if image.mode == "RGBA" else None
        colours = image.convert("RGB") if image.mode == "RGBA" else image
        try:
            converted = ImageCms.profileToProfile(
                colours, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, ValueError, OSError):
            converted = None  # a profile for another kind of picture
        if converted is not None:
            if alpha is not None:
                converted.putalpha(alpha)
            image = converted
    return image if image.mode in ("RGB", "RGBA") else image.convert("RGBA" if clear else "RGB")
