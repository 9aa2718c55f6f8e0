"""The posters of many generations on one small picture."""

import asyncio
import io
import math
from collections.abc import Sequence
from fractions import Fraction

import av
from av.error import FFmpegError

from prefect_ltx.archive import Archive, ArchiveError
from prefect_ltx.media import DEFAULT_LIMITS, sniff_bytes
from prefect_ltx.media.allowed import decoding_options, opening_options

_TIME = Fraction(1, 25)
TILE = (160, 90)
MOST_TILES = 84
READ_AT_ONCE = 8


async def poster_sheet(archive: Archive, folders: Sequence[str], *, most: int = MOST_TILES) -> bytes | None:
    """The posters of archived generations, in their order, as one JPEG of tiles of 160x90 pixels.

    Beyond `most` they are left out, evenly; so is what has no poster or cannot be read. None where nothing is left.
    """
    if not folders:
        return None
    step = max(1.0, len(folders) / most)
    chosen = [folders[int(number * step)] for number in range(min(most, len(folders)))]
    turn = asyncio.Semaphore(READ_AT_ONCE)

    async def read(folder: str) -> bytes | None:
        async with turn:
            try:
                return await archive.read_bytes(f"{folder}/poster.jpg")
            except ArchiveError:
                return None

    found = [data for data in await asyncio.gather(*(read(folder) for folder in chosen)) if data]
    return await asyncio.to_thread(_sheet, found) if found else None


def _sheet(pictures: Sequence[bytes]) -> bytes | None:
    tiles = [tile for data in pictures if (tile := _tile(data)) is not None]
    if not tiles:
        return None
    width, height = TILE
    columns = min(len(tiles), max(4, math.ceil(math.sqrt(len(tiles)))), 12)
    rows = math.ceil(len(tiles) / columns)
    graph = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format=tiles[0].format, time_base=_TIME)
    tiled = graph.add("tile", f"layout={columns}x{rows}:padding=4:margin=4:color=black")
    graph.link_nodes(source, tiled, graph.add("buffersink")).configure()
    for number, each in enumerate(tiles):
        each.pts = number
        graph.push(each)
    graph.push(None)
    return _jpeg(graph.pull())


def _tile(data: bytes) -> av.VideoFrame | None:
    width, height = TILE
    try:
        known = sniff_bytes(data[:64])
        if known is None or known.container != "jpeg":
            return None  # what this project archives as a poster is a JPEG
        bounds = {"max_pixels": str(DEFAULT_LIMITS.pixels)}
        with av.open(
            io.BytesIO(data), mode="r", format=known.demuxer, options={**opening_options(known), **bounds}
        ) as container:
            container.streams.video[0].codec_context.options = {**decoding_options(), **bounds}
            frame = next(container.decode(video=0))
        graph = av.filter.Graph()
        graph.link_nodes(
            graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=_TIME),
            graph.add("scale", f"{width}:{height}:force_original_aspect_ratio=decrease:out_range=pc"),
            graph.add("format", "yuvj420p"),
            graph.add("pad", f"{width}:{height}:-1:-1:black"),
            graph.add("buffersink"),
        ).configure()
        graph.push(frame)
        tile = graph.pull()
    except (FFmpegError, StopIteration, IndexError, ValueError):
        return None
    return tile if isinstance(tile, av.VideoFrame) else None


def _jpeg(frame: object) -> bytes:
    assert isinstance(frame, av.VideoFrame)
    codec = av.CodecContext.create("mjpeg", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = frame.width, frame.height, "yuvj420p"
    codec.time_base = _TIME
    codec.options = {"qmin": "9", "qmax": "9"}
    frame.pts = 0
    return b"".join(bytes(packet) for packet in (*codec.encode(frame), *codec.encode(None)))
