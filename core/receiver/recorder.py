"""Writing deliveries down together: what waits is one transaction, however many came at once.

A caller gets its receipt after the commit, so that an answer to fal always stands on what is on the disk.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from prefect_ltx.ledger import AsyncLedger, Delivery, LedgerError, Receipt

MOST_AT_ONCE: Final = 500
MOST_WAITING: Final = 10_000
ANSWER_SECONDS: Final = 10.0
"""fal waits 15 s for its first answer (fal-protocol §4)."""


class RecorderBusy(Exception):
    """The ledger cannot take it in time; it should come again."""


class Recorder:
    """One writer for all deliveries of a process. `on_recorded` is called after each commit, and must be quick."""

    def __init__(self, ledger: AsyncLedger, on_recorded: Callable[[Sequence[Receipt]], None]) -> None:
        """Nothing is written before `run` runs."""
        self._ledger = ledger
        self._on_recorded = on_recorded
        self._queue: asyncio.Queue[tuple[Delivery, asyncio.Future[Receipt]]] = asyncio.Queue(MOST_WAITING)
        self.ledger_answers = True

    async def record(self, delivery: Delivery) -> Receipt:
        """The receipt, once the delivery is durable.

        Raises:
            RecorderBusy: it is not, after 10 s. It may become so later; then it is a duplicate when it comes again.
            LedgerError: the ledger cannot be written.
        """
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((delivery, future))
            return await asyncio.wait_for(future, ANSWER_SECONDS)
        except (asyncio.QueueFull, TimeoutError):
            raise RecorderBusy("the ledger is busy") from None

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < MOST_AT_ONCE and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                await self._write(batch)
            except LedgerError as error:
                self.ledger_answers = False
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            except Exception as error:
                # One delivery that cannot be written must not take the others along.
                if len(batch) == 1:
                    if not batch[0][1].done():
                        batch[0][1].set_exception(error)
                    continue
                for each in batch:
                    await self._alone(each)

    async def _alone(self, each: tuple[Delivery, "asyncio.Future[Receipt]"]) -> None:
        try:
            await self._write([each])
        except Exception as error:
            if not each[1].done():
                each[1].set_exception(error)

    async def _write(self, batch: Sequence[tuple[Delivery, "asyncio.Future[Receipt]"]]) -> None:
        receipts = await self._ledger.receive([delivery for delivery, _ in batch])
        self.ledger_answers = True
        for (_, future), receipt in zip(batch, receipts, strict=True):
            if not future.done():
                future.set_result(receipt)
        self._on_recorded(receipts)
