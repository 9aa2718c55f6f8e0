"""Text from outside made fit for a message (one line, no secret, no query string, bounded) and for storing.

Every message of this package goes through `plain`, because fal's own texts quote the input URLs that they
could not read, and those may be signed.
"""

import math
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from pydantic import JsonValue

_URL: Final = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s\"'<>`]+")
_WEB: Final = ("http", "https", "s3", "file")
_QUERY: Final = re.compile(r"[?#]")
_AUTHORITY: Final = re.compile(r"([^/?#]*@)?[^/?#:@]*(:\d*)?([/?#]|$)")
_DATA_URI: Final = re.compile(r"\bdata:[\w.+/;=-]*,[^\s\"'<>`]*", re.IGNORECASE)
# With a digit in it, as every real one has: "Invalid Key Authorization header" is a sentence of fal's.
_CREDENTIAL: Final = re.compile(
    r"\b(key|bearer|basic|token)\s+(?=[^\s\"',;]*\d)[^\s\"',;]{8,}", re.IGNORECASE
)
_FAL_KEY: Final = re.compile(r"\b[0-9a-fA-F]{8}-[0-9a-fA-F-]{18,}:[0-9a-fA-F]{8,}")
_UNSTORABLE: Final = re.compile("[\\x00\ud800-\udfff]")
_INT64: Final = 2**63
_DEEPEST: Final = 64


def strip_url(url: str) -> str:
    """`url` without user info, query and fragment; a data URI keeps its media type only."""
    if url[:5].lower() == "data:":
        return url.partition(",")[0].partition(";")[0] + ";…"
    scheme, _, rest = url.partition("://")
    if "@" in rest:
        # A password that holds / ? # or @ as they are ends the address for every parser, and its tail is what follows.
        before = _QUERY.split(rest, maxsplit=1)[0]
        if scheme.lower() in _WEB:
            unclear = not _AUTHORITY.match(rest)
        else:
            unclear = "@" in rest[len(before) :] and ("@" in before or not _AUTHORITY.match(rest))
            before = before.rpartition("@")[2]
            url = f"{scheme}://{before}"
        if unclear:
            return f"{scheme}://…"
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


def storable(text: str) -> str:
    """`text` as every database, JSON reader and file takes it: no NUL, half surrogate pairs replaced."""
    return _UNSTORABLE.sub(lambda found: "" if found[0] == "\0" else "\ufffd", text)


def storable_json(value: object, *, depth: int = _DEEPEST) -> JsonValue:
    """JSON from outside as it can be stored: texts storable; numbers that no column holds, and what is nested
    deeper than anything of fal's, become null."""
    if isinstance(value, str):
        return storable(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -_INT64 <= value < _INT64 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth == 0:
        return None
    if isinstance(value, Mapping):
        return {storable(str(name)): storable_json(inner, depth=depth - 1) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [storable_json(inner, depth=depth - 1) for inner in value]
    return None
