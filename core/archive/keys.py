"""Names in the archive: safe segments joined by `/`, the same on a disk and in a bucket."""

import re
import unicodedata
from datetime import UTC, datetime
from typing import Final

from prefect_ltx.archive.errors import ArchiveKeyInvalid

MANIFEST_NAME: Final = "manifest.json"
GALLERY_NAME: Final = "index.html"
THUMBNAILS: Final = ".thumbnails/"
"""Where the gallery keeps the small pictures that it made of posters; hidden as marks are."""
MARKS: Final = ".ledgers/"
"""Where `marks` are; hidden, so that no reader of the archive takes it for a generation's folder."""

WEB_ADDRESS: Final = r"https?://[^\s?#@/]+(/[^\s?#]*)?"
"""An address that may be stored with an artifact: without a user, and without a query that a signature could be in."""

_SEGMENT_BYTES = 200  # file systems allow 255, and temporary names need room
_KEY_BYTES = 900  # S3 allows 1024, prefix included
_FORBIDDEN = set('\\:*?"<>|')  # not names on every system this archive may be copied to


def check_key(key: str) -> str:
    """Return `key` if it is safe to use: relative, no `..`, no hidden, empty, overlong or unprintable part.

    Raises:
        ArchiveKeyInvalid: it is not.
    """
    if len(key.encode(errors="replace")) > _KEY_BYTES:
        raise ArchiveKeyInvalid(f"An archive key is longer than {_KEY_BYTES} bytes")
    for segment in key.split("/"):
        problem = _problem(segment)
        if problem:
            raise ArchiveKeyInvalid(f"{key!a} cannot be an archive key: a part of it {problem}")
    return key


def check_web_address(url: str) -> str:
    """Return `url` if links to files may begin with it.

    Raises:
        ArchiveKeyInvalid: it is not.
    """
    if not re.fullmatch(WEB_ADDRESS, url):
        raise ArchiveKeyInvalid(
            "The archive's web address (PREFECT_LTX_ARCHIVE_URL, or the block's) has to be http(s)://host/path "
            "without a user or a query: artifacts keep it, and with it what is secret in it",
            next_step="Correct it, or leave it empty",
        )
    return url


def folder_for(key: str, endpoint: str, when: datetime) -> str:
    """Return a generation's folder, such as `2026/11/21/ingredient-0f3a…` (first 16 characters of `key`).

    The same arguments give the same folder, so pass the time at which the generation was begun.
    """
    name = re.sub(r"[^a-z0-9]+", "-", endpoint.rsplit("/", 1)[-1].lower()).strip("-") or "generation"
    short = re.sub(r"[^A-Za-z0-9]+", "-", key)[:16].strip("-")
    if not short or when.tzinfo is None:
        raise ArchiveKeyInvalid("A generation's folder needs a key and a time with a time zone")
    return check_key(f"{when.astimezone(UTC):%Y/%m/%d}/{name[:60]}-{short}")


def _problem(segment: str) -> str | None:
    if not segment:
        return "is empty"
    if segment.startswith(".") or segment != segment.strip() or segment.endswith("."):
        return "begins or ends with a dot or a space"
    if len(segment.encode(errors="replace")) > _SEGMENT_BYTES:
        return f"is longer than {_SEGMENT_BYTES} bytes"
    if any(unicodedata.category(character)[0] == "C" for character in segment):
        return "holds a control character"
    if _FORBIDDEN & set(segment):
        return 'holds one of \\ : * ? " < > |'
    return None
