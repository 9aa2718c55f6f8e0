"""The asynchronous face of the ledger."""

import asyncio
import contextvars
import inspect
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
from ledger_parts import a_plan, an_owner

from prefect_ltx.ledger import AsyncLedger, GenerationNotFound, Ledger

_SAID: contextvars.ContextVar[str] = contextvars.ContextVar("said", default="nothing")


class Inline(Executor):
    """Calls at once, in the caller's thread, as a simulation does."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The result or the error, already there."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


@pytest.fixture
def ledger(tmp_path: Path) -> AsyncLedger:
    return AsyncLedger(Ledger(f"sqlite:///{tmp_path}/ledger.db"))


def test_every_method_of_the_ledger_can_be_awaited() -> None:
    """What `Ledger` can do with its database, `AsyncLedger` can, with the same documentation."""
    own = {"acting_for", "is_ours", "together"}  # of these two need no database, and `write` is the third
    public = {
        name: each
        for name, each in inspect.getmembers(Ledger, inspect.isfunction)
        if not name.startswith("_") and name not in own
    }
    for name, method in public.items():
        assert getattr(AsyncLedger, name).__doc__ == method.__doc__, name


async def test_calls_give_what_the_ledger_gives(ledger: AsyncLedger) -> None:
    """Results and errors are those of the method."""
    async with ledger:
        claim = await ledger.claim(a_plan(), an_owner())
        assert await ledger.get(claim.generation.id) == ledger.ledger.get(claim.generation.id)
        with pytest.raises(GenerationNotFound):
            await ledger.get("nowhere")


async def test_an_executor_is_handed_in(tmp_path: Path) -> None:
    """Every call runs in it: one that calls at once needs no thread."""
    before = threading.active_count()
    ledger = AsyncLedger(Ledger(f"sqlite:///{tmp_path}/ledger.db"), executor=Inline())
    claim = await ledger.claim(a_plan(), an_owner())
    assert await ledger.run(threading.get_ident) == threading.get_ident()
    rows = await asyncio.gather(*(ledger.get(claim.generation.id) for _ in range(5)))
    assert {row.id for row in rows} == {claim.generation.id}
    assert threading.active_count() == before


async def test_a_cancelled_caller_cuts_nothing_off(ledger: AsyncLedger) -> None:
    """What was begun is done when the caller hears of its cancellation, however often it is cancelled."""
    inside, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        inside.set()
        go_on.wait(20)
        done.set()

    task = asyncio.create_task(ledger.run(slow))
    await asyncio.to_thread(inside.wait, 20)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()


async def test_a_call_sees_its_callers_context(ledger: AsyncLedger) -> None:
    """Context variables (Prefect's run, a logger's labels) are the caller's."""
    _SAID.set("something")
    assert await ledger.run(_SAID.get) == "something"


FORKS = """
import asyncio, os, sys
from ledger_parts import a_plan
from prefect_ltx.ledger import AsyncLedger, Ledger, Owner
ledger = AsyncLedger(Ledger(sys.argv[1]))
asyncio.run(ledger.claim(a_plan("parent-before"), Owner.here()))
child = os.fork()
if child == 0:
    ok = asyncio.run(ledger.claim(a_plan("child"), Owner.here())).outcome == "submit"
    os._exit(0 if ok else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert {row.key for row in asyncio.run(ledger.find())} == {"parent-before", "child"}
"""


def test_a_forked_child_has_a_thread_of_its_own(tmp_path: Path) -> None:
    """The thread that calls did not survive the fork; the child makes another one."""
    command = [sys.executable, "-c", FORKS, f"sqlite:///{tmp_path}/ledger.db"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
