"""Two accounts on one ledger: a row is asked about with its own account's key, at its own service, by nobody else."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from generation_parts import planned, rewrite_row, submitted
from support import environment, submits
from typer.testing import CliRunner

from prefect_ltx.cli import app
from prefect_ltx.fal import IngredientRequest
from prefect_ltx.generation import GenerationParked, Services, cancel, hold, submit_once, wait_for
from prefect_ltx.ledger import AnotherAccount, Generation, Owner, State
from prefect_ltx.local import LocalFal
from prefect_ltx.recovery import ask_in_flight, sweep_all
from prefect_ltx.settings import Settings

Make = Callable[..., IngredientRequest]
OTHER = "another-key-id:s3cr3t-of-the-other"


@pytest.fixture
async def other(services: Services, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Services]:
    """The same ledger, archive and fal, in another account's hands."""
    monkeypatch.setenv("FAL_KEY", OTHER)
    monkeypatch.setenv("PREFECT_LTX_ACCOUNT", "the other")
    async with Services.from_settings(Settings()) as found:
        assert found.account != services.account
        yield found


async def in_each_state(
    services: Services, fal: LocalFal, ledger: Path, make: Make
) -> dict[State, Generation]:
    """A row of account A in each state that somebody might touch."""
    rows = {}
    rows[State.COMPLETED] = await wait_for(services, await submitted(services, make(seed=1)))
    fal.faults.add("slow_run", value=60)
    rows[State.SUBMITTED] = await submitted(services, make(seed=2))
    fal.faults.add("listing_forbidden")
    fal.faults.add("lost_reply")
    with pytest.raises(GenerationParked):
        await submitted(services, make(seed=3))
    fal.faults.clear()
    (rows[State.PARKED],) = await services.ledger.find(states=[State.PARKED])
    owner = Owner.here(announces_posts=True)
    _, plan = await planned(services, make(seed=4), owner)
    claim = await services.ledger.claim(plan, owner)
    now = services.client.clock.now()
    assert now is not None
    await services.ledger.begin_post(claim.generation.id, owner, since=now.earliest)
    await services.ledger.release(claim.generation.id, owner)
    rows[State.UNKNOWN] = await services.ledger.get(claim.generation.id)
    lost = await wait_for(services, await submitted(services, make(seed=5)))
    rewrite_row(ledger, lost.id, state="LOST", video_url=None)
    rows[State.LOST] = await services.ledger.get(lost.id)
    assert all(row.state is state for state, row in rows.items())
    return rows


async def test_nothing_of_another_account_is_touched(
    services: Services, other: Services, fal: LocalFal, ltx_env: Path, make_request: Make
) -> None:
    """Sweep, poll, cancel, finish and resolve under B leave A's rows as they are, list and count them; A's own sweep
    then brings each to its end, and nothing is charged twice."""
    rows = await in_each_state(services, fal, ltx_env / "ledger.db", make_request)
    before = {row.id: row for row in await services.ledger.find()}
    asked = len(fal.log)

    report = await sweep_all(other, Owner.here(announces_posts=True))
    assert set(report.other_accounts) == {row.id for row in rows.values()}
    assert (report.items, report.succeeded) == ([], True)
    polled = await ask_in_flight(other)
    assert (polled.asked, polled.other_accounts) == (0, 2)
    for row in rows.values():
        with pytest.raises(AnotherAccount):
            await cancel(other, row.id, Owner.here(), by="B")
        with pytest.raises(AnotherAccount):
            async with hold(other, row.id, Owner.here()):
                pass
        for choice in ("--absent", "--write-off", "--adopt=made-up-request-id"):
            result = await asyncio.to_thread(
                CliRunner().invoke, app, ["ledger", "resolve", row.id, choice, "--json"]
            )
            assert result.exit_code != 0, result.output

    assert {row.id: row for row in await services.ledger.find()} == before
    ids = [row.request_id for row in rows.values() if row.request_id]
    assert not any(request_id in path for _, path, _ in fal.log[asked:] for request_id in ids)

    await sweep_all(services, Owner.here(announces_posts=True))
    after = {state: (await services.ledger.get(row.id)).state for state, row in rows.items()}
    assert after[State.COMPLETED] is after[State.LOST] is State.ARCHIVED
    assert after[State.UNKNOWN] is State.RELEASED
    assert after[State.SUBMITTED] is State.SUBMITTED
    assert submits(fal) == 4


async def test_both_accounts_buy_their_own_and_sweep_their_own(
    services: Services, other: Services, fal: LocalFal, make_request: Make
) -> None:
    """The same request under two accounts is two generations; each sweep archives its own."""
    first, second = await submitted(services, make_request()), await submitted(other, make_request())
    assert first.id != second.id
    fal.wait_until_idle()
    await sweep_all(other, Owner.here(announces_posts=True))
    states = {row.id: row.state for row in await other.ledger.find()}
    assert states == {first.id: State.SUBMITTED, second.id: State.ARCHIVED}
    await sweep_all(services, Owner.here(announces_posts=True))
    assert {row.state for row in await other.ledger.find()} == {State.ARCHIVED}
    assert len(fal.bill) == 2


async def test_another_embedded_server_is_another_service(
    services: Services, fal: LocalFal, tmp_path: Path, make_request: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One key, one ledger, two servers: what runs at the first is neither asked about nor lost under the second."""
    row = await submitted(services, make_request())
    with LocalFal() as second:
        for name, value in environment(second.url, tmp_path).items():
            monkeypatch.setenv(name, value)
        async with Services.from_settings(Settings()) as elsewhere:
            for _ in range(2):
                report = await sweep_all(elsewhere, Owner.here(announces_posts=True))
                await ask_in_flight(elsewhere)
                fal.wait_until_idle()
        assert report.other_accounts == [row.id]
        assert not any(str(row.request_id) in path for _, path, _ in second.log)
    assert (await services.ledger.get(row.id)).state is State.SUBMITTED
    await sweep_all(services, Owner.here(announces_posts=True))
    assert (await services.ledger.get(row.id)).state is State.ARCHIVED


async def test_the_command_counts_what_it_leaves_alone(
    services: Services, other: Services, make_request: Make
) -> None:
    """`prefect-ltx sweep` under B succeeds, and says how many generations are other accounts'."""
    row = await submitted(services, make_request())
    result = await asyncio.to_thread(CliRunner().invoke, app, ["sweep", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["other_accounts"] == [row.id]


async def test_a_claim_of_anothers_plan_is_refused(
    services: Services, other: Services, fal: LocalFal, make_request: Make
) -> None:
    """A plan that names A is not carried out under B, before anything is sent."""
    owner = Owner.here(announces_posts=True)
    _, plan = await planned(services, make_request(), owner)
    with pytest.raises(AnotherAccount):
        await submit_once(other, plan, owner)
    assert submits(fal) == 0
