"""The posters of many generations on one small picture."""

import asyncio
import math
from collections.abc import Sequence
from fractions import Fraction

import av
from av.error import FFmpegError

from prefect_ltx.archive import Archive, ArchiveError
from prefect_ltx.media.thumbnail import jpeg, read_small_picture

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
    sheet = graph.pull()
    assert isinstance(sheet, av.VideoFrame)
    return jpeg(sheet, quality=9)


def _tile(data: bytes) -> av.VideoFrame | None:
    width, height = TILE
    frame = read_small_picture(data)
    if frame is None:
        return None
    try:
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
    except (FFmpegError, ValueError):
        return None
    return tile if isinstance(tile, av.VideoFrame) else None
