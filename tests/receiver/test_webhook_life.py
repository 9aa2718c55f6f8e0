"""A generation's life by webhook, with the embedded fal as fal: adopted, completed, settled, and paid for once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support import SECRET, environment, submits
from webhook_parts import Receiving, heard, until

from prefect_ltx.fal import FalClient, IngredientRequest
from prefect_ltx.generation import (
    GenerationParked,
    Order,
    Services,
    finish,
    hold,
    ledger_plan,
    plain_steps,
    prepare,
    submit_once,
    upload,
)
from prefect_ltx.ledger import Generation, Owner, State
from prefect_ltx.local import LocalFal
from prefect_ltx.settings import Settings


@pytest.fixture
async def services(
    fal: LocalFal, hook: Receiving, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Services]:
    """The services of a user whose ledger the receiver records into."""
    for name, value in environment(fal.url, folder).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PREFECT_LTX_WEBHOOK_URL", hook.url)
    async with Services.from_settings(Settings()) as found:
        yield found
    fal.faults.clear()


async def submitted(services: Services, sheet: Path, seed: int) -> Generation:
    request = IngredientRequest(
        prompt="Reference sheet: a cup. Generated video: it turns.",
        image_url=str(sheet),
        num_frames=9,
        resolution={"width": 256, "height": 144},
        seed=seed,
    )
    owner = Owner.here(announces_posts=True)
    plan, settled, inputs = await prepare(services, request, owner=owner)
    urls = {field: (await upload(services, str(media.path))).url for field, media in inputs.items()}
    body = settled.with_media(urls).body()
    return await submit_once(services, ledger_plan(plan, body, flow_run_id=None, tags=()), owner)


async def collected(services: Services, row: Generation) -> Generation:
    owner = Owner.here()
    async with hold(services, row.id, owner) as generation:
        await finish(plain_steps(services), generation, Order(owner, recipe="none"))
    return await services.ledger.get(row.id)


def billed(fal: LocalFal, row: Generation) -> list[object]:
    return [charge.usd for charge in fal.bill.charges if charge.request_id == row.request_id]


async def test_a_lost_reply_is_adopted_by_its_webhook_without_the_listing(
    services: Services, fal: LocalFal, media_folder: Path
) -> None:
    """A key that may not list parks the row; fal's webhook carries the nonce: one POST, one charge, and the price is
    known to the cent although a webhook names no units."""
    services.client = FalClient(SECRET, hosts=services.client.hosts, submit_timeout=5.0)
    before = submits(fal)
    for fault in ("lost_reply", "listing_forbidden", "billing_forbidden"):
        fal.faults.add(fault)
    with pytest.raises(GenerationParked) as caught:
        await submitted(services, media_folder / "sheet.png", 101)
    row = caught.value.generation
    ledger = services.ledger.ledger
    await asyncio.to_thread(until, lambda: ledger.get(row.id).state is State.COMPLETED)
    assert heard(ledger, row) == ["WebhookReceived", "RemoteCompleted"]
    after = await collected(services, row)
    assert (after.state, [after.settled_usd]) == (State.ARCHIVED, billed(fal, after))
    assert submits(fal) == before + 1


async def test_webhooks_come_doubled_reordered_and_bare(
    services: Services, fal: LocalFal, media_folder: Path
) -> None:
    """fal delivers at least once, in no order, sometimes without the payload: recorded once, and collected."""
    before = submits(fal)
    fal.faults.add("duplicate_webhooks", times=3, value=3)
    fal.faults.add("reordered_webhooks", value=2)
    fal.faults.add("webhook_payload_error")
    ledger = services.ledger.ledger
    rows = [await submitted(services, media_folder / "sheet.png", seed) for seed in (201, 202, 203)]
    await asyncio.to_thread(until, lambda: all(ledger.get(row.id).state is State.COMPLETED for row in rows))
    # The bare one was completed by its repetition, which has the payload.
    assert sorted(len(heard(ledger, row)) for row in rows) == [2, 2, 3]
    after = [await collected(services, row) for row in rows]
    assert {row.state for row in after} == {State.ARCHIVED}
    assert [len(billed(fal, row)) for row in after] == [1, 1, 1]
    assert submits(fal) == before + 3
