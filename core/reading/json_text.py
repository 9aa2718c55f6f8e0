"""JSON, strictly: no name twice, no number or text that cannot be kept and sent, bounded depth and size.

The parser is Python's own. Where something is wrong, and only then, a second reading finds the places.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from prefect_ltx.fal.sendable import DEEPEST, MOST_PARTS, why_not_number, why_not_text
from prefect_ltx.reading.document import Document, why_shortened
from prefect_ltx.reading.problems import Fault, Path, Place, Unreadable
from prefect_ltx.reading.texts import check_text

_LONGEST_WHOLE: Final = 20
_EXACT: Final = 2**53
_COLON: Final = re.compile(r"[ \t\n\r]*:")
_TOKEN: Final = re.compile(r'[ \t\n\r]*(?:([{}\[\],:])|("(?:[^"\\]|\\.)*")|([^\s{}\[\],:"]+))', re.DOTALL)


class _Twice(dict[str, Any]):
    """A mapping in which names were given more than once."""

    names: tuple[str, ...] = ()


class _Refused:
    """A number that is not taken."""

    def __init__(self, why: str) -> None:
        self.why = why


class _Exponent(float):
    """A whole number that was written with an exponent."""

    text = ""


def read_json(text: str) -> Document:
    """The document in `text`.

    Raises:
        Unreadable: it is not JSON, or nested too deeply or too large to be anything of ours.
    """
    check_text(text)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_mapping,
            parse_int=_whole,
            parse_float=_fraction,
            parse_constant=lambda name: _Refused(f"{name} is no number of JSON"),
        )
    except json.JSONDecodeError as error:
        raise Unreadable(f"not JSON: {error.msg}", Place(error.lineno, error.colno)) from None
    except RecursionError:
        raise Unreadable(f"it is nested deeper than {DEEPEST} levels") from None
    holder = [value]
    faults = _settled(holder)
    return Document(holder[0], faults, lambda: _places(text))


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    twice = _Twice(found)
    counted = Counter(name for name, _ in pairs)
    twice.names = tuple(name for name, count in counted.items() if count > 1)
    return twice


def _whole(text: str) -> int | _Refused:
    if len(text) > _LONGEST_WHOLE:
        return _Refused(why_not_number(10**20) + f"; this one has {len(text.lstrip('-'))} digits")
    return int(text)


def _fraction(text: str) -> float | _Refused:
    value = float(text)
    if why := why_not_number(value):
        return _Refused(f"{text[:40]} is larger than any number that can be sent: {why}")
    if not value.is_integer():
        return value
    if "e" in text or "E" in text:
        found = _Exponent(value)
        found.text = text
        return found
    if abs(value) >= _EXACT and Decimal(text) != Decimal(value):
        return _Refused(f"{text[:40]} is not exact with a decimal point: write its digits alone")
    return value


def _settled(holder: list[Any]) -> list[Fault]:
    """Every fault of what the list holds; our own marks in it are replaced by plain values."""
    faults: list[Fault] = []
    waiting: list[tuple[Any, Any, Path]] = [(holder, 0, ())]
    parts = 0
    while waiting:
        parent, key, path = waiting.pop()
        value = parent[key]
        parts += 1
        if parts > MOST_PARTS:
            raise Unreadable(f"it has more than {MOST_PARTS:,} values")
        if isinstance(value, str):
            if why := why_not_text(value):
                faults.append(Fault(path, why))
        elif isinstance(value, _Refused):
            faults.append(Fault(path, value.why))
        elif isinstance(value, _Exponent):
            if why := why_shortened(path, value.text, value):
                faults.append(Fault(path, why))
            parent[key] = float(value)
        elif isinstance(value, int) and (why := why_not_number(value)):
            faults.append(Fault(path, why))
        elif isinstance(value, (dict, list)):
            if len(path) >= DEEPEST:
                raise Unreadable(f"it is nested deeper than {DEEPEST} levels")
            names = value if isinstance(value, dict) else range(len(value))
            if isinstance(value, dict):
                faults += [
                    Fault(path, f"a name in it: {why}") for name in value if (why := why_not_text(name))
                ]
            if isinstance(value, _Twice):
                faults += [
                    Fault((*path, name), "is there twice; one of them has to go") for name in value.names
                ]
            waiting += [(value, name, (*path, name)) for name in reversed(list(names))]
    return faults


def _places(text: str) -> Mapping[Path, Place]:
    """Where each value begins, of a name that is given twice the last one. `text` is JSON."""
    places: dict[Path, Place] = {}
    # Of each list or mapping around: the position or name of the part that is being read, None before a name.
    around: list[str | int | None] = []
    line, counted, start = 1, 0, 0
    in_mapping: list[bool] = []
    for token in _TOKEN.finditer(text):
        mark, string, _ = token.groups()
        at = token.end() - len(mark or string or token[3])
        if mark == ",":
            around[-1] = None if in_mapping[-1] else around[-1] + 1  # type: ignore[operator]
            continue
        if mark == ":":
            continue
        if mark in ("}", "]"):
            around.pop()
            in_mapping.pop()
            continue
        if around and around[-1] is None:
            around[-1] = json.loads(string) if string else None
        line += text.count("\n", counted, at)
        start = text.rfind("\n", counted, at) + 1 or start
        counted = at
        path = tuple(each for each in around if each is not None)
        if string and in_mapping and in_mapping[-1] and _COLON.match(text, token.end()):
            places[path] = Place(line, at - start + 1)
            continue
        places.setdefault(path, Place(line, at - start + 1))
        if mark in ("{", "["):
            around.append(None if mark == "{" else 0)
            in_mapping.append(mark == "{")
    return places
