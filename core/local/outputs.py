"""A finished request's output as a client sees it: file paths become URLs of the way it came, or data URIs, and
what the knobs make odd is odd wherever it is read."""

import asyncio
import base64
import json
from typing import Any

from prefect_ltx.local.oddities import odd
from prefect_ltx.local.origin import Origin
from prefect_ltx.local.rows import RequestRow
from prefect_ltx.local.site import Site
from prefect_ltx.local.work import INLINE


def is_inline(row: RequestRow) -> bool:
    """Whether the clip is delivered inside the answer (`sync_mode`)."""
    return _video_url(row).startswith(INLINE)


async def output_of(row: RequestRow, origin: Origin, site: Site) -> Any:
    """The model's answer, or its error body. An object, unless a knob says otherwise."""
    output: dict[str, Any] = json.loads(row.output or "{}")
    url = _video_url(row)
    if url.startswith(INLINE):
        file = await site.files.find(url.removeprefix(INLINE))
        if file is not None:
            data = await asyncio.to_thread(site.files.disk(file).read_bytes)
            encoded = await asyncio.to_thread(base64.b64encode, data)
            output["video"]["url"] = f"data:{file.content_type};base64,{encoded.decode()}"
    elif url:
        output["video"]["url"] = origin.url("cdn", url)
    if row.status_code != 200:
        return output
    oddities = site.faults.holding(("odd_result", "odd_number"), row.request_id, endpoint=row.endpoint)
    return odd(output, oddities, url=output["video"]["url"])


def _video_url(row: RequestRow) -> str:
    output = json.loads(row.output or "{}")
    video = output.get("video")
    return str(video.get("url", "")) if isinstance(video, dict) else ""
