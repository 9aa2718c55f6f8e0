"""Text from outside made fit for a message: one line, no secret, no query string, bounded length.

Every message of this package goes through `plain`, because fal's own texts quote the input URLs that they
could not read, and those may be signed.
"""

import re
from typing import Final
from urllib.parse import urlsplit

_URL: Final = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s\"'<>`]+")
_DATA_URI: Final = re.compile(r"\bdata:[\w.+/;=-]*,[^\s\"'<>`]*", re.IGNORECASE)
# With a digit in it, as every real one has: "Invalid Key Authorization header" is a sentence of fal's.
_CREDENTIAL: Final = re.compile(
    r"\b(key|bearer|basic|token)\s+(?=[^\s\"',;]*\d)[^\s\"',;]{8,}", re.IGNORECASE
)
_FAL_KEY: Final = re.compile(r"\b[0-9a-fA-F]{8}-[0-9a-fA-F-]{18,}:[0-9a-fA-F]{8,}")


def strip_url(url: str) -> str:
    """`url` without user info, query and fragment; a data URI keeps its media type only."""
    if url[:5].lower() == "data:":
        return url.partition(",")[0].partition(";")[0] + ";…"
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "<unreadable URL>"
    # Without a host too: sqlite:////data/ledger.db and file:///videos are nothing else than before.
    named = parts.scheme and url.lstrip()[len(parts.scheme) :].startswith("://")
    return f"{parts.scheme}://{host}{parts.path}" if named else parts.path


def plain(text: object, limit: int = 500) -> str:
    """`text` as one line of at most `limit` characters, without credentials and without URL queries."""
    line = " ".join(str(text).split())
    line = _DATA_URI.sub(lambda found: strip_url(found[0]), line)
    line = _URL.sub(lambda found: strip_url(found[0]), line)
    line = _FAL_KEY.sub("<key>", line)
    line = _CREDENTIAL.sub(lambda found: f"{found[1]} <hidden>", line)
    return line if len(line) <= limit else line[: limit - 1] + "…"
