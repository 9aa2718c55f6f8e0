"""Answers in which a field is missing or holds what nobody expected; what is stored stays good.

A field is named by its place, with dots: `seed`, `video.file_size`, `items.0.json_input`; `*` is every entry of
a list. In the text that stands there instead, `{value}` is what was there and `{url}` the clip's URL; a text that
is nothing but `{value}` keeps its type.
"""

import copy
from collections.abc import Iterable
from typing import Any

from prefect_ltx.local.faults import Fault


def odd(answer: Any, faults: Iterable[Fault], *, url: str = "") -> Any:
    """A copy of `answer` as these faults (`odd_result`, `odd_number`, `odd_answer`) make it."""
    answer = copy.deepcopy(answer)
    for fault in faults:
        if fault.field is None:
            answer = _filled(fault.to, answer, url)
        else:
            _change(answer, fault.field.split("."), fault, url)
    return answer


def _change(part: Any, place: list[str], fault: Fault, url: str) -> None:
    key, *rest = place
    if isinstance(part, list):
        for index in range(len(part)) if key == "*" else [int(key)] if key.isdigit() else []:
            if index < len(part):
                _change_at(part, index, rest, fault, url)
    elif isinstance(part, dict) and (key in part or not rest):
        _change_at(part, key, rest, fault, url)


def _change_at(part: Any, key: Any, rest: list[str], fault: Fault, url: str) -> None:
    if rest:
        _change(part[key], rest, fault, url)
    elif fault.name == "odd_number":
        part[key] = part[key] + int(fault.value or 0)
    elif not fault.removes:
        part[key] = _filled(fault.to, part.get(key) if isinstance(part, dict) else part[key], url)
    elif isinstance(part, dict):
        part.pop(key, None)
    else:
        part[key] = None  # an entry of a list: those after it keep their places


def _filled(to: Any, value: Any, url: str) -> Any:
    if to == "{value}":
        return value
    if isinstance(to, str):
        return to.replace("{value}", str(value)).replace("{url}", url)
    if isinstance(to, list):
        return [_filled(entry, value, url) for entry in to]
    if isinstance(to, dict):
        return {key: _filled(entry, value, url) for key, entry in to.items()}
    return to
