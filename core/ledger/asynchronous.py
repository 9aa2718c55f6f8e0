"""The ledger for asynchronous code: each method of `Ledger`, to be awaited.

A call runs off the event loop and finishes even when its caller is cancelled: a transaction that is cut off from its
caller would leave nobody knowing what was written. Context variables are the caller's.
"""

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Final, Generic, ParamSpec, Self, TypeVar, overload

from prefect_ltx.ledger.group import Outcome
from prefect_ltx.ledger.ledger import Ledger
from prefect_ltx.ledger.records import Generation

P = ParamSpec("P")
T = TypeVar("T")

MOST_TOGETHER: Final = 50
"""How many calls share a transaction at most: others wait for their turn meanwhile."""


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
            return self._call(ledger, *args, **kwargs)

        return call

    def _call(self, ledger: "AsyncLedger", *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        return ledger.run(self._method, ledger.ledger, *args, **kwargs)


class _Gathered(_Awaited[P, T]):
    """A method that writes: made with what else has gathered in one transaction (`AsyncLedger.write`)."""

    def _call(self, ledger: "AsyncLedger", *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        return ledger.write(self._method, ledger.ledger, *args, **kwargs)


class AsyncLedger:
    """A ledger whose methods are awaited.

    What is to be written gathers while the writer is busy: it takes all of it into one transaction, each call in a
    savepoint of its own, and answers after the one commit.

    Args:
        ledger: the one that is called.
        executor: what the calls run in. Default: one thread for all ledgers and event loops of this process, in the
            order of the calls, since SQLite makes writers that meet sleep for longer than they write.
    """

    def __init__(self, ledger: Ledger, *, executor: Executor | None = None) -> None:
        """Call this ledger."""
        self.ledger: Final = ledger
        self._executor = executor
        self._gathering = _Gathering()

    @classmethod
    async def open(cls, url: str, *, lease_seconds: float = 120, executor: Executor | None = None) -> Self:
        """Open the ledger at this URL, off the event loop; errors as those of `Ledger`."""
        call = _in_context(Ledger, url, lease_seconds=lease_seconds)
        return cls(await _finished((executor or _ledger_thread()).submit(call)), executor=executor)

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

    claim = _Gathered(Ledger.claim)
    take = _Gathered(Ledger.take)
    adopt_seedless = _Gathered(Ledger.adopt_seedless)
    leave_behind = _Gathered(Ledger.leave_behind)
    adopt_stray = _Gathered(Ledger.adopt_stray)
    begin_post = _Gathered(Ledger.begin_post)
    renew = _Gathered(Ledger.renew)
    release = _Gathered(Ledger.release)
    expire_dead_leases = _Awaited(Ledger.expire_dead_leases)

    # -- what happened -----------------------------------------------------------------------------------

    record = _Gathered(Ledger.record)
    record_and_get = _Gathered(Ledger.record_and_get)
    receive = _Awaited(Ledger.receive)
    take_announcements = _Awaited(Ledger.take_announcements)
    note_account = _Awaited(Ledger.note_account)
    note_machine = _Awaited(Ledger.note_machine)
    note_verdict = _Gathered(Ledger.note_verdict)
    note_reuse = _Gathered(Ledger.note_reuse)
    remember_quote = _Awaited(Ledger.remember_quote)
    report_bill = _Gathered(Ledger.report_bill)
    resolve_stop = _Awaited(Ledger.resolve_stop)
    approve = _Awaited(Ledger.approve)
    save_upload = _Gathered(Ledger.save_upload)
    forget_upload = _Gathered(Ledger.forget_upload)
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
    approval = _Awaited(Ledger.approval)
    approvals = _Awaited(Ledger.approvals)
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
    usable = _Awaited(Ledger.usable)
    judged = _Awaited(Ledger.judged)
    verdicts = _Awaited(Ledger.verdicts)
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
        return await _finished(self._submit(_in_context(function, *args, **kwargs)))

    async def write(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what writes with `ledger`: in one transaction with what else has gathered.

        It may be called again with another transaction, so what it changes elsewhere it changes once.
        """
        answer: Future[T] = Future()
        if self._gathering.add(_in_context(function, *args, **kwargs), answer):
            try:
                self._submit(self._write_gathered)
            except BaseException as error:
                for _, each in self._gathering.take():
                    each.set_exception(error)
        return await _finished(answer)

    def _submit(self, call: Callable[[], T]) -> "Future[T]":
        return (self._executor or _ledger_thread()).submit(call)

    def _write_gathered(self) -> None:
        """Write what has gathered, and answer. Called where this ledger's calls run."""
        gathered = self._gathering.take()
        for first in range(0, len(gathered), MOST_TOGETHER):
            some = gathered[first : first + MOST_TOGETHER]
            try:
                outcomes = self.ledger.together([call for call, _ in some])
            except BaseException as error:
                outcomes = [Outcome(error=error)] * len(some)
            for (_, answer), outcome in zip(some, outcomes, strict=True):
                if outcome.error is not None:
                    answer.set_exception(outcome.error)
                else:
                    answer.set_result(outcome.value)

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


class _Gathering:
    """Calls that wait for the writer, with the futures that they are answered by."""

    def __init__(self) -> None:
        self._lock, self._pid = threading.Lock(), os.getpid()
        self._calls: list[tuple[Callable[[], Any], Future[Any]]] = []

    def add(self, call: Callable[[], Any], answer: "Future[Any]") -> bool:
        """Let it wait; whether nobody has called the writer yet."""
        if self._pid != os.getpid():  # what gathered before a fork is the parent's
            self._lock, self._pid, self._calls = threading.Lock(), os.getpid(), []
        with self._lock:
            self._calls.append((call, answer))
            return len(self._calls) == 1

    def take(self) -> "list[tuple[Callable[[], Any], Future[Any]]]":
        """All of them, in their order; the next one calls the writer again."""
        with self._lock:
            taken, self._calls = self._calls, []
            return taken


def _in_context(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Callable[[], T]:
    return partial(contextvars.copy_context().run, function, *args, **kwargs)


async def _finished(answer: "Future[T]") -> T:
    """The answer, waited for even when the caller is cancelled."""
    work = asyncio.wrap_future(answer)
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
