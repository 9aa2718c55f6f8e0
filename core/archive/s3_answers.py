"""Whether an answer is S3's own: a proxy's login page with status 200 is neither an empty bucket nor a success.

botocore reads what it finds in an answer and passes over what is missing, so that HTML, or nothing at all, becomes a
listing without files. Each answer that is acted on has fields that every S3 server sends; without them it proves
nothing, and counts as S3 being unavailable (media-and-storage §1).
"""

import re
from collections.abc import Mapping
from typing import Any, Final

_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "list_objects_v2": ("Name", "IsTruncated"),
    "list_multipart_uploads": ("Bucket", "IsTruncated"),
    "create_multipart_upload": ("UploadId",),
    "complete_multipart_upload": ("ETag",),
    "upload_part": ("ETag",),
    "put_object": ("ETag",),
    "head_object": ("ETag", "ContentLength"),
    "get_object": ("ETag", "ContentLength"),
}
_NEXT: Final[Mapping[str, tuple[str, ...]]] = {
    "list_objects_v2": ("NextContinuationToken",),
    "list_multipart_uploads": ("NextKeyMarker", "NextUploadIdMarker"),
}
_MD5: Final = re.compile(r'"?[0-9a-fA-F]{32}(-[0-9]+)?"?')
_MOST_EMPTY_PAGES: Final = 100


class NotS3Answer(OSError):
    """Something answered that is not S3, or only half of S3's answer came: the same request may work later."""


def check_answer(method: str, answer: Mapping[str, Any]) -> None:
    """Pass what S3 itself answered.

    Raises:
        NotS3Answer: it is something else.
    """
    missing = [name for name in _FIELDS.get(method, ()) if answer.get(name) in (None, "")]
    if missing:
        raise NotS3Answer(f"without {missing[0]}")
    told = answer.get("ResponseMetadata", {})
    if told.get("HTTPStatusCode") == 204:
        return  # no content, so no page either: deleted, aborted
    headers = told.get("HTTPHeaders", {})
    # A page with an ETag of its own: S3's is an MD5, or comes with S3's headers.
    page = str(headers.get("content-type", "")).startswith("text/html")
    own = any(name.startswith("x-amz-") for name in headers) or _MD5.fullmatch(str(answer.get("ETag", "")))
    if page and not own:
        raise NotS3Answer("a page")


class Pages:
    """The pages of a listing: each has to lead on, and to an end."""

    def __init__(self, method: str, prefix: str) -> None:
        """`prefix` is what every key begins with."""
        self._method, self._prefix = method, prefix
        self._seen: set[tuple[str, ...]] = set()
        self._empty = 0

    def entries(self, answer: Mapping[str, Any], name: str, *fields: str) -> list[Mapping[str, Any]]:
        """The entries of a page, each with these fields and with a key below the prefix.

        Raises:
            NotS3Answer: they are not what was asked for.
        """
        found = answer.get(name) or []
        for each in found:
            if any(each.get(field) is None for field in ("Key", *fields)):
                raise NotS3Answer("an entry without its fields")
            if not each["Key"].startswith(self._prefix):
                raise NotS3Answer("an entry that was not asked for")
        self._empty = 0 if found else self._empty + 1
        return list(found)

    def following(self, answer: Mapping[str, Any]) -> tuple[str, ...] | None:
        """What leads to the next page; None after the last.

        Raises:
            NotS3Answer: it says that there is more, and not where, or leads back.
        """
        if not answer["IsTruncated"]:
            return None
        token = tuple(str(answer.get(name) or "") for name in _NEXT[self._method])
        if not token[0]:
            raise NotS3Answer("a listing that is cut off")
        if token in self._seen or self._empty > _MOST_EMPTY_PAGES:
            raise NotS3Answer("a listing without an end")
        self._seen.add(token)
        return token
