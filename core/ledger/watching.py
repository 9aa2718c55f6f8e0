"""Telling others in this process what the ledger wrote, after it is written.

Watchers are told once the transaction is committed, in the thread that wrote it. They must be quick; one that
raises is a line in the log and changes nothing: money does not wait for whoever looks on.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from prefect_ltx.ledger.life.budget import BudgetStatus
from prefect_ltx.ledger.life.states import State
from prefect_ltx.ledger.records import Generation
from prefect_ltx.ledger.stops import Stop


@dataclass(frozen=True, slots=True)
class Moved:
    """A generation came to `state`; INTENDED where it was planned, or may be sent again.

    `generation` is the row as the transaction left it, which may have gone further than `state`.
    """

    state: State
    generation: Generation


@dataclass(frozen=True, slots=True)
class BudgetLow:
    """A reservation took a limit below `budget.LOW_SHARE`. `period_start` is in Unix seconds, 0 for `total`."""

    ledger_id: str
    status: BudgetStatus
    period_start: float


@dataclass(frozen=True, slots=True)
class SpendingStop:
    """A bill was so far beyond its bound that nothing more is bought until a person has looked at it."""

    ledger_id: str
    stop: Stop
    generation: Generation


News = Moved | BudgetLow | SpendingStop
Watcher = Callable[[News], None]

_watchers: Final[list[Watcher]] = []


def watch(watcher: Watcher) -> None:
    """Tell `watcher` everything that ledgers of this process write from now on. Registering twice has no effect."""
    if watcher not in _watchers:
        _watchers.append(watcher)


def unwatch(watcher: Watcher) -> None:
    """Tell `watcher` nothing more."""
    if watcher in _watchers:
        _watchers.remove(watcher)


def is_watched() -> bool:
    """Whether anybody would be told."""
    return bool(_watchers)


def tell(news: News) -> None:
    """Tell every watcher; never raises."""
    for watcher in tuple(_watchers):
        try:
            watcher(news)
        except Exception as error:
            logging.getLogger(__name__).warning(
                "A watcher of the ledger failed: %s: %s", type(error).__name__, error
            )
