"""A rotated key, a second account and a gateway, on one ledger: what is bought is known by its account."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from generation_parts import submitted
from support import submits
from typer.testing import CliRunner

from prefect_ltx.cli import app
from prefect_ltx.fal import FalClient, FalHosts, IngredientRequest
from prefect_ltx.generation import GenerationParked, Services
from prefect_ltx.generation.accounts import AccountUnclear
from prefect_ltx.ledger import Generation, Ledger
from prefect_ltx.local import LocalFal
from prefect_ltx.settings import Settings

Make = Callable[..., IngredientRequest]


@pytest.fixture
def use(ltx_env: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the key, and the account's name where one is given."""

    def chosen(key: str, account: str = "") -> None:
        monkeypatch.setenv("FAL_KEY", f"{key}:s3cr3t-value-for-tests")
        monkeypatch.setenv("PREFECT_LTX_ACCOUNT", account)

    return chosen


async def bought(request: IngredientRequest) -> Generation:
    """What a process that starts now gets for the request."""
    async with Services.from_settings(Settings()) as services:
        return await submitted(services, request)


async def test_a_rotated_key_of_a_named_account_buys_nothing_again(
    use: Callable[..., None], fal: LocalFal, make_request: Make
) -> None:
    """The user's name for the account survives the key."""
    use("old", "studio")
    first = await bought(make_request())
    use("new", "studio")
    assert (await bought(make_request())).id == first.id
    assert submits(fal) == 1


async def test_a_rotated_key_without_a_name_is_asked_about_before_anything_is_sent(
    use: Callable[..., None], fal: LocalFal, make_request: Make
) -> None:
    """The key may not ask fal for its name: one command says that it is the same account."""
    fal.faults.add("billing_forbidden")
    use("old")
    first = await bought(make_request())
    use("new")
    for request in (make_request(), make_request(seed=8)):
        with pytest.raises(AccountUnclear, match="ledger account same"):
            await bought(request)
    assert submits(fal) == 1
    async with Services.from_settings(Settings()) as services:
        await _same(services)
    assert (await bought(make_request())).id == first.id
    assert submits(fal) == 1


async def _same(services: Services) -> None:
    mine = services.identity
    (other,) = await services.ledger.accounts_of_rows(mine.service)
    await services.ledger.note_account(mine.key_id, mine.service, other)


async def test_a_second_account_is_answered_with_one_setting(
    use: Callable[..., None], fal: LocalFal, make_request: Make
) -> None:
    """Where the user says that it is another account, it buys its own."""
    fal.faults.add("billing_forbidden")
    use("old")
    first = await bought(make_request())
    use("second", "second team")
    assert (await bought(make_request())).id != first.id
    assert submits(fal) == 2


async def test_what_another_account_bought_is_asked_about_and_not_bought(
    use: Callable[..., None], fal: LocalFal, make_request: Make
) -> None:
    """fal calls the two keys by two names; the very same request is a question, another one is not."""
    use("ann")
    await bought(make_request())
    use("bob")
    with pytest.raises(AccountUnclear, match="This very request is generation"):
        await bought(make_request())
    assert submits(fal) == 1
    await bought(make_request(seed=8))
    assert submits(fal) == 2
    use("bob", "bob's")
    await bought(make_request())
    assert submits(fal) == 3


async def test_videos_stay_known_when_the_server_comes_back_on_another_port_or_not_at_all(
    tmp_path: Path, ltx_env: Path, monkeypatch: pytest.MonkeyPatch, make_request: Make
) -> None:
    """An embedded fal is known by its data folder; what it made is found while it is down."""
    with LocalFal(data=tmp_path / "fal") as server:
        monkeypatch.setenv("PREFECT_LTX_FAL_URL", server.url)
        first = await bought(make_request())
    async with Services.from_settings(Settings()) as services:
        assert services.account == first.account
        assert services.service.id == first.service
    with LocalFal(data=tmp_path / "fal") as server:
        monkeypatch.setenv("PREFECT_LTX_FAL_URL", server.url)
        assert (await bought(make_request())).id == first.id
        assert submits(server) == 0


async def test_another_embedded_fal_is_another_service(
    ltx_env: Path, monkeypatch: pytest.MonkeyPatch, fal: LocalFal, make_request: Make
) -> None:
    """Its rows are not this one's: each is asked about what it made itself."""
    first = await bought(make_request())
    with LocalFal() as other:
        monkeypatch.setenv("PREFECT_LTX_FAL_URL", other.url)
        async with Services.from_settings(Settings()) as services:
            assert services.service.id != first.service


def test_a_gateway_in_front_of_fal_counts_as_fal_for_the_account() -> None:
    """The account is fal's whatever the address; nothing else is believed of it."""
    key = "id:secret"
    behind = FalClient(key, hosts=FalHosts.from_base_url("https://fal.example.com/api", is_gateway=True))
    assert behind.account == FalClient(key).account
    assert FalClient(key, base_url="https://fal.example.com/api").account != behind.account


def test_the_command_line_answers_the_question(use: Callable[..., None], fal: LocalFal) -> None:
    """`ledger account list` names the accounts, `ledger account same` gives this key the other one's."""

    async def opened() -> str:
        async with Services.from_settings(Settings()) as services:
            return services.identity.unclear

    fal.faults.add("billing_forbidden")
    use("old")
    assert not asyncio.run(opened())
    use("new")
    assert asyncio.run(opened())
    said = CliRunner().invoke(app, ["ledger", "account", "same", "--json"])
    assert said.exit_code == 0, said.output
    assert "s3cr3t" not in said.output
    assert not asyncio.run(opened())
    with Ledger(os.environ["PREFECT_LTX_LEDGER"]) as ledger:
        assert len({each.account for each in ledger.accounts()}) == 1
        assert len(ledger.accounts()) == 2


def test_a_key_decides_nothing_about_another_accounts_generation(
    use: Callable[..., None], fal: LocalFal, make_request: Make
) -> None:
    """`ledger resolve` under another key changes nothing, and says whose it is."""
    fal.faults.add("lost_reply")
    fal.faults.add("listing_forbidden")
    use("ann")
    with pytest.raises(GenerationParked):
        asyncio.run(bought(make_request()))
    use("bob")
    with Ledger(os.environ["PREFECT_LTX_LEDGER"]) as ledger:
        (parked,) = ledger.find()
        said = CliRunner().invoke(app, ["ledger", "resolve", parked.id, "--absent"])
        assert said.exit_code == 1
        assert "another account's" in said.stderr
        assert ledger.get(parked.id).state == "PARKED"
