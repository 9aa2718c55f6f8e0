"""PostgreSQL: who waits for whom. Different generations pass each other; one key, one budget and what asks all rows
wait, and then see what was committed."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from ledger_parts import a_plan, an_owner, submitted
from sqlalchemy import make_url

from prefect_ltx.ledger import (
    Accepted,
    BudgetExceeded,
    BudgetLimit,
    Found,
    Ledger,
)

ME, YOU = an_owner("me"), an_owner("you")

DAY = BudgetLimit(Decimal("0.50"), "day")
MONTH = BudgetLimit(Decimal("0.50"), "month")


@pytest.fixture
def url(postgres_url: str) -> str:
    Ledger(postgres_url).close()
    return postgres_url


@contextmanager
def uncommitted(url: str, work: Callable[[Any], Any]) -> Iterator[Callable[[], Any]]:
    """Work of another process that is done and not committed yet; what is called commits it and gives its result."""
    done, go_on = threading.Event(), threading.Event()

    def held(tx: Any) -> Any:
        result = work(tx)
        done.set()
        go_on.wait(60)
        return result

    with Ledger(url) as ledger, ThreadPoolExecutor(1) as pool:
        running = pool.submit(ledger._write, held, shares=True)
        try:
            while not done.wait(0.05):
                assert not running.done(), running.result()
            yield lambda: (go_on.set(), running.result(60))[1]
        finally:
            go_on.set()


def claims(
    key: str, limits: Sequence[BudgetLimit] = (), owner: Any = ME, **changes: Any
) -> Callable[[Any], Any]:
    """A claim, inside a transaction."""
    from prefect_ltx.ledger import claiming

    return lambda tx: claiming.claim(tx, a_plan(key, **changes), owner, limits)


def somebody_waits(url: str) -> bool:
    folder = make_url(url).query["host"]
    with psycopg.connect(f"host={folder} user=ltx dbname=postgres") as connection:
        query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        row = connection.execute(query).fetchone()
        return row is not None and row[0] > 0


def waits(url: str, running: "Future[Any]") -> bool:
    """Whether a call comes to wait for a lock; False where it is done instead."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if running.done():
            return False
        if somebody_waits(url):
            return True
        time.sleep(0.02)
    raise AssertionError("neither done nor waiting")


def meets(url: str, first: Callable[[Any], Any], then: Callable[[Ledger], Any]) -> tuple[bool, Any, Any]:
    """Whether `then` waited for the uncommitted `first`, and what became of both."""
    # Opened first: opening has the ledger to itself.
    with Ledger(url) as ledger, uncommitted(url, first) as commit, ThreadPoolExecutor(1) as pool:
        running = pool.submit(then, ledger)
        waited = waits(url, running)
        one = commit()
        try:
            return waited, one, running.result(60)
        except Exception as error:
            return waited, one, error


def test_different_generations_pass_each_other(url: str) -> None:
    """Claiming, announcing a POST, recording, renewing and releasing wait for nobody else's commit."""

    def life(ledger: Ledger) -> str:
        row = submitted(ledger, a_plan("another"), YOU)
        assert ledger.renew(row.id, YOU)
        ledger.release(row.id, YOU)
        return ledger.get(row.id).state

    waited, one, state = meets(url, claims("key-1"), life)
    assert (waited, one.outcome, state) == (False, "submit", "SUBMITTED")


def test_one_key_is_one_at_a_time(url: str) -> None:
    """Who comes second is told that it is busy; also where the second knows the key as its older one."""
    waited, one, other = meets(url, claims("key-1"), lambda ledger: ledger.claim(a_plan("key-1"), YOU))
    assert (waited, one.outcome, other.outcome) == (True, "submit", "busy")
    older = a_plan("key-3", older_keys=("key-2",))
    waited, one, other = meets(url, claims("key-2"), lambda ledger: ledger.claim(older, YOU))
    assert (waited, one.outcome, other.outcome) == (True, "submit", "busy")


def test_one_row_is_one_at_a_time(url: str) -> None:
    """A record and a renewal wait for who takes the row over, and then find it taken."""
    from prefect_ltx.ledger import claiming

    with Ledger(url, lease_seconds=0.001) as ledger:
        row = ledger.claim(a_plan("key-1"), ME).generation
    waited, one, renewed = meets(
        url, lambda tx: claiming.take(tx, tx.load(row.id), YOU), lambda ledger: ledger.renew(row.id, ME)
    )
    assert (waited, one.outcome, renewed) == (True, "submit", False)


