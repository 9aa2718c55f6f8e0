"""What a run is doing, on stderr: a moving line on a terminal, one plain line a step elsewhere.

Prefect's own console log is quietened, because every step is told here; the Prefect UI keeps all of it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from prefect_ltx.cli.frame import DEBUG_VARIABLE
from prefect_ltx.cli.printing import can_move, spinner, write_note

if TYPE_CHECKING:
    from prefect_ltx.generation.progress import Progress as Step


def quieten_prefect() -> None:
    """Keep Prefect's log off the terminal. Has to be called before Prefect is imported."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    # Where no PREFECT_API_URL is set, Prefect starts a temporary server; its first start makes a database,
    # which was seen to take longer than Prefect's own 20 s.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    if not os.environ.get(DEBUG_VARIABLE):
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_DEBUG_LEVEL", "CRITICAL")


def say(line: str) -> None:
    """One line about what goes on, on stderr."""
    write_note(line)


@contextmanager
def shown() -> Iterator[None]:
    """Show the progress of every generation of this process while the block runs."""
    from prefect_ltx.generation.progress import observe

    if can_move():
        with _moving() as on_step, observe(on_step):
            yield
    else:
        with observe(_lines()):
            yield


@contextmanager
def _moving() -> Iterator[Callable[["Step"], None]]:
    columns = (
        SpinnerColumn(spinner()),
        TextColumn("{task.fields[who]}", style="dim"),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    )
    rows: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as moving:

        def on_step(step: "Step") -> None:
            text = _text(step)
            if text is None:
                return
            if step.fraction is not None:
                text = f"{text} {step.fraction:.0%}"
            # Uploads come before there is a generation; their line becomes its line.
            if step.generation_id not in rows:
                earlier = rows.pop("", None)
                rows[step.generation_id] = (
                    moving.add_task("", total=None, who="") if earlier is None else earlier
                )
            moving.update(rows[step.generation_id], description=text, who=step.generation_id[:8])

        yield on_step


def _lines() -> Callable[["Step"], None]:
    last: dict[str, str] = {}

    def on_step(step: "Step") -> None:
        text = _text(step)
        if text is not None and last.get(step.generation_id) != text:
            last[step.generation_id] = text
            say(f"{step.generation_id[:8]} {text}".lstrip())

    return on_step


def _text(step: "Step") -> str | None:
    """What a person reads about a step; most of the engine's checkpoints are for tests."""
    return step.message or ("waiting for fal" if step.stage == "while-polling" else None)
