"""Ranking takes with a function of the user's own, named as `module:object`.

A judge gets the takes without defects and gives one number for each; the highest wins, the earlier of two equal
ones. It may be plain or async, and it only sees files and facts: nothing it does can spend anything here.
"""

import asyncio
import importlib
import inspect
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias


class JudgeError(Exception):
    """The judge cannot be used, or did not judge. Every take is archived; nothing is lost."""


@dataclass(frozen=True)
class JudgedTake:
    """One take as a judge sees it: local files, and what was asked for and found."""

    number: int
    seed: int
    video: Path
    poster: Path
    prompt: str
    request: Mapping[str, Any]
    measures: Mapping[str, float]
    """Figures of quality control, where it looked."""


Judge: TypeAlias = Callable[[Sequence[JudgedTake]], Sequence[float] | Awaitable[Sequence[float]]]


def load_judge(spec: str) -> Judge:
    """The judge that `module:object` names; a class is made without arguments.

    Raises:
        JudgeError: there is no such thing, or it cannot be called.
    """
    module, _, name = spec.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        if inspect.isclass(found):
            found = found()
    except Exception as error:
        raise JudgeError(
            f"the judge {spec!r} cannot be loaded: {type(error).__name__}: {error}. Nothing was sent or spent."
        ) from error
    if not callable(found):
        raise JudgeError(f"the judge {spec!r} cannot be called. Nothing was sent or spent.")
    judge: Judge = found
    return judge


async def judged(judge: Judge, takes: Sequence[JudgedTake]) -> list[float]:
    """One finite number a take.

    Raises:
        JudgeError: it raised, or gave anything else.
    """
    try:
        answer = await asyncio.to_thread(judge, takes)
        scores = [float(each) for each in (await answer if inspect.isawaitable(answer) else answer)]
    except Exception as error:
        raise JudgeError(
            f"the judge failed: {type(error).__name__}: {error}. All takes are archived and paid for once: put the "
            "judge right and run again, or run without one."
        ) from error
    if len(scores) != len(takes) or not all(map(math.isfinite, scores)):
        raise JudgeError(
            f"the judge gave {scores!r} for {len(takes)} takes: one finite number each is needed. All takes are "
            "archived and paid for once: put the judge right and run again."
        )
    return scores
