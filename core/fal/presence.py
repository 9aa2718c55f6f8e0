"""Whether a file is still where it was: one byte is asked for, without the key and without a bill."""

import httpx

from prefect_ltx.fal.transport import Transport
from prefect_ltx.fal.urls import why_not_fetchable

_MAX_REDIRECTS = 3


async def is_there(transport: Transport, url: str) -> bool:
    """Whether the server gives out the file behind `url` now. False also where nobody can be asked: what is not
    known to be there is not relied on.
    """
    for _ in range(_MAX_REDIRECTS + 1):
        if why_not_fetchable(url):
            return False
        try:
            async with transport.stream(url, {"Range": "bytes=0-0", "Accept-Encoding": "identity"}) as (
                response,
                _,
            ):
                if response.is_redirect:
                    url = str(httpx.URL(url).join(response.headers.get("location", "")))
                    continue
                page = response.headers.get("content-type", "").strip().lower().startswith("text/html")
                return response.status_code in (200, 206) and not page
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, ValueError):
            return False
    return False
