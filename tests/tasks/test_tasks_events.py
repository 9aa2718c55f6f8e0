"""What the package tells Prefect's event log: once, complete, without a secret, and never in the way."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings
from told import told

from prefect_ltx.ledger import (
    Accepted,
    BudgetLimit,
    BudgetStatus,
    Generation,
    Ledger,
    Owner,
    Plan,
    RemoteCompleted,
    Stop,
    unwatch,
    watch,
)
from prefect_ltx.tasks import events
from prefect_ltx.tasks.events import emit, emit_budget_low, emit_generation, emit_spending_stopped
from prefect_ltx.tasks.life import tell_prefect

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Prefect's own client
]

SIGNED = "https://cdn.example/video.mp4?X-Signature=needle-in-haystack"


@contextmanager
def unheard() -> Iterator[None]:
    """What the ledger does meanwhile is told to nobody: these tests tell themselves."""
    unwatch(tell_prefect)
    try:
        yield
    finally:
        watch(tell_prefect)


def completed(folder: Path) -> Generation:
    """A generation that fal has finished and nobody holds."""
    plan = Plan(
        key="key",
        seedless_key="seedless",
        endpoint="fal-ai/ltx-2.3-quality/ingredient",
        account="account",
        body={"prompt": "a secret product", "image_url": SIGNED},
        seed=7,
        seed_drawn=True,
        price_expected_usd=Decimal("0.26964"),
        price_upper_usd=Decimal("0.30"),
        tags=("launch",),
    )
    with unheard(), Ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger:
        owner = Owner.here(announces_posts=True)
        row = ledger.claim(plan, owner).generation
        ledger.begin_post(row.id, owner)
        ledger.record(row.id, Accepted("request-1"), owner=owner)
        ledger.record(row.id, RemoteCompleted(SIGNED, seed=7, prompt="expanded"), owner=owner)
        ledger.release(row.id, owner)
        return ledger.get(row.id)


async def test_a_happening_told_twice_is_one_event(tmp_path: Path) -> None:
    """The id of a generation's event comes from what happened, so a webhook, a poller and a run may all tell it."""
    row = completed(tmp_path)
    for _ in range(3):
        emit_generation("completed", row)
    emit_generation("archived", row)
    found = await told(2, id=[f"ltx.generation.{row.id}"])
    assert sorted(each["event"] for each in found) == ["ltx.generation.archived", "ltx.generation.completed"]


async def test_an_event_carries_what_an_automation_needs_and_no_secret(tmp_path: Path) -> None:
    """Payload and labels name the generation, its prices and whether a run attends to it; no prompt and no URL."""
    row = completed(tmp_path)
    emit_generation("completed", row, note=f"seen at {SIGNED}")
    (event,) = await told(id=[f"ltx.generation.{row.id}"])
    assert event["payload"] == {
        "generation": row.id,
        "request_id": "request-1",
        "endpoint": "fal-ai/ltx-2.3-quality/ingredient",
        "state": "COMPLETED",
        "attended": False,
        "seed": 7,
        "attempt": 1,
        "price_expected_usd": "0.26964",
        "price_billed_usd": None,
        "tags": ["launch"],
        "flow_run_id": None,
        "reason": None,
        "archive": None,
        "folder": None,
        "note": "seen at https://cdn.example/video.mp4",
    }
    assert event["resource"] == {
        "prefect.resource.id": f"ltx.generation.{row.id}",
        "prefect.resource.name": "ingredient, seed 7",
        "ltx.endpoint": "fal-ai/ltx-2.3-quality/ingredient",
        "ltx.request-id": "request-1",
        "ltx.attended": "false",
    }


async def test_an_event_from_a_run_names_the_run(tmp_path: Path) -> None:
    """Told inside a flow run, an event is related to it."""
    row = completed(tmp_path)

    @flow
    async def tells() -> None:
        emit_generation("parked", row)

    await tells()
    (event,) = await told(id=[f"ltx.generation.{row.id}"])
    assert "flow-run" in {each["prefect.resource.role"] for each in event["related"]}


async def test_a_low_budget_is_told_once_a_period() -> None:
    """The same limit low again in its period is the same event; in the next period it is another."""
    limit = BudgetLimit(usd=Decimal(10), period="day", tag=None, name="team-a")
    status = BudgetStatus(limit, held_usd=Decimal("8.5"), settled_usd=Decimal(0))
    for start in (0.0, 0.0, 86400.0):
        emit_budget_low(status, ledger="ledger-of-this-test", period_start=start)
    found = await told(2, id=["ltx.budget.team-a"])
    assert [each["payload"]["left_usd"] for each in found] == ["1.5", "1.5"]
    assert found[0]["payload"]["limit_usd"] == "10"


async def test_a_stop_of_spending_is_told_once(tmp_path: Path) -> None:
    """A bill far beyond its bound is one event, with both amounts and what to look at."""
    row = completed(tmp_path)
    stop = Stop(
        id="stop-of-this-test",
        generation_id=row.id,
        request_id="request-1",
        billed_usd=Decimal("40500"),
        upper_usd=Decimal("0.27"),
        factor=Decimal(3),
        opened_at=row.created_at,
        resolved_at=None,
        resolved_by=None,
    )
    for _ in range(2):
        emit_spending_stopped(stop, row, ledger="ledger-with-a-stop")
    (event,) = await told(id=["ltx.spending.ledger-with-a-stop"])
    assert event["event"] == "ltx.spending.stopped"
    assert (event["payload"]["billed_usd"], event["payload"]["upper_usd"]) == ("40500", "0.27")
    assert event["payload"]["generation"] == row.id


async def test_a_place_is_told_to_the_letter() -> None:
    """A path in a payload keeps its spaces and its length; the address of a signed URL keeps no query."""
    path = f"/videos/two  spaces/{'x' * 600}.mp4"
    emit("ltx.file.landed", "ltx.file.test", payload={"location": path, "urls": [{"url": SIGNED}]})
    (event,) = await told(id=["ltx.file.test"])
    assert event["payload"] == {"location": path, "urls": [{"url": "https://cdn.example/video.mp4"}]}


def test_an_event_that_cannot_be_sent_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Telling never raises: an event larger than Prefect takes is a warning."""
    with caplog.at_level(logging.WARNING):
        emit("ltx.file.landed", "ltx.file.large", payload={"location": "x" * 3_000_000})
    assert "ltx.file.landed was not sent" in caplog.text


def test_without_a_run_and_a_server_nobody_is_told() -> None:
    """Outside of a run and without a server's address nothing is sent: no server is started to be told."""
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert not events._somebody_listens()
