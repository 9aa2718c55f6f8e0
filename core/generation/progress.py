"""How the engine tells what it is doing: to the terminal, to a Prefect artifact, to a test that kills it there.

Observers are called in the thread that does the work and must be quick. One that raises ends the work: that is
how a test stops the engine at a named point.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

CHECKPOINTS: Final = (
    "before-intent",
    "after-intent",
    "after-reply",
    "while-polling",
    "after-completed",
    "half-downloaded",
    "after-download",
    "before-archive",
    "video-archived",
    "before-manifest",
    "after-manifest",
)
"""The points at which a crash differs in what it leaves behind, in the order in which they are passed."""


@dataclass(frozen=True)
class Progress:
    """One step of one generation: `fraction` is 0 to 1, or None where nobody can tell."""

    stage: str
    generation_id: str
    message: str
    fraction: float | None = None


Observer = Callable[[Progress], None]

_observers: list[Observer] = []


@contextmanager
def observe(observer: Observer) -> Iterator[None]:
    """Call `observer` with every `Progress` of this process while the block runs."""
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


def tell(stage: str, generation_id: str, message: str = "", fraction: float | None = None) -> None:
    """Tell every observer. `stage` is a checkpoint's name or one of upload, submit, wait, download, render."""
    for observer in tuple(_observers):
        observer(Progress(stage, generation_id, message, fraction))
