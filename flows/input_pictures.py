"""Small pictures of what requests are made from, for a person who is asked to approve them."""

import asyncio
import base64
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from prefect_ltx.fal import FalRequestInvalid, GenerationRequest
from prefect_ltx.flows.comparison import poster_of
from prefect_ltx.generation import Run
from prefect_ltx.media import MediaError, sniff
from prefect_ltx.media.thumbnail import thumbnail
from prefect_ltx.tasks.context import run_logger

MOST_PICTURES: Final = 12
"""Different inputs that are shown; a page with more of them is slow to open."""
WIDTH: Final = 120


async def pictures_of(run: Run, requests: Sequence[GenerationRequest]) -> list[str]:
    """The inputs of each request as HTML images with data URIs, in their order; empty where nothing can be shown.

    The first `MOST_PICTURES` different inputs have one. An input that cannot be drawn has none, which is no error.
    """
    drawn: dict[str, str] = {}
    found = []
    for request in requests:
        images = []
        try:
            media = await run.inputs.media(request) if request.media() else {}
        except FalRequestInvalid:  # the plan says it in its own words
            media = {}
        for field, each in media.items():
            content = each.digest.content
            if content not in drawn:
                drawn[content] = await _picture(each.path) if len(drawn) < MOST_PICTURES else ""
            if drawn[content]:
                images.append(f'<img width="{WIDTH}" alt="{field}" src="{drawn[content]}">')
        found.append(" ".join(images))
    return found


async def _picture(path: Path) -> str:
    try:
        known = await asyncio.to_thread(sniff, path)
        if known is not None and known.kind == "video":
            with tempfile.TemporaryDirectory() as folder:
                return await poster_of(path, Path(folder) / "poster.jpg")
        data = await asyncio.to_thread(lambda: thumbnail(path.read_bytes()))
    except (MediaError, OSError) as error:
        run_logger().debug("No picture of %s: %s", path.name, type(error).__name__)
        return ""
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}" if data else ""
