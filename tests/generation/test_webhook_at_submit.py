"""The one POST asks fal to call back, and what the webhook then brings is paid for once."""

from collections.abc import Callable
from pathlib import Path

import pytest
from generation_parts import planned, submitted
from support import submits
from webhook_parts import until

from prefect_ltx.fal import IngredientRequest
from prefect_ltx.generation import Services
from prefect_ltx.ledger import Owner, State
from prefect_ltx.local import LocalFal
from prefect_ltx.recovery import ask_in_flight
from prefect_ltx.settings import Settings, SettingsError

Make = Callable[..., IngredientRequest]


async def test_the_webhook_url_is_no_part_of_the_generation(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """Same key, same body, with a webhook or without; each POST's URL has its own generation's nonce."""
    plan, _ = await planned(services, make_request(), Owner.here())
    before = (plan.key, plan.seedless_key)
    calling = services.calling_back("http://127.0.0.1:9/hooks/")
    plan, _ = await planned(calling, make_request(), Owner.here())
    assert (plan.key, plan.seedless_key) == before
    row = await submitted(calling, make_request())
    assert "127.0.0.1:9" not in str(row.body)
    assert submits(fal) == 1


@pytest.mark.parametrize(
    "url", ["hooks.example.org", "ftp://x", "https://", "https://x/?a=1", "https://u:p@x", "https://x#f"]
)
def test_a_webhook_url_that_cannot_work_stops_before_anything_is_sent(
    ltx_env: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """One line that names the setting and does not repeat a password."""
    monkeypatch.setenv("PREFECT_LTX_WEBHOOK_URL", url)
    with pytest.raises(SettingsError, match=r"Nothing was sent or spent.*PREFECT_LTX_WEBHOOK_URL") as caught:
        Services.from_settings(Settings())
    assert "u:p" not in str(caught.value)


async def test_the_poller_asks_once_about_what_nobody_waits_for(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """What is done is recorded and told once; what a run holds is left to it; what fal works on stays."""
    owner = Owner.here()
    done = await submitted(services, make_request(seed=1))
    other = await submitted(services, make_request(seed=2))
    until(lambda: len(fal.bill) == 2)
    fal.faults.add("stuck_queue")
    stuck = await submitted(services, make_request(seed=3))
    held = await submitted(services, make_request(seed=4))
    await services.ledger.take(held.id, owner)
    log = len(fal.log)
    report = await ask_in_flight(services)
    asked = [path for _, path, _ in fal.log[log:] if path.endswith("/status")]
    assert len(asked) == report.asked == 3
    assert not any(str(held.request_id) in path for path in asked)
    assert (set(report.completed), report.in_flight) == ({done.id, other.id}, 1)
    assert (await services.ledger.get(stuck.id)).state is State.SUBMITTED
    told = await services.ledger.take_announcements()
    assert {each.generation.id for each in told} == {done.id, other.id}
    again = await ask_in_flight(services)
    assert (again.asked, again.completed, await services.ledger.take_announcements()) == (1, [], [])
    assert submits(fal) == 4
