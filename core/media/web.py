"""The graph of the recipe `web`: one decode, split, four outputs.

A video that browsers play as it is (H.264, 4:2:0, 8 bit) is copied into the web file; only its audio is made
anew. Anything else is encoded with a fixed number of threads, because x264's bytes depend on it.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from prefect_ltx.media.graph import BITEXACT, source, target
from prefect_ltx.media.loudness import WEB_LUFS, Loudness, normalised
from prefect_ltx.media.probe import MediaInfo

_PREVIEW_WIDTH: Final = 480
_PREVIEW_FPS: Final = Fraction(8)
_PREVIEW_FRAMES: Final = 40  # with 480 pixels and quality 40 this keeps a busy clip near 300 KB
_SHEET_CELLS: Final = 12
_SHEET_COLUMNS: Final = 4
_SHEET_CELL_WIDTH: Final = 320
_SHEET_GAP: Final = 4
_THUMBNAIL_BATCH: Final = 24  # the filter holds this many full frames in memory


@dataclass(frozen=True)
class WebPlan:
    """Where the outputs go, the pixel sizes they must have, and the ffmpeg-python nodes that make them."""

    poster: Path
    sheet: Path
    web: Path
    preview: Path
    sheet_size: tuple[int, int]
    web_size: tuple[int, int]
    preview_size: tuple[int, int]
    outputs: list[Any]
    facts: dict[str, dict[str, Any]]


def web_plan(video: Path, info: MediaInfo, out_dir: Path, loudness: Loudness | None) -> WebPlan:
    """Lay out the recipe for one probed video. `loudness` is None for no, silent or unmeasurable audio."""
    copied = info.codec == "h264" and info.pix_fmt == "yuv420p"
    web_size = (info.width, info.height) if copied else (_even(info.width), _even(info.height))
    preview_size = _fit(info, _PREVIEW_WIDTH)
    cell = _fit(info, _SHEET_CELL_WIDTH)
    picks = _evenly(info.frames, _SHEET_CELLS)
    columns = min(_SHEET_COLUMNS, len(picks))
    rows = -(-len(picks) // columns)
    paths = {name: out_dir / name for name in ("poster.jpg", "contact_sheet.jpg", "web.mp4", "preview.webp")}

    origin = source(video)
    full = origin.video.filter_multi_output("split", 2 if copied else 3)
    small = full[1].filter("scale", *preview_size).filter("setsar", 1).filter_multi_output("split", 2)
    outputs = [
        _web(origin, None if copied else full[2], info, loudness, web_size, paths["web.mp4"]),
        _poster(full[0], info, paths["poster.jpg"]),
        _sheet(small[0], picks, cell, columns, rows, paths["contact_sheet.jpg"]),
        _preview(small[1], info, paths["preview.webp"]),
    ]
    return WebPlan(
        poster=paths["poster.jpg"],
        sheet=paths["contact_sheet.jpg"],
        web=paths["web.mp4"],
        preview=paths["preview.webp"],
        sheet_size=(
            columns * cell[0] + (columns + 1) * _SHEET_GAP,
            rows * cell[1] + (rows + 1) * _SHEET_GAP,
        ),
        web_size=web_size,
        preview_size=preview_size,
        outputs=outputs,
        facts={
            "contact_sheet": {"shown_frames": picks},
            "web": {
                "video": "copied" if copied else "encoded",
                "loudness_before_lufs": loudness and loudness.integrated,
                "loudness_target_lufs": WEB_LUFS if loudness else None,
            },
        },
    )


def _web(
    origin: Any,
    decoded: Any | None,
    info: MediaInfo,
    loudness: Loudness | None,
    size: tuple[int, int],
    path: Path,
) -> Any:
    options: dict[str, Any] = {"movflags": "+faststart", **BITEXACT}
    if decoded is None:
        streams = [origin.video]
        options |= {"c:v": "copy"}
    else:
        streams = [decoded.filter("scale", *size).filter("format", "yuv420p")]
        options |= {
            "c:v": "libx264",
            "preset": "medium",
            "crf": 20,
            "x264-params": "threads=4:lookahead-threads=1",
            "fps_mode": "passthrough",
        }
    if info.audio is not None:
        streams.append(normalised(origin.audio, loudness, info=info.audio))
        options |= {"c:a": "aac", "b:a": "160k"}
    return target(*streams, path=path, **options)


def _poster(frames: Any, info: MediaInfo, path: Path) -> Any:
    batch = max(2, min(_THUMBNAIL_BATCH, info.frames))
    return target(frames.filter("thumbnail", batch), path=path, **{"q:v": 3, **BITEXACT})


def _sheet(frames: Any, picks: list[int], cell: tuple[int, int], columns: int, rows: int, path: Path) -> Any:
    chosen = frames.filter("select", "+".join(f"eq(n,{pick})" for pick in picks)).filter("scale", *cell)
    tiled = chosen.filter("tile", f"{columns}x{rows}", padding=_SHEET_GAP, margin=_SHEET_GAP)
    return target(tiled, path=path, **{"q:v": 4, "fps_mode": "passthrough", **BITEXACT})


def _preview(frames: Any, info: MediaInfo, path: Path) -> Any:
    rate = min(_PREVIEW_FPS, info.frame_rate or _PREVIEW_FPS)
    if info.duration > 0:
        rate = min(rate, Fraction(_PREVIEW_FRAMES / info.duration).limit_denominator(1000))
    if info.duration * rate >= 1:  # a shorter clip would give the filter no frame to pass on
        frames = frames.filter("fps", str(max(rate, Fraction(1, 10))))
    return target(
        frames,
        path=path,
        # compression_level 6 takes 17 times as long as 4 for a tenth less.
        **{"c:v": "libwebp_anim", "loop": 0, "quality": 40, "compression_level": 4, **BITEXACT},
    )


def _fit(info: MediaInfo, width: int) -> tuple[int, int]:
    width = _even(min(width, info.width))
    return width, _even(round(width * info.height / info.width))


def _even(pixels: int) -> int:
    return max(2, pixels - pixels % 2)


def _evenly(frames: int, count: int) -> list[int]:
    count = max(1, min(frames, count))
    return [round(cell * (frames - 1) / max(1, count - 1)) for cell in range(count)]
