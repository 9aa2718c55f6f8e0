"""Media in `extra_arguments`, the inputs that fal added and this version does not know by name.

A `…_url` field at the top is a media input like the documented ones: uploaded, and known by its content. A URL or
path deeper inside can be neither, so one that would make two purchases of one request, or show a signature, is
refused.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from prefect_ltx.fal.safe_text import strip_url

_SCHEMES: Final = ("http", "https", "s3", "gs", "file", "ftp")
_PATH_STARTS: Final = ("/", "./", "../", "~/", ".\\", "..\\", "\\\\")
_REMEDY: Final = (
    "it would be sent as it is and could not be told from another one. Put the file on a server that gives it an "
    "address for good, without a query, and name that"
)


def extra_media(extras: Mapping[str, Any]) -> dict[str, str]:
    """The media fields at the top of `extras`: names that end in `_url`, with what they name."""
    return {
        name: value
        for name, value in extras.items()
        if _names_media(name) and isinstance(value, str) and value.strip()
    }


def refuse_hidden_media(extras: Mapping[str, Any]) -> None:
    """Refuse addresses that cannot be uploaded from where they stand.

    Raises:
        ValueError: naming the place, never the address.
    """
    for name, value in extras.items():
        if _names_media(name) and isinstance(value, str):
            if not value.strip():
                raise ValueError(f"extra_arguments.{name} is blank: give a URL or a path, or leave it out")
            continue
        for place, field, text in _texts(value, f"extra_arguments.{name}", name):
            _refuse(place, field, text)


def redacted(value: Any) -> Any:
    """`value` as it may be shown: every URL in it without user info, query and fragment."""
    match value:
        case str():
            return strip_url(value) if _is_address(value) else value
        case Mapping():
            return {name: redacted(item) for name, item in value.items()}
        case list() | tuple():
            return [redacted(item) for item in value]
        case _:
            return value


def _refuse(place: str, field: str, text: str) -> None:
    if text[:5].lower() == "data:":
        raise ValueError(f"{place} holds a data URI: {_REMEDY}")
    try:
        parts = urlsplit(text.strip())
        in_web = parts.scheme.lower() in ("http", "https") and "://" in text
        hidden = bool(parts.query or parts.fragment or "@" in parts.netloc)
    except ValueError:
        raise ValueError(f"{place} holds a URL that cannot be read") from None
    if in_web and hidden:
        raise ValueError(f"{place} holds a URL with a query, which may be a signature: {_REMEDY}")
    media_like = _names_media(field) or field.endswith(("_urls", "url", "urls"))
    if not in_web and (
        (_is_address(text) and parts.scheme) or (media_like and text.strip().startswith(_PATH_STARTS))
    ):
        raise ValueError(f"{place} holds a place that fal cannot read: {_REMEDY}")


def _texts(value: Any, place: str, field: str) -> Iterator[tuple[str, str, str]]:
    # Iterative: how deep JSON goes is not ours to choose.
    waiting = [(place, field, value)]
    while waiting:
        where, name, item = waiting.pop()
        match item:
            case str():
                yield where, name, item
            case Mapping():
                waiting += [(f"{where}.{key}", str(key), each) for key, each in item.items()]
            case list() | tuple():
                waiting += [(f"{where}[{index}]", name, each) for index, each in enumerate(item)]


def _names_media(name: str) -> bool:
    return name.lower().endswith("_url")


def _is_address(text: str) -> bool:
    start = text.lstrip()[:5000]
    return start[:5].lower() == "data:" or (start.partition("://")[0].lower() in _SCHEMES and "://" in start)
