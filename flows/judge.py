"""Ranking takes with a function of the user's own, named as `module:object`.

A judge gets the takes without defects and gives one number for each; the highest wins, the earlier of two equal
ones. It may be plain or async, and it only sees files and facts: nothing it does can spend anything here.
"""

import asyncio
import importlib
import importlib.metadata
import inspect
import math
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from prefect_ltx.places import in_workers_run
from prefect_ltx.settings import Settings


class JudgeError(Exception):
    """The judge cannot be used, or did not judge. Every take is archived; nothing is lost."""


JUDGES: Final = "prefect_ltx.judges"
"""The group of entry points by which an installed package offers judges."""


def allowed_judges() -> set[str]:
    """The judges, as `module:object`, that the owner of this process allows."""
    offered = {each.value for each in importlib.metadata.entry_points(group=JUDGES)}
    return offered | set(Settings().judges.replace(",", " ").split())


def _may_be_own(module: str) -> bool:
    """Whether a caller's own code may be behind a name: not in a worker's run, and never where it is Python's own."""
    return not in_workers_run() and module.partition(".")[0] not in sys.stdlib_module_names


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


def load_judge(spec: str, *, named_in_code: bool = False) -> Judge:
    """The judge that `module:object` names; a class is made without arguments.

    What is imported is for the owner of the process to say: `PREFECT_LTX_JUDGES`, or an entry point of an installed
    package. Only code that calls a flow itself, and a person at a shell (`named_in_code`), may name another module of
    their own; whoever fills in a form or writes a storyboard may not.

    Raises:
        JudgeError: it is not allowed, there is no such thing, or it cannot be called.
    """
    module, _, name = spec.partition(":")
    if spec not in allowed_judges() and not (named_in_code and _may_be_own(module)):
        raise JudgeError(
            f"the judge {spec[:200]!a} is not one that this worker's owner allows. Nothing was sent or spent. Add it "
            "to PREFECT_LTX_JUDGES in the worker's environment, or install a package with it as an entry point of the "
            f"group {JUDGES}."
        )
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
