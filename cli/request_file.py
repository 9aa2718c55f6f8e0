"""Requests in files: one as JSON, or one a line as JSONL. Media paths in a file are relative to that file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect_ltx.fal import (
    FalRequestInvalid,
    GenerationRequest,
    IngredientRequest,
    ReferenceVideoRequest,
    extra_media,
    parse_request,
)

MEDIA_FIELDS = frozenset({*ReferenceVideoRequest.MEDIA_FIELDS, *IngredientRequest.MEDIA_FIELDS})
ENDPOINTS = {
    model.ENDPOINT.rpartition("/")[2]: model.ENDPOINT for model in (ReferenceVideoRequest, IngredientRequest)
}


class RequestFileError(Exception):
    """A request file that cannot be read. Nothing was sent or spent."""


@dataclass(frozen=True)
class Line:
    """One request of a file: `number` counts lines from 1; either `request` or `error` is there."""

    number: int
    request: GenerationRequest | None = None
    error: str | None = None


def read_request(path: Path, endpoint: str | None = None) -> GenerationRequest:
    """The one request of a JSON file.

    Raises:
        RequestFileError: no file, not JSON, or not one object.
        FalRequestInvalid: a field is wrong; the message has a part for each.
    """
    return _request(_text(path), path, endpoint, str(path))


def read_requests(path: Path, endpoint: str | None = None) -> list[Line]:
    """Every request of a JSON or JSONL file; a bad one is kept as its error, in its place.

    Raises:
        RequestFileError: no such file, or nothing in it.
    """
    text = _text(path)
    if path.suffix.lower() not in (".jsonl", ".ndjson"):
        sources = [(1, text)]
    else:
        sources = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not text.strip():
        raise RequestFileError(f"{path} is empty.")
    return [_line(number, source, path, endpoint) for number, source in sources]


def _line(number: int, source: str, path: Path, endpoint: str | None) -> Line:
    try:
        return Line(number, request=_request(source, path, endpoint, f"{path} line {number}"))
    except (RequestFileError, FalRequestInvalid) as error:
        return Line(number, error=str(error))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise RequestFileError(f"{path} is not a text file in UTF-8.") from None
    except OSError as error:
        raise RequestFileError(f"Cannot read {path}: {error.strerror}.") from None


def _request(source: str, path: Path, endpoint: str | None, where: str) -> GenerationRequest:
    try:
        data = json.loads(source)
    except json.JSONDecodeError as error:
        raise RequestFileError(
            f"{where} is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from None
    if not isinstance(data, dict):
        raise RequestFileError(
            f"{where}: one JSON object is needed, not a {_KINDS.get(type(data), 'value')}."
        )
    return parse_request(_resolved(data, path.absolute().parent), endpoint and ENDPOINTS[endpoint])


def _resolved(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    found = {
        name: _media(value, folder) if name in MEDIA_FIELDS and isinstance(value, str) else value
        for name, value in data.items()
    }
    if isinstance(extras := found.get("extra_arguments"), dict):
        found["extra_arguments"] = extras | {
            name: _media(value, folder) for name, value in extra_media(extras).items()
        }
    return found


def _media(source: str, folder: Path) -> str:
    if not source.strip() or "://" in source or source.startswith("data:"):
        return source
    return str(folder / Path(source).expanduser())


_KINDS = {list: "list", str: "text", int: "number", float: "number", bool: "boolean", type(None): "null"}
