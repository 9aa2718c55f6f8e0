"""What a file is, told from its first bytes before any library opens it.

Only the containers this project reads are known here. Everything else is refused by name or as unknown, above
all playlists and scripts (HLS, DASH, concat, SDP), which would make ffmpeg open other files or addresses.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from prefect_ltx.media.errors import MediaInvalid

MediaKind = Literal["video", "image", "audio"]

_KNOWN: Final = "an MP4, MOV, WebM, MKV, TS, AVI, PNG, JPEG, WebP, GIF, AVIF or HEIC file"
HEAD_BYTES: Final = 800
"""Of a file, from which its format is told; MPEG-TS repeats its mark in every packet of 188 or 192 bytes."""
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"heif", b"hevc", b"hevx"}
_STILL_BRANDS = {b"mif1", b"msf1", b"miaf"}  # of either kind, which the compatible brands tell
_TEXT_STARTS = (
    b"#extm3u",
    b"ffconcat",
    b"<mpd",
    b"<?xml",
    b"v=0",
    b"[playlist]",
    b"<smil",
    b"<svg",
    b"<!doc",
)


@dataclass(frozen=True)
class MediaFormat:
    """A container this project reads: its name, ffmpeg's demuxer for it, its media type and its kind."""

    container: str
    demuxer: str
    content_type: str
    kind: MediaKind


_MP4 = MediaFormat("mp4", "mov", "video/mp4", "video")
_MOV = MediaFormat("mov", "mov", "video/quicktime", "video")
_WEBM = MediaFormat("webm", "matroska", "video/webm", "video")
_MKV = MediaFormat("mkv", "matroska", "video/x-matroska", "video")
_TS = MediaFormat("ts", "mpegts", "video/mp2t", "video")
_AVI = MediaFormat("avi", "avi", "video/x-msvideo", "video")
_PNG = MediaFormat("png", "png_pipe", "image/png", "image")
_JPEG = MediaFormat("jpeg", "jpeg_pipe", "image/jpeg", "image")
_AVIF = MediaFormat("avif", "mov", "image/avif", "image")
_HEIC = MediaFormat("heic", "mov", "image/heic", "image")
_WEBP = MediaFormat("webp", "webp_pipe", "image/webp", "image")
_GIF = MediaFormat("gif", "gif", "image/gif", "image")

_TS_PACKETS = ((0, 188), (4, 192))  # where the first mark is, and how far it is to the next

M4A = MediaFormat("m4a", "mov", "audio/mp4", "audio")
WAV = MediaFormat("wav", "wav", "audio/wav", "audio")
"""What this project writes and does not take in."""


def sniff(path: Path) -> MediaFormat:
    """Tell the container of the file at `path` from its first bytes.

    Raises:
        MediaInvalid: it is missing, empty, no regular file, a playlist, or none of MP4, MOV, WebM, MKV, PNG,
            JPEG, WebP, GIF, AVIF, HEIC, TS and AVI.
    """
    try:
        if not path.is_file():
            raise MediaInvalid(path.name, ["there is no such file" if not path.exists() else "not a file"])
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise MediaInvalid(
            path.name, [f"cannot be read ({error.strerror or type(error).__name__})"]
        ) from error
    found = sniff_bytes(head)
    if found is not None:
        return found
    if not head:
        raise MediaInvalid(path.name, ["the file is empty"])
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_TEXT_STARTS):
        raise MediaInvalid(path.name, ["a playlist or document, not a video or an image"])
    raise MediaInvalid(
        path.name,
        [
            "not an MP4, MOV, WebM, MKV, TS, AVI, PNG, JPEG, WebP, GIF, AVIF or HEIC file: convert it to one of them"
        ],
    )


def sniff_bytes(head: bytes) -> MediaFormat | None:
    """Tell the container from the first bytes of a file (`HEAD_BYTES`), or None where it is unknown."""
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in _AVIF_BRANDS | _HEIC_BRANDS | _STILL_BRANDS:
            box = head[: min(int.from_bytes(head[:4], "big"), len(head))]
            brands = {brand, *(box[at : at + 4] for at in range(16, len(box), 4))}
            return _AVIF if brands & _AVIF_BRANDS else _HEIC
        if brand == b"crx ":
            return None  # a camera's raw picture
        return _MOV if brand == b"qt  " else _MP4
    if head[4:8] in (b"moov", b"wide", b"mdat"):
        return _MOV  # QuickTime files older than the ftyp box
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return _WEBM if b"webm" in head else _MKV
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _PNG
    if head.startswith(b"\xff\xd8\xff"):
        return _JPEG
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _WEBP
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return _AVI
    if head.startswith((b"GIF87a", b"GIF89a")):
        return _GIF
    if any(len(marks := head[first::size]) > 3 and set(marks) == {0x47} for first, size in _TS_PACKETS):
        return _TS
    return None