@pytest.mark.parametrize("mine", [DAY, MONTH])
@pytest.mark.parametrize("yours", [DAY, MONTH])
def test_a_budget_is_checked_by_one_at_a_time(url: str, mine: BudgetLimit, yours: BudgetLimit) -> None:
    """Whichever of the budgets that both add to each of them checks: the second sees what the first reserved."""
    waited, one, other = meets(
        url, claims("key-1", [mine]), lambda ledger: ledger.claim(a_plan("key-2"), YOU, [yours])
    )
    assert (waited, one.outcome, type(other)) == (True, "submit", BudgetExceeded)


def test_a_budget_waits_for_those_who_only_add_to_it(url: str) -> None:
    """And who checks a tag's budget does not wait for other tags."""
    tagged = BudgetLimit(Decimal("0.50"), "total", "a")
    waited, _, other = meets(
        url,
        claims("key-1", tags=("a",)),
        lambda ledger: ledger.claim(a_plan("key-2", tags=("a",)), YOU, [tagged]),
    )
    assert (waited, type(other)) == (True, BudgetExceeded)
    waited, _, other = meets(
        url,
        claims("key-3", [BudgetLimit(Decimal(9), "total", "b")], tags=("b",)),
        lambda ledger: ledger.claim(
            a_plan("key-4", tags=("c",)), YOU, [BudgetLimit(Decimal(9), "total", "c")]
        ),
    )
    assert (waited, other.outcome) == (False, "submit")


def test_what_asks_about_every_row_has_the_ledger_to_itself(url: str) -> None:
    """Whether another live row has a request, what a dead owner left, a webhook: they wait for what is open."""
    with Ledger(url) as ledger:
        row = submitted(ledger, a_plan("key-1"), ME)
        unknown = ledger.claim(a_plan("key-2"), ME).generation
    found: dict[str, Callable[[Ledger], Any]] = {
        "found": lambda ledger: ledger.record(unknown.id, Found("request-1", attempt=1), owner=ME),
        "leases": lambda ledger: ledger.expire_dead_leases(),
        "webhooks": lambda ledger: ledger.receive([]),
        "announcements": lambda ledger: ledger.adopt_stray("request-9", ME),
        "seedless": lambda ledger: ledger.adopt_seedless("seedless-key-9", ME),
    }
    for number, (name, call) in enumerate(found.items()):
        waited, _, _ = meets(url, claims(f"new-{number}"), call)
        assert waited, name
    assert row.id


def test_two_groups_that_wait_for_each_other_both_go_on(url: str) -> None:
    """The server ends one of two that each have what the other wants, and it is run again as a whole."""
    meet = threading.Barrier(2, timeout=60)

    def group(ledger: Ledger, keys: list[str]) -> list[str]:
        met = []

        def first() -> Any:
            claim = ledger.claim(a_plan(keys[0]), ME)
            if not met:
                met.append(meet.wait())
            return claim

        outcomes = ledger.together([first, lambda: ledger.claim(a_plan(keys[1]), ME)])
        assert [each.error for each in outcomes] == [None, None]
        return [each.value.generation.id for each in outcomes]

    with Ledger(url) as one, Ledger(url) as other, ThreadPoolExecutor(2) as pool:
        running = [pool.submit(group, one, ["a", "b"]), pool.submit(group, other, ["b", "a"])]
        ids = [each.result(60) for each in running]
        assert ids[0] == ids[1][::-1]
        assert len(one.find()) == 2
        assert one.wrong_sums() == []


def test_an_older_release_has_the_ledger_to_itself(url: str) -> None:
    """Its one lock keeps everybody out, and it waits for everybody."""
    lock = 0x6C74785F6C656467
    folder = make_url(url).query["host"]
    with (
        psycopg.connect(f"host={folder} user=ltx dbname=postgres") as old,
        Ledger(url) as ledger,
        ThreadPoolExecutor(1) as pool,
    ):
        old.execute("SELECT pg_advisory_xact_lock(%s)", [lock])
        running = pool.submit(ledger.claim, a_plan("key-1"), ME)
        assert waits(url, running)
        old.commit()
        assert running.result(60).outcome == "submit"
        ledger.record(running.result().generation.id, Accepted("request-1"), owner=ME)
