"""Whether a URL that came from outside can be fetched at all, said before anything tries."""

from typing import Final
from urllib.parse import urlsplit

import httpx

from prefect_ltx.fal.errors import FalDownloadError
from prefect_ltx.fal.safe_text import strip_url

_LONGEST: Final = 32_768
_LONGEST_HOST: Final = 253


def why_not_fetchable(url: str) -> str:
    """What is wrong with `url` (http, https or a data URI), in a few words; empty where nothing is.

    Whatever passes raises neither InvalidURL nor UnicodeError nor OverflowError when it is called.
    """
    if url[:5].lower() == "data:":
        return "" if "," in url else "a data URI without data"
    if len(url) > _LONGEST:
        return f"longer than {_LONGEST} characters"
    try:
        urlsplit(url)  # refuses brackets that httpx lets through
        parsed = httpx.URL(url)
        host = parsed.raw_host.decode("ascii")
    except (httpx.InvalidURL, ValueError, TypeError):
        return "not a valid URL"
    if parsed.scheme not in ("http", "https"):
        return "neither http nor https"
    if not host or len(host) > _LONGEST_HOST:
        return "no usable host"
    if parsed.port is not None and not 0 < parsed.port < 65_536:
        return f"port {parsed.port} does not exist"
    try:
        # What the resolver will do: it refuses empty labels and labels over 63 characters.
        host.encode("idna")
    except UnicodeError:
        return "a host name that does not exist"
    return ""


def redirected(url: str, location: str) -> str:
    """Where a redirect from `url` leads.

    Raises:
        FalDownloadError: not to an address that can be fetched, or away from TLS.
    """
    try:
        target = httpx.URL(url).join(location)
    except (httpx.InvalidURL, ValueError):
        raise FalDownloadError(f"{strip_url(url)} redirects to something that is no URL") from None
    if why := why_not_fetchable(str(target)):
        raise FalDownloadError(f"{strip_url(url)} redirects to an address that cannot be fetched: {why}")
    if httpx.URL(url).scheme == "https" and target.scheme != "https":
        raise FalDownloadError(f"{strip_url(url)} redirects to an address without TLS")
    return str(target)
