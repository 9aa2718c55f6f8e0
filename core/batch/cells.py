"""A table's texts as a request's values: what a person writes into a cell, in fal's types."""

import functools
import re
from collections.abc import Mapping
from typing import Any, Final

from prefect_ltx.fal import PRESET_SIZES, GenerationRequest, endpoint_models
from prefect_ltx.fal.sendable import is_blank, trimmed
from prefect_ltx.reading import Unreadable, read_json

_YES: Final = frozenset({"true", "yes", "y", "on", "1"})
_NO: Final = frozenset({"false", "no", "n", "off", "0"})
_SIZE: Final = re.compile(r"(\d{1,6})\s*(?:[xX×*]|by)\s*(\d{1,6})", re.ASCII)
_DECIMAL_COMMA: Final = re.compile(r"[-+]?\d{1,40},\d{1,40}", re.ASCII)
_TEXTS: Final = frozenset({"prompt", "negative_prompt"})


class CellInvalid(ValueError):
    """A cell that cannot be read as what its column holds."""


def cell(name: str, text: str, *, decimal_comma: bool = False) -> Any:
    """The value of a cell; None where it is empty. Numbers stay texts: the request model reads and checks them.

    Raises:
        CellInvalid: not what the column holds.
    """
    if is_blank(text):
        return None
    short = trimmed(text)
    if name in _of_type(endpoint_models(), bool):
        word = short.lower()
        if word not in _YES | _NO:
            raise CellInvalid(f"{short[:40]!r} is neither true nor false")
        return word in _YES
    if name == "extra_arguments":
        return _json(short)
    if name == "tags":
        return [word for word in re.split(r"[\s,;|]+", short) if word]
    if (
        decimal_comma
        and (name in _of_type(endpoint_models(), float) or name == "strength")
        and _DECIMAL_COMMA.fullmatch(short)
    ):
        return short.replace(",", ".")
    return text if name in _TEXTS else short


def size(value: Any) -> Any:
    """`1280x720` as width and height; every other resolution unchanged."""
    if not isinstance(value, str):
        return value
    text = trimmed(value)
    if text not in PRESET_SIZES and (found := _SIZE.fullmatch(text)):
        return {"width": int(found[1]), "height": int(found[2])}
    return text


def row_from_cells(
    values: Mapping[str, str], *, decimal_comma: bool = False
) -> tuple[dict[str, Any], dict[str, str]]:
    """A table's row without its empty cells, and what is wrong with which column."""
    row: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name, text in values.items():
        try:
            value = cell(name, text, decimal_comma=decimal_comma)
        except CellInvalid as error:
            wrong[name] = str(error)
            continue
        if value is not None:
            row[name] = value
    return row, wrong


@functools.cache
def _of_type(models: tuple[type[GenerationRequest], ...], kind: type) -> frozenset[str]:
    """The fields of that type."""
    return frozenset(
        name for model in models for name, field in model.model_fields.items() if field.annotation is kind
    )


def _json(text: str) -> Any:
    try:
        document = read_json(text)
        document.refuse_faults()
    except Unreadable as error:
        raise CellInvalid(f"it is not a JSON object that can be sent: {error}") from None
    return document.value
