"""The outputs that are pictures: poster, contact sheet, thumbnails with their cues, animated preview."""

from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from prefect_ltx.media.graph import BITEXACT, target
from prefect_ltx.media.jobs import Clip, Expected, Job
from prefect_ltx.media.recipe import ContactSheet, Poster, Preview, Thumbnails
from prefect_ltx.media.shape import evenly, within
from prefect_ltx.media.shown import EXACT

_SHEET_GAP: Final = 4
_POSTER_BYTES: Final = 256 * 1024**2
_POSTER_BATCH: Final = 12


def poster_job(clip: Clip, output: Poster) -> Job:
    """Batches of frames from all over the clip each name their most typical one; of those the most typical wins.

    So no more than two batches are ever held in memory, however long the clip is.
    """
    shape, path = clip.shape, clip.folder / f"{output.stem}.jpg"
    batch = max(2, min(_POSTER_BATCH, _POSTER_BYTES // (3 * shape.width * shape.height * 2)))
    step = -(-shape.frames // (batch * batch))

    def make(pictures: Any, _: Any) -> Any:
        if step > 1:
            pictures = pictures.filter("select", f"not(mod(n,{step}))")
        for _round in range(2 if shape.frames > batch else 1):
            pictures = pictures.filter("thumbnail", batch)
        return target(_jpeg(pictures), path=path, **{"q:v": 3, **BITEXACT})

    return Job(True, False, make, (_picture(output.stem, path, (shape.width, shape.height)),))


def contact_sheet_job(clip: Clip, output: ContactSheet) -> Job:
    """A grid of frames at even distances."""
    path, picks = clip.folder / f"{output.stem}.jpg", evenly(clip.shape.frames, output.frames)
    columns = min(output.columns, len(picks))
    cell, size = _grid(clip, output.width, columns, len(picks), _SHEET_GAP)

    def make(pictures: Any, _: Any) -> Any:
        return _tiled(pictures, picks, cell, columns, path, _SHEET_GAP)

    return Job(True, False, make, (_picture(output.stem, path, size, shown_frames=picks),))


def thumbnails_job(clip: Clip, output: Thumbnails) -> Job:
    """A grid without gaps, and WebVTT cues that say which part of it belongs to which time."""
    shape = clip.shape
    wanted = round(shape.duration / output.every) if shape.duration else 1
    count = max(1, min(shape.frames, output.max_frames, wanted))
    # The frame in the middle of each cue stands for it.
    picks = [(2 * place + 1) * shape.frames // (2 * count) for place in range(count)]
    columns = min(output.columns, count)
    cell, size = _grid(clip, output.width, columns, count, 0)
    path, cues = clip.folder / f"{output.stem}.jpg", clip.folder / f"{output.stem}.vtt"

    def make(pictures: Any, _: Any) -> Any:
        return _tiled(pictures, picks, cell, columns, path, 0)

    text = _cues(path.name, count, columns, cell, shape.duration)
    return Job(
        True,
        False,
        make,
        (
            _picture(output.stem, path, size, shown_frames=picks),
            Expected(f"{output.stem}_vtt", cues, "cues", text=text, facts={"cues": count}),
        ),
    )


def preview_job(clip: Clip, output: Preview) -> Job:
    """The whole clip in few frames; loops."""
    shape, path = clip.shape, clip.folder / f"{output.stem}.webp"
    rate = min(Fraction(output.fps), shape.rate or Fraction(output.fps))
    if shape.duration > 0:
        rate = min(rate, Fraction(output.max_frames / shape.duration).limit_denominator(1000))
    rate = max(rate, Fraction(1, 100))
    thinned = shape.duration * rate >= 1  # a shorter clip would give the filter no frame to pass on
    size = within(shape.width, shape.height, widest=output.width)

    def make(pictures: Any, _: Any) -> Any:
        if thinned:
            pictures = pictures.filter("fps", str(rate))
        # WebP, like JPEG, is read as BT.601.
        pictures = pictures.filter("scale", *size, out_color_matrix="bt601", out_range="tv", flags=EXACT)
        return target(
            pictures.filter("format", "yuv420p").filter("setsar", 1),
            path=path,
            # Level 4 takes half as long again for a sixteenth less, 6 takes 17 times as long as 4.
            **{
                "c:v": "libwebp_anim",
                "loop": 0,
                "quality": output.quality,
                "compression_level": 2,
                **BITEXACT,
            },
        )

    moving = thinned and round(shape.duration * rate) > 1
    expected = Expected(
        output.stem,
        path,
        "animation",
        width=size[0],
        height=size[1],
        duration=shape.duration if moving else None,
    )
    steady = round(shape.duration * rate) if thinned else shape.frames
    return Job(True, False, make, (expected,), weight=0.5 * size[0] * size[1], steady=steady)


def _tiled(pictures: Any, picks: list[int], cell: tuple[int, int], columns: int, path: Path, gap: int) -> Any:
    # Chosen first: only what is shown is scaled.
    chosen = pictures.filter("select", "+".join(f"eq(n,{pick})" for pick in picks))
    chosen = _jpeg(chosen, *cell)
    rows = -(-len(picks) // columns)
    tiled = chosen.filter("tile", f"{columns}x{rows}", padding=gap, margin=gap)
    return target(tiled, path=path, **{"q:v": 4, "fps_mode": "passthrough", **BITEXACT})


def _jpeg(pictures: Any, *size: int) -> Any:
    """In the colours that JPEG is read in: BT.601, full range."""
    shown = pictures.filter("scale", *size, out_color_matrix="bt601", out_range="pc", flags=EXACT)
    return shown.filter("format", "yuvj420p").filter("setsar", 1)


def _grid(
    clip: Clip, width: int, columns: int, count: int, gap: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """The size of a cell, and of the whole grid."""
    cell = within(clip.shape.width, clip.shape.height, widest=width)
    rows = -(-count // columns)
    edge = gap * 2  # margin on both sides, padding in between
    return cell, (
        columns * cell[0] + (columns - 1) * gap + edge,
        rows * cell[1] + (rows - 1) * gap + edge,
    )


def _picture(name: str, path: Path, size: tuple[int, int], **facts: Any) -> Expected:
    return Expected(name, path, "image", width=size[0], height=size[1], facts=facts)


def _cues(image: str, count: int, columns: int, cell: tuple[int, int], duration: float) -> str:
    lines = ["WEBVTT"]
    for place in range(count):
        start, end = duration * place / count, duration * (place + 1) / count
        row, column = divmod(place, columns)
        part = f"{image}#xywh={column * cell[0]},{row * cell[1]},{cell[0]},{cell[1]}"
        lines += ["", f"{_stamp(start)} --> {_stamp(end)}", part]
    return "\n".join(lines) + "\n"


def _stamp(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"
