"""A finished request's output as a client sees it: file paths become URLs of the way it came, or data
URIs."""

import asyncio
import base64
import json
from typing import Any

from prefect_ltx.local.filestore import FileStore
from prefect_ltx.local.origin import Origin
from prefect_ltx.local.rows import RequestRow
from prefect_ltx.local.work import INLINE


def is_inline(row: RequestRow) -> bool:
    """Whether the clip is delivered inside the answer (`sync_mode`)."""
    return _video_url(row).startswith(INLINE)


async def output_of(row: RequestRow, origin: Origin, files: FileStore) -> dict[str, Any]:
    """The model's answer, or its error body."""
    output: dict[str, Any] = json.loads(row.output or "{}")
    url = _video_url(row)
    if url.startswith(INLINE):
        file = await files.find(url.removeprefix(INLINE))
        if file is not None:
            data = await asyncio.to_thread(files.disk(file).read_bytes)
            encoded = await asyncio.to_thread(base64.b64encode, data)
            output["video"]["url"] = f"data:{file.content_type};base64,{encoded.decode()}"
    elif url:
        output["video"]["url"] = origin.url("cdn", url)
    return output


def _video_url(row: RequestRow) -> str:
    output = json.loads(row.output or "{}")
    video = output.get("video")
    return str(video.get("url", "")) if isinstance(video, dict) else ""
