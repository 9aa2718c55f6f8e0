"""Many at once, on both databases: one POST a key, no limit passed, nothing half done."""

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from ledger_parts import a_plan, an_owner
from ledger_workers import claim_rounds, spend

from prefect_ltx.ledger import BudgetLimit, Ledger, LedgerError, Owner, ProvablyAbsent, ReplyLost, State

ROUNDS = 50
# Not fork: the tests' own process has threads.
PROCESSES = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
PROCESSES.set_forkserver_preload(["prefect_ltx.ledger", "sqlalchemy.dialects.postgresql.psycopg"])


def in_processes(function: Callable[..., Any], calls: list[tuple[Any, ...]]) -> list[Any]:
    with ProcessPoolExecutor(len(calls), mp_context=PROCESSES) as pool:
        running: list[Future[Any]] = [pool.submit(function, *arguments) for arguments in calls]
        return [future.result() for future in running]


def one_post_a_round(answers: list[list[str]]) -> None:
    rounds = list(zip(*answers, strict=True))
    assert len(rounds) == ROUNDS
    for said in rounds:
        assert sorted(said) == ["busy"] * (len(said) - 1) + ["submit, posted"]


def test_two_threads_at_once_one_post(ledger_url: str) -> None:
    """Whoever comes second is told that it is busy."""
    barrier: Any = Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(claim_rounds, ledger_url, ROUNDS, barrier) for _ in range(2)]
        one_post_a_round([future.result() for future in running])


def test_two_processes_at_once_one_post(ledger_url: str) -> None:
    """The same between processes, which also open a new ledger at the same moment."""
    with PROCESSES.Manager() as manager:
        barrier = manager.Barrier(2)
        one_post_a_round(in_processes(claim_rounds, [(ledger_url, ROUNDS, barrier)] * 2))


def test_threads_share_one_ledger_object(ledger: Ledger) -> None:
    """Eight threads, one object, one key: one may send, and one proof of absence gives one more POST."""
    owners = [an_owner(str(number)) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda owner: ledger.claim(a_plan(), owner).outcome, owners))
    assert sorted(outcomes) == ["busy"] * 7 + ["submit"]

    winner = owners[outcomes.index("submit")]
    row = ledger.begin_post(ledger.find(key="key-1")[0].id, winner)
    ledger.record(row.id, ReplyLost(attempt=1), owner=winner)

    def prove(_: int) -> int:
        try:
            ledger.record(row.id, ProvablyAbsent(attempt=1), owner=winner)
            ledger.begin_post(row.id, winner)
        except LedgerError:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(prove, range(8))) == 1
    assert ledger.get(row.id).attempt == 2


def test_one_of_many_takes_over_what_a_dead_owner_left(ledger_url: str) -> None:
    """A row without a living owner is handed to exactly one."""
    with Ledger(ledger_url, lease_seconds=0.001) as ledger:
        row = ledger.claim(a_plan(), an_owner("dead")).generation
        ledger.begin_post(row.id, an_owner("dead"))
    with Ledger(ledger_url) as ledger, ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda name: ledger.claim(a_plan(), an_owner(str(name))), range(8)))
        assert sorted(claim.outcome for claim in claims) == ["busy"] * 7 + ["resume"]
        assert ledger.get(row.id).state is State.UNKNOWN


def test_a_budget_holds_between_processes(ledger_url: str) -> None:
    """8 processes, 400 reservations: the sum never passes the limit, and the books agree to the last digit."""
    limit = BudgetLimit(Decimal("12.00"), "total", name="race")
    ledger = Ledger(ledger_url)
    with ProcessPoolExecutor(8, mp_context=PROCESSES) as pool:
        running = [pool.submit(spend, ledger_url, name, 50, limit) for name in range(8)]
        seen = []
        while not all(future.done() for future in running):
            status = ledger.spending([limit])[0]
            seen.append(status.held_usd + status.settled_usd)
            time.sleep(0.02)
        results = [future.result() for future in running]

    status = ledger.spending([limit])[0]
    bill = sum((result["bill"] for result in results), Decimal(0))
    refused = sum(result["refused"] for result in results)
    assert max(seen) <= limit.usd
    assert (status.held_usd, status.settled_usd) == (Decimal(0), bill)
    assert status.left_usd == limit.usd - bill
    # The limit was really reached: people were refused, and no more than one upper bound is left.
    assert refused > 0
    assert status.left_usd < Decimal("0.30")
    assert len(ledger.find()) == 400 - refused
    ledger.close()


DIES_IN_TRANSACTION = """
import os, sys
from ledger_parts import a_plan, an_owner
from prefect_ltx.ledger import Ledger
from prefect_ltx.ledger.claiming import claim
ledger = Ledger(sys.argv[1])
ledger.claim(a_plan("committed"), an_owner())

def dies(tx):
    claim(tx, a_plan("half-way"), an_owner(), [])
    os.kill(os.getpid(), 9)

ledger._write(dies)
"""

FORKS = """
import os, sys
from ledger_parts import a_plan
from prefect_ltx.ledger import Ledger, Owner
ledger = Ledger(sys.argv[1])
ledger.claim(a_plan("parent-before"), Owner.here())
child = os.fork()
if child == 0:
    ok = ledger.claim(a_plan("child"), Owner.here()).outcome == "submit" and len(ledger.find()) >= 2
    os._exit(0 if ok else 1)
assert ledger.claim(a_plan("parent-after"), Owner.here()).outcome == "submit"
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert {row.key for row in ledger.find()} == {"parent-before", "child", "parent-after"}
ledger.close()
"""


def run_script(script: str, url: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-W", "error", "-c", script, url]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)


def test_a_kill_inside_a_transaction_leaves_nothing_of_it(ledger_url: str) -> None:
    """What was committed is there, what was not is not, and nobody waits for the dead."""
    done = run_script(DIES_IN_TRANSACTION, ledger_url)
    assert done.returncode == -9, done.stderr

    with Ledger(ledger_url) as ledger:
        assert [row.key for row in ledger.find()] == ["committed"]
        assert ledger.claim(a_plan("half-way"), Owner.here()).outcome == "submit"


def test_a_ledger_survives_a_fork(ledger_url: str) -> None:
    """Parent and child go on with connections of their own."""
    done = run_script(FORKS, ledger_url)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("times", [20])
def test_many_processes_open_a_new_ledger_at_once(ledger_url: str, times: int) -> None:
    """Its tables are made once, and all see the same ledger."""
    with ThreadPoolExecutor(times) as pool:
        ledgers = list(pool.map(lambda _: Ledger(ledger_url), range(times)))
    assert len({ledger.id for ledger in ledgers}) == 1
    for ledger in ledgers:
        ledger.close()
