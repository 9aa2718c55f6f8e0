"""Hostile and broken inputs, made here: each entry writes one file and returns its path."""

import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

Make = Callable[[Path, bytes, str], Path]


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(min(3 * width + 1, 4096)))
    parts = [(b"IHDR", head), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )


def jpeg(width: int, height: int) -> bytes:
    frame = struct.pack(">BHHB", 8, height, width, 3) + b"\x01\x11\0\x02\x11\0\x03\x11\0"
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xda\0\x02\xff\xd9"


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def table(kind: bytes, *numbers: int) -> bytes:
    return box(kind, b"\0\0\0\0" + struct.pack(f">{len(numbers)}I", *numbers))


def movie(*tracks: bytes, extra: bytes = b"") -> bytes:
    mvhd = box(b"mvhd", bytes(12) + struct.pack(">II", 1000, 5000) + bytes(80))
    return box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov", mvhd + b"".join(tracks) + extra)


def track(*tables: bytes, width: int = 64, height: int = 64, dref: bytes = b"") -> bytes:
    tkhd = box(
        b"tkhd",
        b"\0\0\0\3"
        + bytes(8)
        + struct.pack(">I", 1)
        + bytes(60)
        + struct.pack(">II", width << 16, height << 16),
    )
    mdhd = box(b"mdhd", bytes(12) + struct.pack(">II", 24, 120) + bytes(4))
    hdlr = box(b"hdlr", bytes(8) + b"vide" + bytes(13))
    sample = bytes(6) + struct.pack(">H", 1) + bytes(16) + struct.pack(">HH", width, height) + bytes(50)
    stsd = box(b"stsd", bytes(4) + struct.pack(">I", 1) + box(b"avc1", sample))
    dinf = box(b"dinf", box(b"dref", bytes(4) + struct.pack(">I", 1) + (dref or box(b"url ", b"\0\0\0\1"))))
    stbl = box(b"stbl", stsd + b"".join(tables))
    return box(b"trak", tkhd + box(b"mdia", mdhd + hdlr + box(b"minf", dinf + stbl)))


SAMPLES = (
    table(b"stts", 1, 120, 1),
    table(b"stsc", 1, 1, 120, 1),
    table(b"stsz", 100, 120),
    table(b"stco", 1, 48),
)


def _bytes(data: bytes, name: str = "video.mp4") -> Make:
    def make(folder: Path, whole: bytes, url: str) -> Path:
        path = folder / name
        path.write_bytes(data.replace(b"URL", url.encode()))
        return path

    return make


def _changed(change: Callable[[bytearray], bytearray | bytes], name: str = "video.mp4") -> Make:
    def make(folder: Path, whole: bytes, url: str) -> Path:
        path = folder / name
        path.write_bytes(change(bytearray(whole)))
        return path

    return make


def _patched(find: bytes, offset: int, value: bytes) -> Make:
    def change(data: bytearray) -> bytearray:
        at = data.index(find) + 4 + offset
        data[at : at + len(value)] = value
        return data

    return _changed(change)


def _link(to: str) -> Make:
    def make(folder: Path, whole: bytes, url: str) -> Path:
        path = folder / "video.mp4"
        path.symlink_to(to)
        return path

    return make


def _fifo(folder: Path, whole: bytes, url: str) -> Path:
    os.mkfifo(folder / "video.mp4")
    return folder / "video.mp4"


def _folder(folder: Path, whole: bytes, url: str) -> Path:
    (folder / "video.mp4").mkdir()
    return folder / "video.mp4"


def _missing(folder: Path, whole: bytes, url: str) -> Path:
    return folder / "none.mp4"


def _noise(data: bytearray) -> bytearray:
    middle = len(data) // 2
    data[middle : middle + 3000] = random.Random(3).randbytes(3000)
    return data


