"""JSON as fal's answers may hold it, read without raising: one odd number or byte must not hide a paid video."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

NOT_JSON: Final = object()

_LONGEST_NUMBER: Final = 100


def read_json(body: bytes, *, exact: bool = False) -> Any:
    """`body` as a JSON value; `NOT_JSON` where it is not JSON.

    Bytes that are not UTF-8 become U+FFFD. A number of more than 100 characters becomes its first ones as text,
    NaN and infinity become null. `exact` gives Decimal in place of float: for money.
    """
    try:
        return _parsed(body, exact)
    except UnicodeDecodeError:
        pass
    except (ValueError, RecursionError):
        return NOT_JSON
    try:
        return _parsed(body.decode("utf-8", "replace"), exact)
    except (ValueError, RecursionError):
        return NOT_JSON


def _parsed(body: bytes | str, exact: bool) -> Any:
    fraction: Callable[[str], Any] = Decimal if exact else float
    return json.loads(
        body,
        parse_int=lambda text: int(text) if len(text) <= _LONGEST_NUMBER else _cut(text),
        parse_float=lambda text: fraction(text) if len(text) <= _LONGEST_NUMBER else _cut(text),
        parse_constant=lambda _: None,
    )


def _cut(text: str) -> str:
    return f"{text[:20]}… ({len(text)} characters)"
