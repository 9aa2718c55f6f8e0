"""What gathers is written in one transaction: one commit, each call for itself, and nobody is answered before it."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ledger_parts import a_plan, an_owner, submitted
from postgres_relay import relay_to
from sqlalchemy import Engine, event

from prefect_ltx.ledger import (
    Accepted,
    Archived,
    AsyncLedger,
    BudgetExceeded,
    BudgetLimit,
    Claim,
    Collected,
    Generation,
    LeaseLost,
    Ledger,
    LedgerUnavailable,
    Moved,
    News,
    NotRecordable,
    PostStarted,
    RemoteCompleted,
    Settled,
    State,
    unwatch,
    watch,
)

ME = an_owner("me")
Work = Coroutine[Any, Any, Any]


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[AsyncLedger]:
    async with AsyncLedger(Ledger(ledger_url)) as opened:
        yield opened


async def gathered(ledger: AsyncLedger, *work: Work) -> list[Any]:
    """What became of these calls, all of which waited while the writer was busy."""
    inside, go_on = threading.Event(), threading.Event()

    def busy() -> None:
        inside.set()
        go_on.wait(60)

    first = asyncio.create_task(ledger.run(busy))
    await asyncio.to_thread(inside.wait, 60)
    tasks = [asyncio.create_task(each) for each in work]
    for _ in range(3):
        await asyncio.sleep(0)  # each has begun
    go_on.set()
    await first
    return await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def commits() -> Iterator[list[object]]:
    """The commits of this process's connections."""
    seen: list[object] = []

    def note(connection: object) -> None:
        seen.append(connection)

    event.listen(Engine, "commit", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "commit", note)


async def test_what_gathers_is_committed_once(ledger: AsyncLedger) -> None:
    """Twenty claims, one commit, twenty rows."""
    with commits() as seen:
        claims = await gathered(ledger, *(ledger.claim(a_plan(f"key-{n}"), ME) for n in range(20)))
    assert [claim.outcome for claim in claims] == ["submit"] * 20
    assert len(seen) == 1
    rows = await ledger.find()
    assert {row.id: row for row in rows} == {claim.generation.id: claim.generation for claim in claims}


async def test_calls_of_a_group_see_what_those_before_them_did(ledger: AsyncLedger) -> None:
    """One of two claims for a key may send, and a budget counts what the same transaction reserved."""
    limit = BudgetLimit(Decimal("0.75"), "total")
    claims = await gathered(
        ledger,
        ledger.claim(a_plan("same"), ME, [limit]),
        ledger.claim(a_plan("same"), an_owner("another"), [limit]),
        ledger.claim(a_plan("second"), ME, [limit]),
        ledger.claim(a_plan("third"), ME, [limit]),
    )
    assert [each.outcome for each in claims[:3]] == ["submit", "busy", "submit"]
    assert isinstance(claims[3], BudgetExceeded)
    assert len(await ledger.find()) == 2


async def test_a_call_that_fails_takes_back_its_own(ledger: AsyncLedger) -> None:
    """What it had written already is gone, what others wrote is there, and each is told its own."""
    row = (await ledger.claim(a_plan("key-0"), ME)).generation

    def writes_and_fails() -> None:
        ledger.ledger.claim(a_plan("half"), ME)
        raise ValueError("after all")

    found = await gathered(
        ledger,
        ledger.claim(a_plan("key-1"), ME),
        ledger.write(writes_and_fails),
        ledger.record(row.id, PostStarted(attempt=1), owner=an_owner("thief")),
        ledger.save_upload("account", "a" * 64, "https://cdn.example/a.png", size=2**70),
        ledger.claim(a_plan("key-3"), ME),
        ledger.take("nowhere", ME),
        ledger.begin_post(row.id, ME),
    )
    kinds = [type(each).__name__ for each in found]
    assert kinds == [
        *("Claim", "ValueError", LeaseLost.__name__, NotRecordable.__name__, "Claim"),
        *("GenerationNotFound", Generation.__name__),
    ]
    assert "does not take these values" in str(found[3])
    assert {row.key for row in await ledger.find()} == {"key-0", "key-1", "key-3"}
    assert [each.event for each in await ledger.events(row.id)].count("PostStarted") == 1
    assert await ledger.wrong_sums() == []


async def test_who_watches_is_told_after_the_commit_and_only_of_what_stayed(ledger: AsyncLedger) -> None:
    """Another connection sees each row by the time that it is announced."""
    told: list[News] = []
    there: list[State] = []

    def listen(news: News) -> None:
        assert isinstance(news, Moved)
        told.append(news)
        with Ledger(ledger.ledger._database.url.render_as_string(hide_password=False)) as other:
            there.append(other.get(news.generation.id).state)

    def fails() -> None:
        ledger.ledger.claim(a_plan("half"), ME)
        raise ValueError

    watch(listen)
    try:
        await gathered(
            ledger, ledger.claim(a_plan("key-1"), ME), ledger.write(fails), ledger.claim(a_plan("key-2"), ME)
        )
    finally:
        unwatch(listen)
    assert [news.generation.key for news in told if isinstance(news, Moved)] == ["key-1", "key-2"]
    assert there == [State.INTENDED] * 2


