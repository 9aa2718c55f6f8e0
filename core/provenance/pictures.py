"""XMP into a JPEG (segment APP1) and into an extended WebP (chunk `XMP `), picture data untouched."""

import struct
from typing import Final

_APP1: Final = b"http://ns.adobe.com/xap/1.0/\x00"
_WEBP_HAS_XMP: Final = 0x04


def marked_jpeg(data: bytes, xmp: bytes) -> bytes | None:
    """The picture with XMP behind its first segments; None where it has some, or is no JPEG."""
    if not data.startswith(b"\xff\xd8") or _APP1 in data[: 64 << 10]:
        return None
    at = 2
    if data[2:4] == b"\xff\xe0":  # JFIF wants to stay first
        at = 4 + struct.unpack(">H", data[4:6])[0]
    body = _APP1 + xmp
    return data[:at] + b"\xff\xe1" + struct.pack(">H", 2 + len(body)) + body + data[at:]


def marked_webp(data: bytes, xmp: bytes) -> bytes | None:
    """The picture with an XMP chunk at its end; None where it has some, or is no extended WebP (RFC 9649)."""
    if data[:4] != b"RIFF" or data[8:16] != b"WEBPVP8X" or data[20] & _WEBP_HAS_XMP:
        return None
    chunk = b"XMP " + struct.pack("<I", len(xmp)) + xmp + b"\0" * (len(xmp) % 2)
    whole = bytearray(data) + chunk
    whole[20] |= _WEBP_HAS_XMP
    struct.pack_into("<I", whole, 4, len(whole) - 8)
    return bytes(whole)
