"""One request that is not finished: its state, its log, and whoever waits for it to change."""

import asyncio
from dataclasses import replace

from prefect_ltx.local.rows import RequestRow, State
from prefect_ltx.local.work import Interrupt
from prefect_ltx.runtime import THIS_MACHINE, Runtime


class Job:
    """A request that is not finished. `row.body` is left out here: a long queue is not to fill the memory."""

    def __init__(self, row: RequestRow, runtime: Runtime = THIS_MACHINE) -> None:
        """A job that waits."""
        self._runtime = runtime
        self.row = replace(row, body="")
        self.state: State = "queued"
        self.logs: list[dict[str, str]] = []
        self.stuck = False
        self.interrupt = Interrupt()
        self.finished: asyncio.Event = asyncio.Event()
        self._changed: asyncio.Event | None = None

    @property
    def order(self) -> tuple[int, int]:
        """Its place among the waiting."""
        return self.row.low_priority, self.row.seq

    @property
    def change(self) -> asyncio.Event:
        """Set at the next change of state, position or logs. Take it before looking, so that none is
        missed."""
        if self._changed is None:
            self._changed = asyncio.Event()
        return self._changed

    def touch(self) -> None:
        """Something changed. Costs nothing where nobody looks: a start touches all that wait."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def log(self, message: str, level: str = "INFO") -> None:
        """Add a line in fal's shape. From the event loop only."""
        stamp = self._runtime.now().isoformat(timespec="microseconds").replace("+00:00", "Z")
        self.logs.append({"message": message, "timestamp": stamp, "level": level, "source": "USER"})
        self.touch()
