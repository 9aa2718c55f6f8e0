"""Takes side by side: an artifact for Prefect's UI and a page for the archive, with posters as data URIs."""

import asyncio
import base64
import hashlib
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from prefect_ltx.flows.naming import code_block, in_markdown
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.media import BITEXACT, probe, run_ffmpeg, source, target
from prefect_ltx.media.graph import BT709
from prefect_ltx.media.shape import within
from prefect_ltx.media.shown import in_bt709, shown

if TYPE_CHECKING:
    from prefect_ltx.flows.take_row import Take

POSTER_WIDTH = 384

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body{{font:15px/1.5 system-ui,sans-serif;margin:2rem;background:#111;color:#ddd}}
main{{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:1.2rem}}
figure{{margin:0;padding:.8rem;background:#1c1c1c;border-radius:8px;border:2px solid transparent}}
figure.chosen{{border-color:#5b9}} figure.rejected{{opacity:.55}} img{{width:100%;border-radius:4px}}
pre{{white-space:pre-wrap;background:#1c1c1c;padding:1rem;border-radius:8px}} code{{word-break:break-all}}
</style></head><body><h1>{title}</h1><pre>{prompt}</pre><main>{takes}</main>{notes}</body></html>
"""
FIGURE = """<figure class="{kind}"><img alt="take {number}" src="{poster}"><figcaption><b>Take {number}</b>, \
seed {seed}<br>{result}<br>{price}<br><code>{video}</code></figcaption></figure>"""


async def poster_of(video: Path, path: Path) -> str:
    """A small picture of a video, written to `path` and given as a data URI.

    Raises:
        MediaError: the video cannot be decoded.
    """
    info = await asyncio.to_thread(probe, video)
    width, height = within(*info.shown_size, widest=POSTER_WIDTH)
    frames = in_bt709(shown(source(video), info), info).filter("setparams", **BT709).filter("thumbnail", 24)
    # JPEG is read as BT.601, full range.
    frames = frames.filter("scale", width, height, out_color_matrix="bt601", out_range="pc")
    frames = frames.filter("setsar", 1).filter("format", "yuvj420p")
    await run_ffmpeg(target(frames, path=path, **{"q:v": 5, **BITEXACT}))
    return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}"


def comparison_markdown(prompt: str, takes: "Sequence[Take]", posters: Sequence[str]) -> str:
    """The artifact: the pictures in one row, a table below them, the prompt in a code block."""
    row = [
        f"![take {take.number}]({poster})" if poster else "no picture"
        for take, poster in zip(takes, posters, strict=True)
    ]
    lines = [
        "| " + " | ".join(f"Take {take.number}{' (chosen)' if take.chosen else ''}" for take in takes) + " |",
        "|" + "---|" * len(takes),
        "| " + " | ".join(row) + " |",
        "| " + " | ".join(f"seed {take.seed}" for take in takes) + " |",
        "| " + " | ".join(_cell(_result(take)) for take in takes) + " |",
        "| " + " | ".join(f"`{take.generation.folder}`" for take in takes) + " |",
        "",
        code_block(prompt),
    ]
    return "\n".join(lines)


def choice_markdown(takes: "Sequence[Take]", posters: Sequence[str]) -> str:
    """The takes below each other, for the narrow dialog in which a person chooses."""
    return "\n\n".join(
        f"**Take {take.number}**, seed {take.seed}: {in_markdown(_result(take))}\n\n"
        + (f"![take {take.number}]({poster})" if poster else "no picture")
        for take, poster in zip(takes, posters, strict=True)
    )


def comparison_page(
    prompt: str, takes: "Sequence[Take]", posters: Sequence[str], notes: Sequence[str] = ()
) -> str:
    """The same as one HTML file without a script, `notes` below the takes; every text in it is escaped."""
    figures = "".join(
        FIGURE.format(
            kind="chosen" if take.chosen else "rejected" if take.defects else "",
            number=take.number,
            seed=take.seed,
            poster=poster,
            result=escape(_result(take)),
            price=escape(f"{dollars(take.generation.price_expected_usd)}"),
            video=escape(take.generation.video),
        )
        for take, poster in zip(takes, posters, strict=True)
    )
    lines = "".join(f"<p>{escape(each)}</p>" for each in notes)
    return PAGE.format(title=f"{len(takes)} takes", prompt=escape(prompt), takes=figures, notes=lines)


def page_key(group: str, page: bytes) -> str:
    """Where a page lies in the archive: by its content, since nothing there is overwritten."""
    return f"takes/{group[:16]}/{hashlib.sha256(page).hexdigest()[:16]}.html"


def _result(take: "Take") -> str:
    if take.defects:
        return f"rejected: {'; '.join(take.defects)}"
    parts = ["chosen" if take.chosen else "no defect"]
    if take.score is not None:
        parts.append(f"score {take.score:g}")
    if take.skip_frames:
        parts.append(f"shows the sheet for {take.skip_frames} frames")
    return ", ".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ").replace("<", "&lt;")
