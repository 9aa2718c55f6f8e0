"""Plans, a clock that tests move, and shortcuts through a generation's life."""

from decimal import Decimal
from typing import Any

from prefect_ltx.ledger import (
    Accepted,
    Archived,
    Collected,
    Generation,
    GoneSaid,
    Ledger,
    Owner,
    Plan,
    RemoteCompleted,
)

ENDPOINT = "fal-ai/ltx-2.3-quality/ingredient"
SIGNED = "https://cdn.example/input.png?X-Signature=topsecret"
VIDEO = "https://cdn.example/video.mp4?token=alsosecret"


class Clock:
    """Unix seconds that stand still until a test moves them."""

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def a_plan(
    key: str = "key-1", *, seed: int = 7, upper: str = "0.30", expected: str = "0.25", **changes: Any
) -> Plan:
    """A plan for one ingredient request."""
    values: dict[str, Any] = {
        "key": key,
        "seedless_key": f"seedless-{key}",
        "endpoint": ENDPOINT,
        "account": "account-1",
        "body": {"prompt": "a copper pan", "image_url": SIGNED, "seed": seed, "num_frames": 121},
        "seed": seed,
        "seed_drawn": True,
        "price_expected_usd": Decimal(expected),
        "price_upper_usd": Decimal(upper),
        "asked": {"width": 1536, "height": 896},
    }
    return Plan(**{**values, **changes})


def an_owner(name: str = "a", *, announces_posts: bool = True) -> Owner:
    """An owner of whom nobody can prove that it is dead: only its lease ends."""
    return Owner(
        boot="", namespace="", pid=1, started="", nonce=name, host="test", announces_posts=announces_posts
    )


def submitted(ledger: Ledger, plan: Plan, owner: Owner, request_id: str = "request-1") -> Generation:
    """A row that fal has accepted."""
    row = ledger.claim(plan, owner).generation
    ledger.begin_post(row.id, owner)
    ledger.record(row.id, Accepted(request_id), owner=owner)
    return ledger.get(row.id)


def completed(
    ledger: Ledger, plan: Plan, owner: Owner, request_id: str = "request-1", **facts: Any
) -> Generation:
    """A row whose video fal has made."""
    row = submitted(ledger, plan, owner, request_id)
    ledger.record(
        row.id, RemoteCompleted(VIDEO, seed=plan.seed, prompt="an expanded prompt", **facts), owner=owner
    )
    return ledger.get(row.id)


def lost(ledger: Ledger, row: Generation, reason: str = "404") -> Generation:
    """The row after fal has said twice, minutes apart, that it is gone."""
    for at in (1000.0, 2000.0):
        ledger.record(row.id, GoneSaid(at, reason))
    return ledger.get(row.id)


def archived(
    ledger: Ledger, plan: Plan, owner: Owner, request_id: str = "request-1", **facts: Any
) -> Generation:
    """A row that is done."""
    row = completed(ledger, plan, owner, request_id, **facts)
    ledger.record(row.id, Collected("a" * 64, 1234, "/work/video.mp4", {"frames": 121}), owner=owner)
    ledger.record(row.id, Archived("file:///archive", "2026/folder", "b" * 64), owner=owner)
    return ledger.get(row.id)
