"""PostgreSQL, 8 processes that claim and record different generations, beside one lock for all as it was before.

Bar (issue 12): at least 4 times the throughput. Each process carries 20 generations at once through claim, POST,
accept, result, file and archive. "before" makes each call in a transaction of its own that has the ledger to itself;
"alone" lets transactions of different generations overlap; "together" also commits what has gathered at once. The
server keeps its promise (fsync, synchronous_commit). Where no PostgreSQL can be had nothing is measured, in words.
`--short` has two processes, takes seconds and misses no bar; `--budget` checks one budget in every claim.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench_ledger import a_plan

from prefect_ltx.ledger import (
    Accepted,
    Archived,
    AsyncLedger,
    BudgetLimit,
    Collected,
    Ledger,
    Owner,
    RemoteCompleted,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

BAR = 4.0
PROCESSES = 8
AT_ONCE = 20
WAYS = ("before", "alone", "together")


class OneLock(Ledger):
    """A ledger whose every transaction has it to itself."""

    def _write(self, work: Any, *, bill: str = "", shares: bool = False) -> Any:
        return super()._write(work, bill=bill)


async def live(ledger: AsyncLedger, gathers: bool, limits: list[BudgetLimit], until: float) -> int:
    """Carry generations through their lives, `AT_ONCE` of them, until a moment; how many calls were answered."""

    answered = 0

    async def call(function: Any, *arguments: Any, **also: Any) -> Any:
        nonlocal answered
        way = ledger.write if gathers else ledger.run
        result = await way(function, *arguments, **also)
        if time.time() < until:
            answered += 1
        return result

    async def one() -> None:
        plain = ledger.ledger
        while time.time() < until:
            owner = Owner.here(announces_posts=True)
            key = str(uuid.uuid4())
            row = (await call(plain.claim, a_plan(key), owner, limits)).generation
            await call(plain.begin_post, row.id, owner)
            await call(plain.record, row.id, Accepted(key), owner=owner)
            await call(
                plain.record_and_get, row.id, RemoteCompleted("https://cdn.example/v.mp4"), owner=owner
            )
            await call(plain.record_and_get, row.id, Collected("a" * 64, 1, "/work/v.mp4", {}), owner=owner)
            await call(plain.record, row.id, Archived("file:///archive", key, "b" * 64), owner=owner)

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    return answered


def child(url: str, way: str, seconds: float, budget: bool) -> None:
    """One process: says when it is ready, begins when it is told to, and prints how many calls were answered."""
    limits = [BudgetLimit(Decimal(10**6), "day")] if budget else []
    with (OneLock if way == "before" else Ledger)(url) as ledger:
        print("ready", flush=True)
        begin = float(sys.stdin.readline())
        time.sleep(max(0.0, begin - time.time()))
        print(asyncio.run(live(AsyncLedger(ledger), way == "together", limits, begin + seconds)))


def measure(url: str, way: str, processes: int, seconds: float, budget: bool) -> float:
    """Calls answered in a second, of all processes together."""
    command = [sys.executable, __file__, "--child", way, "--url", url, "--seconds", str(seconds)]
    command += ["--budget"] if budget else []
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipes) for _ in range(processes)]
    for each in running:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    begin = time.time() + 1
    return sum(int(out) for out in _told(running, f"{begin}\n")) / seconds


def _told(running: list[Any], line: str) -> list[str]:
    for each in running:
        each.stdin.write(line)
        each.stdin.flush()
    return [each.communicate()[0] for each in running]


def main() -> int:
    """Print what was measured as JSON; 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--budget", action="store_true", help="check one budget in every claim")
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.url, arguments.child, arguments.seconds, arguments.budget)
        return 0
    from postgres import NoPostgres, restartable_postgres

    processes, seconds = (2, 2.0) if arguments.short else (PROCESSES, arguments.seconds)
    safe = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
    try:
        with restartable_postgres(**safe) as server:
            Ledger(server.url).close()
            found = {way: measure(server.url, way, processes, seconds, arguments.budget) for way in WAYS}
            with Ledger(server.url) as ledger:
                assert ledger.wrong_sums() == []
    except NoPostgres as error:
        print(f"left out: {error}")
        return 0
    ratio = found["together"] / max(found["before"], 0.1)
    rates = {f"{way}_per_second": round(rate, 1) for way, rate in found.items()}
    print(json.dumps({"processes": processes, "budget": arguments.budget, **rates, "ratio": round(ratio, 2)}))
    if ratio < BAR and not arguments.short:
        print(f"A bar was missed: {BAR} times what one lock for all allows")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
