"""What the processes of the race tests run. Importable, so that a fresh interpreter can be given it."""

import random
from decimal import Decimal
from multiprocessing.synchronize import Barrier
from typing import Any

from ledger_parts import a_plan

from prefect_ltx.ledger import (
    BudgetExceeded,
    BudgetLimit,
    Ledger,
    LedgerError,
    Owner,
    Rejected,
    RemoteCompleted,
)

WAIT = 60


def claim_rounds(url: str, rounds: int, barrier: Barrier) -> list[str]:
    """Claim the same key as everybody else, once a round; what the ledger said, and whether the POST was allowed."""
    said = []
    with Ledger(url) as ledger:
        for number in range(rounds):
            owner = Owner.here(announces_posts=True)
            barrier.wait(WAIT)
            claim = ledger.claim(a_plan(f"round-{number}"), owner)
            try:
                ledger.begin_post(claim.generation.id, owner)
                said.append(f"{claim.outcome}, posted")
            except LedgerError:
                said.append(claim.outcome)
            barrier.wait(WAIT)
    return said


def spend(url: str, name: int, times: int, limit: BudgetLimit) -> dict[str, Any]:
    """Reserve, then either be refused by fal or settle at some exact price below the upper bound."""
    chance = random.Random(name)
    bill, refused, rejected = Decimal(0), 0, 0
    with Ledger(url) as ledger:
        for number in range(times):
            owner = Owner.here()
            try:
                row = ledger.claim(a_plan(f"{name}-{number}"), owner, [limit]).generation
            except BudgetExceeded:
                refused += 1
                continue
            if chance.random() < 0.4:
                ledger.record(row.id, Rejected("429", attempt=1), owner=owner)
                rejected += 1
                continue
            usd = Decimal(chance.randrange(1, 300_000_001)).scaleb(-9)
            event = RemoteCompleted("https://v", units=Decimal(1), usd=usd, request_id=f"{name}-{number}")
            ledger.record(row.id, event)
            bill += usd
    return {"bill": bill, "refused": refused, "rejected": rejected}
