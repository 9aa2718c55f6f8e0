"""Several workers at once on one ledger: one POST for one key, and one budget for all."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from generation_parts import submitted
from support import environment, submits

from prefect_ltx.fal import IngredientRequest, price_usd
from prefect_ltx.generation import Services
from prefect_ltx.generation.wait import wait_for
from prefect_ltx.ledger import Ledger, Owner, State
from prefect_ltx.local import LocalFal
from prefect_ltx.settings import Settings

LONG = bool(os.environ.get("CHAOS_ROUNDS"))
"""Set by `make chaos`; CI runs a short form of each race, and the ledger's own races in full."""
ROUNDS = 50 if LONG else 15
EACH = 50 if LONG else 15
AFFORDABLE = 150 if LONG else 45
Make = Callable[..., IngredientRequest]


@pytest.fixture
def fal() -> Iterator[LocalFal]:
    """A fal that copies one clip, whatever is asked: what is tested is who may ask."""
    with LocalFal(renderer="prefect_ltx.local.stored_clip:StoredClipRenderer") as server:
        server.faults.add("concurrency", value=40)
        yield server


@pytest.fixture
def shared(ltx_env: Path, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PREFECT_LTX_LEDGER", ledger_url)
    return ledger_url


@contextmanager
def children(
    number: int, url: str, folder: Path, ledger: str, request: IngredientRequest, **more: str
) -> Iterator[list[subprocess.Popen[str]]]:
    environ = os.environ | environment(url, folder) | {"PREFECT_LTX_LEDGER": ledger} | more
    environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    started = [
        subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("race_child.py")), request.model_dump_json()],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(number)
    ]
    try:
        assert [each.stdout.readline() for each in started if each.stdout] == ["ready\n"] * number
        yield started
    finally:
        for each in started:
            if each.stdin:
                each.stdin.close()
            each.wait(30)
            if each.stdout:
                each.stdout.close()


def ask(child: subprocess.Popen[str], **what: Any) -> dict[str, Any]:
    assert child.stdin
    assert child.stdout
    child.stdin.write(json.dumps(what) + "\n")
    child.stdin.flush()
    answer: dict[str, Any] = json.loads(child.stdout.readline())
    return answer


def test_two_processes_make_one_post(fal: LocalFal, ltx_env: Path, shared: str, make_request: Make) -> None:
    """Two processes start the same request at once, again and again: one POST and one request each time."""
    with (
        children(2, fal.url, ltx_env, shared, make_request()) as both,
        ThreadPoolExecutor(2) as pool,
    ):
        for seed in range(ROUNDS):
            answers = list(pool.map(lambda child, seed=seed: ask(child, seed=seed), both))
            assert answers[0]["request_id"] == answers[1]["request_id"] is not None
            assert submits(fal) == seed + 1


def test_two_threads_make_one_post(fal: LocalFal, shared: str, make_request: Make) -> None:
    """Two threads start the same request at once, again and again: one POST and one request each time."""
    start, done = threading.Barrier(2, timeout=60), threading.Barrier(2, timeout=60)
    counts: list[int] = []

    async def rounds() -> list[str | None]:
        ids = []
        async with Services.from_settings(Settings()) as services:
            for seed in range(ROUNDS):
                start.wait()
                generation = await submitted(
                    services, make_request(seed=seed), Owner.here(announces_posts=True)
                )
                ids.append(generation.request_id)
                if done.wait() == 0:
                    counts.append(submits(fal))
        return ids

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: asyncio.run(rounds()), range(2))
    assert first == second
    assert counts == list(range(1, ROUNDS + 1))


@pytest.mark.timeout(300)
async def test_budget_holds_over_processes_and_settles_to_the_bill(
    fal: LocalFal, ltx_env: Path, shared: str, make_request: Make
) -> None:
    """8 processes, money for three eighths of what they ask (400): never more; then nothing is held, all is settled."""
    request = make_request(resolution={"width": 256, "height": 144})
    # 144 is rounded up to 192 for the reservation: what may be billed at most.
    price = price_usd(256, 192, 9)
    limit = AFFORDABLE * price

    def batch(number: int, child: subprocess.Popen[str]) -> list[str | None]:
        return [ask(child, seed=1000 * number + each)["request_id"] for each in range(EACH)]

    with (
        children(8, fal.url, ltx_env, shared, request, PREFECT_LTX_BUDGET_USD=str(limit)) as all_of_them,
        ThreadPoolExecutor(8) as pool,
    ):
        answers = [each for ids in pool.map(batch, range(8), all_of_them) for each in ids]
    assert len(answers) == 8 * EACH
    assert sum(each is not None for each in answers) == submits(fal) == AFFORDABLE
    async with Services.from_settings(Settings()) as services:
        rows = await services.ledger.find()
        assert sum(row.held_usd for row in rows) <= limit
        await asyncio.gather(*(wait_for(services, row) for row in rows))
    with Ledger(shared) as ledger:
        rows = ledger.find()
        assert {row.state for row in rows} == {State.COMPLETED}
        assert ledger.unsettled() == []
        settled = sum((row.settled_usd or Decimal(0) for row in rows), Decimal(0))
        assert sum(row.held_usd for row in rows) == settled == fal.bill.total_usd
