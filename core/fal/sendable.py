"""What can be sent to fal, kept in a database and held by a Prefect server; everything else is refused where it is
written.

A database column and Prefect's API hold whole numbers of 64 bits with a sign, JSON has neither NaN nor infinity, and
neither half a character nor NUL can be stored as text.
"""

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final

MOST_WHOLE: Final = 2**63 - 1
"""The largest whole number that is sent; the smallest is -2**63."""
DEEPEST: Final = 64
"""How deep lists and mappings may be nested."""
MOST_PARTS: Final = 2_000_000
"""How many values something may have."""

_LEAST_WHOLE: Final = -(2**63)
_UNSENDABLE: Final = re.compile("[\0\ud800-\udfff]")
# Letters, marks and symbols that have no ink: Hangul fillers, the empty Braille cell, joiners, variation selectors.
_NO_INK: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
_QUOTES: Final = frozenset({('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’"), ("„", "“")})
_EMPTY_CATEGORIES: Final = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})

Path = tuple[str | int, ...]


def is_invisible(character: str) -> bool:
    """Whether a character shows nothing: white space, a control or format character, or one without ink."""
    return character in _NO_INK or unicodedata.category(character) in _EMPTY_CATEGORIES


def is_blank(text: str) -> bool:
    """Whether nothing in the text can be seen."""
    return all(map(is_invisible, text))


def trimmed(text: str) -> str:
    """`text` without what cannot be seen at both ends, such as the non-breaking space of a web page."""
    start, end = 0, len(text)
    while start < end and is_invisible(text[start]):
        start += 1
    while end > start and is_invisible(text[end - 1]):
        end -= 1
    return text[start:end]


def unquoted(text: str) -> str:
    """`text` without the quotation marks around the whole of it, and without what cannot be seen at both ends."""
    text = trimmed(text)
    if len(text) > 1 and (text[0], text[-1]) in _QUOTES:
        return trimmed(text[1:-1])
    return text


def why_not_text(text: str) -> str:
    """Why a text cannot be stored and sent; empty where it can."""
    found = _UNSENDABLE.search(text)
    if found is None:
        return ""
    if found[0] == "\0":
        return "it holds a NUL character, which no database keeps: remove it"
    return (
        f"it holds half a character (U+{ord(found[0]):04X}, as an emoji that was cut in two leaves it): "
        "write it anew"
    )


def why_not_number(number: int | float) -> str:
    """Why a number cannot be stored and sent; empty where it can."""
    if isinstance(number, float):
        return "" if math.isfinite(number) else "NaN and infinity are no numbers of JSON"
    if _LEAST_WHOLE <= number <= MOST_WHOLE:
        return ""
    return f"it is beyond 64 bits: whole numbers go from {_LEAST_WHOLE} to {MOST_WHOLE}"


def unsendable(value: Any) -> Iterator[tuple[Path, str]]:
    """Every part of a JSON-like value that cannot be stored and sent: its path, and why.

    Looks into mappings, lists and tuples, no deeper than `DEEPEST` and at no more than `MOST_PARTS`, so that it ends
    for a value that holds itself.
    """
    # Iterative: how deep somebody's JSON goes is not ours to choose.
    waiting: list[tuple[Path, Any]] = [((), value)]
    parts = 0
    while waiting:
        path, item = waiting.pop()
        parts += 1
        if parts > MOST_PARTS:
            yield (), f"it has more than {MOST_PARTS:,} values"
            return
        if isinstance(item, str):
            if why := why_not_text(item):
                yield path, why
        elif isinstance(item, (int, float)) and not isinstance(item, bool):
            if why := why_not_number(item):
                yield path, why
        elif isinstance(item, (Mapping, list, tuple)):
            if len(path) >= DEEPEST:
                yield path, f"it is nested deeper than {DEEPEST} levels"
                continue
            if isinstance(item, Mapping):
                for name in item:
                    if isinstance(name, str) and (why := why_not_text(name)):
                        yield path, f"a name in it cannot be sent: {why}"
                inner: Any = item.items()
            else:
                inner = enumerate(item)
            waiting += reversed([((*path, key), part) for key, part in inner])