async def test_a_commit_that_fails_is_everybodys_error_in_their_own_words(tmp_path: Path) -> None:
    """Somebody moved the ledger's file: who had sent nothing is told so, who had sent is not told that."""
    async with AsyncLedger(Ledger(f"sqlite:///{tmp_path}/ledger.db")) as ledger:
        row = await ledger.run(submitted, ledger.ledger, a_plan("sent"), ME)
        (tmp_path / "ledger.db").rename(tmp_path / "elsewhere.db")
        found = await gathered(
            ledger,
            ledger.claim(a_plan("new"), ME),
            ledger.record(row.id, RemoteCompleted("https://cdn.example/v.mp4"), owner=ME),
        )
    assert all(isinstance(each, LedgerUnavailable) for each in found)
    assert "Nothing was sent or spent" in str(found[0])
    assert "a request sent before goes on" in str(found[1])
    assert "Nothing was sent or spent" not in str(found[1])


@pytest.mark.parametrize("fault", ["lose_commits", "swallow_commits"])
async def test_a_groups_commit_without_a_reply_is_looked_up(postgres_url: str, fault: str) -> None:
    """Done once, whether it arrived or not, and everybody is answered."""
    with relay_to(postgres_url) as (relay, url):
        async with AsyncLedger(Ledger(url)) as ledger:
            row = (await ledger.claim(a_plan("key-0"), ME)).generation

            def cut() -> None:
                setattr(relay, fault, 1)

            found = await gathered(
                ledger,
                ledger.run(cut),
                ledger.claim(a_plan("key-1"), ME),
                ledger.begin_post(row.id, ME),
            )
            assert (found[1].outcome, found[2].state) == ("submit", State.INTENDED)
            assert [each.event for each in await ledger.events(row.id)].count("PostStarted") == 1
            assert len(await ledger.find(key="key-1")) == 1


async def test_what_needs_the_ledger_to_itself_is_in_a_group_as_well(ledger: AsyncLedger) -> None:
    """A late request of a closed row, an upload, a claim: together."""
    row = (await ledger.claim(a_plan("key-0"), ME)).generation
    found = await gathered(
        ledger,
        ledger.claim(a_plan("key-1"), ME),
        ledger.save_upload("account", "a" * 64, "https://cdn.example/a.png"),
        ledger.record(row.id, Accepted("request-0"), owner=ME),
        ledger.report_bill(row.id, Decimal(1000)),
        ledger.record(row.id, Settled(None, Decimal(1), "person")),
    )
    assert isinstance(found[0], Claim)
    assert not [each for each in found if isinstance(each, BaseException)]
    assert await ledger.find_upload("account", "a" * 64) == "https://cdn.example/a.png"
    assert (await ledger.get(row.id)).settled_usd == 1


KILLED = """
import asyncio, os, sys, threading
from ledger_parts import a_plan, an_owner
from prefect_ltx.ledger import AsyncLedger, Ledger
ledger = AsyncLedger(Ledger(sys.argv[1]))

async def answered(key):
    await ledger.claim(a_plan(key), an_owner("me"))
    print(key, flush=True)

async def main():
    await answered("before")
    go_on = threading.Event()
    busy = asyncio.create_task(ledger.run(go_on.wait))
    await asyncio.sleep(0)
    calls = [asyncio.create_task(answered(f"key-{n}")) for n in range(5)]
    killed = asyncio.create_task(ledger.write(os.kill, os.getpid(), 9))
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(busy, *calls, killed)

asyncio.run(main())
"""


def test_a_kill_between_savepoint_and_commit_answers_nobody(ledger_url: str) -> None:
    """Five calls were made in the transaction that a kill ended: none was answered, and none is there."""
    command = [sys.executable, "-c", KILLED, ledger_url]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, timeout=120)
    assert (done.returncode, done.stdout.split()) == (-9, ["before"]), done.stderr
    with Ledger(ledger_url) as ledger:
        assert [row.key for row in ledger.find()] == ["before"]
        assert ledger.wrong_sums() == []


async def test_cancelled_callers_of_a_group_cut_nothing_off(ledger: AsyncLedger) -> None:
    """Each change is there once its caller hears of its cancellation."""

    async def cancelled(call: Callable[[], Work]) -> None:
        task = asyncio.create_task(call())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    await gathered(ledger, *(cancelled(lambda n=n: ledger.claim(a_plan(f"key-{n}"), ME)) for n in range(3)))
    assert len(await ledger.find()) == 3


def test_what_a_call_returns_is_what_is_read_back(ledger_url: str) -> None:
    """What was written is not read again: it must be given as the database will give it, odd values too."""
    odd = {"a": (1, 2.5, None, True), "b": {"c": ["é\u2028"]}, "big": 2**60, "float": 0.1}
    plan = a_plan(
        body={"prompt": "a\u0000b \ud83d\ude00", "n": [1, (2, 3)], **odd},
        asked=odd,
        tags=("x", "é"),
        flow_run_id="r",
    )
    with Ledger(ledger_url) as ledger:
        row = ledger.claim(plan, ME).generation
        assert row == ledger.get(row.id)
        assert ledger.begin_post(row.id, ME, since=1790000000.123456) == ledger.get(row.id)
        for happened in (
            Accepted("request-1"),
            RemoteCompleted(
                "https://v", seed=2**70, prompt="p", units=Decimal("1.50"), oddities=("one", "two")
            ),
            Collected("a" * 64, 2**40, "/work/v.mp4", odd),
            Archived("file:///archive", "folder", "b" * 64),
            Settled(Decimal("1.50"), Decimal("0.123456789"), "billing_events"),
        ):
            assert ledger.record_and_get(row.id, happened, owner=ME) == ledger.get(row.id), happened
