"""A table's texts as a request's values: what a person writes into a cell, in fal's types."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from prefect_ltx.fal import PRESET_SIZES, IngredientRequest, ReferenceVideoRequest

_YES: Final = frozenset({"true", "yes", "y", "on", "1"})
_NO: Final = frozenset({"false", "no", "n", "off", "0"})
_SIZE: Final = re.compile(r"\s*(\d{1,6})\s*[xX×]\s*(\d{1,6})\s*")
_FIELDS: Final = {**IngredientRequest.model_fields, **ReferenceVideoRequest.model_fields}
_BOOLEANS: Final = frozenset(name for name, field in _FIELDS.items() if field.annotation is bool)


class CellInvalid(ValueError):
    """A cell that cannot be read as what its column holds."""


def cell(name: str, text: str) -> Any:
    """The value of a cell; None where it is empty. Numbers stay texts: the request model reads and checks them.

    Raises:
        CellInvalid: not what the column holds.
    """
    if not text.strip():
        return None
    if name in _BOOLEANS:
        word = text.strip().lower()
        if word not in _YES | _NO:
            raise CellInvalid(f"{text.strip()!r} is neither true nor false")
        return word in _YES
    if name == "extra_arguments":
        try:
            return json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            raise CellInvalid("it is not a JSON object") from None
    if name == "tags":
        return [word for word in re.split(r"[\s,;|]+", text) if word]
    return text


def size(value: Any) -> Any:
    """`1280x720` as width and height; every other resolution unchanged."""
    if isinstance(value, str) and value.strip() not in PRESET_SIZES and (found := _SIZE.fullmatch(value)):
        return {"width": int(found[1]), "height": int(found[2])}
    return value.strip() if isinstance(value, str) else value


def row_from_cells(values: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """A table's row without its empty cells, and what is wrong with which column."""
    row: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name, text in values.items():
        try:
            value = cell(name, text)
        except CellInvalid as error:
            wrong[name] = str(error)
            continue
        if value is not None:
            row[name] = value
    return row, wrong