def _zeros(data: bytearray) -> bytearray:
    data[len(data) // 3 : -1000] = bytes(len(data) - len(data) // 3 - 1000)
    return data


def _boxed_deep(depth: int) -> bytes:
    inner = b""
    for _ in range(depth):
        inner = box(b"moov", inner)
    return box(b"ftyp", b"isom\0\0\2\0isom") + inner


_BOMB = zlib.compress(bytes(64 * 1024 * 1024), 9)
_GIF = b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0;"
_WEBP = (
    b"RIFF\x2a\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\xff\xff\xff\xff\xff\xff"
    + b"ANIM\x06\0\0\0"
    + bytes(6)
    + b"    \0\0\0\0"
)
_MKV = b"\x1a\x45\xdf\xa3\x93\x42\x82\x88matroska\x42\x87\x81\x04\x42\x85\x81\x02"

HOSTILE: dict[str, Make] = {
    # What would make ffmpeg open something else.
    "hls playlist": _bytes(b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nURL/secret.ts\n#EXT-X-ENDLIST\n"),
    "hls playlist after spaces": _bytes(b"\n\n  #EXTM3U\n#EXTINF:5,\nURL/a.ts\n"),
    "hls playlist with a byte order mark": _bytes(b"\xef\xbb\xbf#EXTM3U\n#EXTINF:5,\nURL/a.ts\n"),
    "hls playlist behind an mp4 head": _bytes(
        box(b"ftyp", b"isom\0\0\2\0isom") + b"#EXTM3U\n#EXTINF:5,\nURL/a.ts\n#EXT-X-ENDLIST\n"
    ),
    "hls playlist as webm": _bytes(b"#EXTM3U\n#EXTINF:5,\nURL/a.ts\n", "video.webm"),
    "concat script": _bytes(b"ffconcat version 1.0\nfile 'URL/a.mp4'\nfile /etc/passwd\n"),
    "concat script without a version": _bytes(b"file 'URL/a.mp4'\nfile /etc/passwd\n"),
    "dash manifest": _bytes(b"<?xml version='1.0'?><MPD><BaseURL>URL/</BaseURL></MPD>"),
    "smil": _bytes(b"<smil><body><video src='URL/a.mp4'/></body></smil>"),
    "sdp": _bytes(b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n"),
    "pls playlist": _bytes(b"[playlist]\nFile1=URL/a.mp4\n"),
    "svg": _bytes(b"<svg xmlns='http://www.w3.org/2000/svg'><image href='URL/a.png'/></svg>", "video.mp4"),
    "html": _bytes(b"<!doctype html><video src='URL/a.mp4'></video>"),
    "ffmetadata": _bytes(b";FFMETADATA1\ntitle=URL/a\n"),
    "mp4 with its data at an address": _bytes(
        movie(track(*SAMPLES, dref=box(b"url ", b"\0\0\0\0URL/data.mp4\0")))
    ),
    "mp4 with its data in another file": _bytes(
        movie(track(*SAMPLES, dref=box(b"alis", bytes(4) + bytes(150) + b"/etc/passwd\0")))
    ),
    # What is not there, or no file.
    "zero bytes": _bytes(b""),
    "one byte": _bytes(b"\0"),
    "missing": _missing,
    "a folder": _folder,
    "a pipe": _fifo,
    "a link to a device": _link("/dev/zero"),
    "a link to text": _link("/etc/passwd"),
    "a link to itself": _link("video.mp4"),
    "a link to nothing": _link("/nowhere/at/all"),
    "a name that is an option": _bytes(b"not a video", "-i.mp4"),
    "a name that is an address": _bytes(b"not a video", "http:127.0.0.1.mp4"),
    # Cut and damaged.
    "half fast start": _changed(lambda data: data[: len(data) // 2]),
    "the head alone": _changed(lambda data: data[:64]),
    "half a header": _changed(lambda data: data[: data.index(b"mdat") // 2]),
    "the last bytes missing": _changed(lambda data: data[:-2000]),
    "zeros in the middle": _changed(_zeros),
    "noise in the middle": _changed(_noise),
    "no header at all": _changed(lambda data: data[data.index(b"mdat") - 4 :]),
    "random bytes behind an mp4 head": _changed(lambda data: data[:32] + random.Random(1).randbytes(4000)),
    "random bytes": _bytes(random.Random(2).randbytes(5000)),
    # Headers that claim too much.
    "two thousand million samples": _bytes(
        movie(
            track(table(b"stts", 1, 0x7FFFFFFF, 1), *SAMPLES[1:2], table(b"stsz", 1, 0x7FFFFFFF), SAMPLES[3])
        )
    ),
    "a table with more entries than the file": _bytes(
        movie(track(table(b"stts", 0x0FFFFFFF, 1, 1), *SAMPLES[1:]))
    ),
    "an edit list without end": _bytes(movie(track(*SAMPLES) + table(b"elst", 0x0FFFFFFF))),
    "a picture of 65535 x 65535": _bytes(movie(track(*SAMPLES, width=65535, height=65535))),
    "a picture of nothing": _bytes(movie(track(*SAMPLES, width=0, height=0))),
    "two hundred tracks": _bytes(movie(*[track(*SAMPLES)] * 200)),
    "a compressed header": _bytes(movie(extra=box(b"cmov", bytes(20)))),
    "boxes in boxes": _bytes(_boxed_deep(2000)),
    "a box without end": _bytes(box(b"ftyp", b"isom\0\0\2\0isom") + b"\xff\xff\xff\xffmoov" + bytes(100)),
    "a box larger than any file": _bytes(
        box(b"ftyp", b"isom\0\0\2\0isom") + b"\0\0\0\1moov" + b"\xff" * 8 + bytes(100)
    ),
    "no track": _bytes(movie()),
    "hours of forty-nine frames": _patched(b"stts", 12, struct.pack(">I", 0x00FFFFFF)),
    "matroska with nothing in it": _bytes(_MKV, "video.mkv"),
    "matroska that claims terabytes": _bytes(
        _MKV
        + b"\x18\x53\x80\x67\x01\0\0\xff\xff\xff\xff\xff"
        + b"\x15\x49\xa9\x66\x01\xff\xff\xff\xff\xff\xff\xfe",
        "video.mkv",
    ),
    # Pictures in a video's place, and pictures that grow.
    "a png": _bytes(png(64, 64), "video.mp4"),
    "a png of 60000 x 60000": _bytes(png(60000, 60000), "sheet.png"),
    "a png whose profile unpacks to 64 MB": _bytes(png(8, 8, (b"iCCP", b"icc\0\0" + _BOMB)), "sheet.png"),
    "a png whose text unpacks to 64 MB": _bytes(png(8, 8, (b"zTXt", b"Comment\0\0" + _BOMB)), "sheet.png"),
    "a jpeg of 65535 x 65535": _bytes(jpeg(65535, 65535), "sheet.jpg"),
    "a gif of 65535 x 65535": _bytes(_GIF, "sheet.gif"),
    "a webp of 16 million square": _bytes(_WEBP, "sheet.webp"),
    "a zip": _bytes(b"PK\x03\x04" + bytes(100)),
    "a shell script": _bytes(b"#!/bin/sh\ntouch owned\n"),
}
