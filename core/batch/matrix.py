"""Multiplying rows out: every prompt with every seed with every strength, never beyond a ceiling."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

ALIASES: Final = {"prompts": "prompt", "seeds": "seed", "strengths": "strength"}
_RANGE: Final = re.compile(r"\s*(\d{1,19})\s*\.\.\s*(\d{1,19})\s*")


class MatrixTooLarge(ValueError):
    """The product has more rows than the ceiling; nothing was multiplied out."""

    def __init__(self, sizes: Mapping[str, int], rows: int, most: int) -> None:
        total = rows * math.prod(sizes.values())
        parts = " x ".join(f"{size} {name}" for name, size in sizes.items())
        of_rows = f"{rows} rows x " if rows != 1 else ""
        super().__init__(f"{of_rows}{parts} makes {total:,} requests, and {most:,} is the ceiling")


def values_of(given: Any) -> Sequence[Any]:
    """The values of one axis: a list, `"1..20"` for a range of seeds, or one value.

    Raises:
        ValueError: an empty list, or a range that runs backwards.
    """
    if isinstance(given, str) and (found := _RANGE.fullmatch(given)):
        first, last = int(found[1]), int(found[2])
        if last < first:
            raise ValueError(f"the range {first}..{last} runs backwards")
        return range(first, last + 1)
    if isinstance(given, Sequence) and not isinstance(given, (str, bytes)):
        if not given:
            raise ValueError("an empty list leaves no request")
        return given
    return [given]


def expand(axes: Mapping[str, Sequence[Any]], rows: int, most: int) -> Iterator[dict[str, Any]]:
    """Every combination of the axes, the last one turning fastest; `rows` times these must stay within `most`.

    Raises:
        MatrixTooLarge: at the call, before the first combination is made.
    """
    sizes = {name: len(values) for name, values in axes.items()}
    if rows * math.prod(sizes.values()) > most:
        raise MatrixTooLarge(sizes, rows, most)
    return (dict(zip(axes, each, strict=True)) for each in itertools.product(*axes.values()))
