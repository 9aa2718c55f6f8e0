"""The stop rule end to end: an absurd bill, nothing bought, everything shown, a person looks, buying goes on."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from support import submits
from typer.testing import CliRunner

from prefect_ltx.cli import app
from prefect_ltx.doctor.storage import check_ledger
from prefect_ltx.fal import IngredientRequest, parse_request
from prefect_ltx.generation import Services, ledger_plan, prepare, submit_once, upload, wait_for
from prefect_ltx.ledger import Generation, Owner, SpendingStopped
from prefect_ltx.local import LocalFal
from prefect_ltx.settings import Settings

Cup = dict[str, Any]


@pytest.fixture
def cup(media_folder: Path, ltx_env: Path) -> Cup:
    """A small request for the embedded fal."""
    return {
        "prompt": "Reference sheet: a cup. Generated video: it turns.",
        "image_url": str(media_folder / "sheet.png"),
        "num_frames": 9,
        "resolution": {"width": 256, "height": 128},
        "video_write_mode": "fast",
        "seed": 7,
    }


def run(*arguments: str, exit_code: int = 0) -> Any:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == exit_code, done.output
    return json.loads(done.stdout)


def said(*arguments: str, exit_code: int = 0) -> str:
    done = CliRunner().invoke(app, [*arguments])
    assert done.exit_code == exit_code, done.output
    return " ".join(f"{done.stdout} {done.stderr}".split())


def bought(document: Cup) -> Generation:
    """The request, bought and finished at fal by a process of its own services."""

    async def buy() -> Generation:
        async with Services.from_settings(Settings()) as services:
            request = parse_request(document)
            assert isinstance(request, IngredientRequest)
            owner = Owner.here()
            plan, settled, inputs = await prepare(services, request, owner=owner)
            urls = {field: (await upload(services, str(media.path))).url for field, media in inputs.items()}
            body = settled.with_media(urls).body()
            row = await submit_once(services, ledger_plan(plan, body, flow_run_id=None, tags=()), owner)
            return await wait_for(services, row)

    return asyncio.run(buy())


def test_an_absurd_bill_stops_spending_until_a_person_has_looked(
    fal: LocalFal, cup: Cup, tmp_path: Path
) -> None:
    """What follows a bill of a hundred times the price is refused before any POST and shown everywhere; once a person
    has looked, buying goes on."""
    fal.faults.add("absurd_bill", 1, value=100)
    first = bought(cup)
    with pytest.raises(SpendingStopped, match=f"ledger resolve {first.id} --bill-checked"):
        bought(cup | {"seed": 8})
    assert submits(fal) == 1
    assert bought(cup).id == first.id  # what is paid for goes on

    path = tmp_path / "request.json"
    path.write_text(json.dumps(cup | {"seed": 8}))
    assert f"resolve {first.id} --bill-checked" in said("plan", str(path), exit_code=1)
    assert [each["generation"] for each in run("ledger", "spend")["stops"]] == [first.id]
    assert "--bill-checked" in said("ledger", "spend")
    findings = check_ledger(Settings())
    assert any(each.severity == "error" and first.id in each.what for each in findings)

    resolved = run("ledger", "resolve", first.id[:8], "--bill-checked")["resolved"]
    assert [each["generation"] for each in resolved] == [first.id]
    assert resolved[0]["resolved_by"]
    assert run("ledger", "spend")["stops"] == []
    bought(cup | {"seed": 8})
    assert submits(fal) == 2


def test_a_bill_by_events_stops_as_well(fal: LocalFal, cup: Cup) -> None:
    """Units as expected and billing events far beyond them: found by the sweep, in another process than the buyer's."""
    fal.faults.add("billed_unit_price", 1, value=0.24)
    first = bought(cup)
    run("sweep", exit_code=0)
    with pytest.raises(SpendingStopped, match=first.id):
        bought(cup | {"seed": 8})
    assert submits(fal) == 1


def test_how_much_is_too_much_is_a_setting(fal: LocalFal, cup: Cup, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dearer bill within the factor is a drift and stops nothing."""
    monkeypatch.setenv("PREFECT_LTX_STOP_FACTOR", "200")
    fal.faults.add("absurd_bill", 1, value=100)
    bought(cup)
    assert bought(cup | {"seed": 8}).request_id
    assert submits(fal) == 2


def test_a_generation_that_stops_nothing_is_not_resolved(fal: LocalFal, cup: Cup) -> None:
    """Checking the bill of a generation that stops nothing changes nothing and says so."""
    first = bought(cup)
    assert "stops spending" in said("ledger", "resolve", first.id, "--bill-checked", exit_code=1)
