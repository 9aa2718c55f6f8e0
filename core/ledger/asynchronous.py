"""The ledger for asynchronous code: each method of `Ledger`, to be awaited.

A call runs off the event loop and finishes even when its caller is cancelled: a transaction that is cut off from its
caller would leave nobody knowing what was written. Context variables are the caller's.
"""

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Final, Generic, ParamSpec, Self, TypeVar, overload

from prefect_ltx.ledger.ledger import Ledger
from prefect_ltx.ledger.records import Generation

P = ParamSpec("P")
T = TypeVar("T")


class _Awaited(Generic[P, T]):
    """A method of `Ledger` as an asynchronous one of `AsyncLedger`, with the same parameters and result."""

    def __init__(self, method: Callable[Concatenate[Ledger, P], T]) -> None:
        self._method: Final = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, instance: None, owner: type["AsyncLedger"]) -> Self: ...

    @overload
    def __get__(
        self, instance: "AsyncLedger", owner: type["AsyncLedger"]
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...

    def __get__(
        self, instance: "AsyncLedger | None", owner: type["AsyncLedger"]
    ) -> Self | Callable[P, Coroutine[Any, Any, T]]:
        if instance is None:
            return self
        ledger = instance

        def call(*args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
            return ledger.run(self._method, ledger.ledger, *args, **kwargs)

        return call


class AsyncLedger:
    """A ledger whose methods are awaited.

    Args:
        ledger: the one that is called.
        executor: what the calls run in. Default: one thread for all ledgers and event loops of this process, in the
            order of the calls, since SQLite makes writers that meet sleep for longer than they write.
    """

    def __init__(self, ledger: Ledger, *, executor: Executor | None = None) -> None:
        """Call this ledger."""
        self.ledger: Final = ledger
        self._executor = executor

    @classmethod
    async def open(cls, url: str, *, lease_seconds: float = 120, executor: Executor | None = None) -> Self:
        """Open the ledger at this URL, off the event loop; errors as those of `Ledger`."""
        opened = _run(executor, Ledger, url, lease_seconds=lease_seconds)
        return cls(await opened, executor=executor)

    @property
    def id(self) -> str:
        """What names this ledger for ever."""
        return self.ledger.id

    @property
    def name(self) -> str:
        """The database for people, without password and query."""
        return self.ledger.name

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for a database that several machines can reach."""
        return self.ledger.file

    @property
    def read_only(self) -> bool:
        """Whether it was opened for reading only."""
        return self.ledger.read_only

    @property
    def lease_seconds(self) -> float:
        """How long a row stays its owner's without `renew`."""
        return self.ledger.lease_seconds

    def is_ours(self, row: Generation) -> bool:
        """Whether the row belongs to the account and service in whose name this ledger is used."""
        return self.ledger.is_ours(row)

    # -- who works on it ---------------------------------------------------------------------------------

    claim = _Awaited(Ledger.claim)
    take = _Awaited(Ledger.take)
    adopt_seedless = _Awaited(Ledger.adopt_seedless)
    leave_behind = _Awaited(Ledger.leave_behind)
    adopt_stray = _Awaited(Ledger.adopt_stray)
    begin_post = _Awaited(Ledger.begin_post)
    renew = _Awaited(Ledger.renew)
    release = _Awaited(Ledger.release)
    expire_dead_leases = _Awaited(Ledger.expire_dead_leases)

    # -- what happened -----------------------------------------------------------------------------------

    record = _Awaited(Ledger.record)
    record_and_get = _Awaited(Ledger.record_and_get)
    receive = _Awaited(Ledger.receive)
    take_announcements = _Awaited(Ledger.take_announcements)
    note_account = _Awaited(Ledger.note_account)
    note_machine = _Awaited(Ledger.note_machine)
    note_reuse = _Awaited(Ledger.note_reuse)
    remember_quote = _Awaited(Ledger.remember_quote)
    report_bill = _Awaited(Ledger.report_bill)
    resolve_stop = _Awaited(Ledger.resolve_stop)
    save_upload = _Awaited(Ledger.save_upload)
    forget_upload = _Awaited(Ledger.forget_upload)
    recount = _Awaited(Ledger.recount)
    restore = _Awaited(Ledger.restore)
    join = _Awaited(Ledger.join)

    # -- what can be asked -------------------------------------------------------------------------------

    get = _Awaited(Ledger.get)
    find = _Awaited(Ledger.find)
    unfinished = _Awaited(Ledger.unfinished)
    unheld = _Awaited(Ledger.unheld)
    due = _Awaited(Ledger.due)
    others = _Awaited(Ledger.others)
    accounts = _Awaited(Ledger.accounts)
    accounts_of_rows = _Awaited(Ledger.accounts_of_rows)
    stops = _Awaited(Ledger.stops)
    events = _Awaited(Ledger.events)
    released_attempts = _Awaited(Ledger.released_attempts)
    claimed_request_ids = _Awaited(Ledger.claimed_request_ids)
    behind = _Awaited(Ledger.behind)
    knows_any = _Awaited(Ledger.knows_any)
    has_joined = _Awaited(Ledger.has_joined)
    is_claimed = _Awaited(Ledger.is_claimed)
    strays = _Awaited(Ledger.strays)
    double_charges = _Awaited(Ledger.double_charges)
    spending = _Awaited(Ledger.spending)
    spend = _Awaited(Ledger.spend)
    wrong_sums = _Awaited(Ledger.wrong_sums)
    totals = _Awaited(Ledger.totals)
    unsettled = _Awaited(Ledger.unsettled)
    drift = _Awaited(Ledger.drift)
    billed_since = _Awaited(Ledger.billed_since)
    last_quote = _Awaited(Ledger.last_quote)
    stored_upload = _Awaited(Ledger.stored_upload)
    find_upload = _Awaited(Ledger.find_upload)

    # -- life --------------------------------------------------------------------------------------------

    close = _Awaited(Ledger.close)

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` where this ledger's calls run, in turn with them: for what uses `ledger` synchronously."""
        return await _run(self._executor, function, *args, **kwargs)

    async def __aenter__(self) -> Self:
        """The ledger itself; closed at the end of the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close()

    def __repr__(self) -> str:
        """Names the database, without password and query."""
        return f"AsyncLedger({self.name!r})"


async def _run(
    executor: Executor | None, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    call = partial(contextvars.copy_context().run, function, *args, **kwargs)
    work = asyncio.get_running_loop().run_in_executor(executor or _ledger_thread(), call)
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError as error:
            cancelled = error  # a second one must not cut it off either
    if cancelled is not None:
        work.exception()  # so that it counts as seen
        raise cancelled
    return work.result()


_thread: ThreadPoolExecutor | None = None
_thread_lock = threading.Lock()


def _ledger_thread() -> Executor:
    global _thread
    with _thread_lock:
        if _thread is None:
            _thread = ThreadPoolExecutor(1, thread_name_prefix="prefect-ltx-ledger")
        return _thread


def _in_a_child() -> None:
    # A thread does not survive a fork, and the lock may have been held.
    global _thread, _thread_lock
    _thread, _thread_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_in_a_child)
