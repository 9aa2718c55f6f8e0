"""One item never ends the sweep: whatever is wrong with it, the others are collected, and the item is named."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from generation_parts import rewrite_row, submitted
from typer.testing import CliRunner

from prefect_ltx.cli import app
from prefect_ltx.fal import IngredientRequest
from prefect_ltx.generation import Services, wait_for
from prefect_ltx.ledger import Owner, State
from prefect_ltx.local import LocalFal
from prefect_ltx.recovery import sweep_all

Make = Callable[..., IngredientRequest]

ODD_ROWS = {
    "completed without a URL": {"state": "COMPLETED", "video_url": None},
    "submitted without a request id": {"state": "SUBMITTED", "request_id": None},
    "collected without a hash": {"state": "COLLECTED", "sha256": None, "size": None},
    "completed with a URL that is none": {"state": "COMPLETED", "video_url": "http://[::1"},
}


@pytest.mark.parametrize("odd", ODD_ROWS)
async def test_an_odd_row_is_named_and_the_others_are_collected(
    odd: str, services: Services, ltx_env: Path, make_request: Make
) -> None:
    """A row in a state that nothing of ours writes stops itself only; it is named with what was wrong."""
    first = await wait_for(services, await submitted(services, make_request(seed=1)))
    second = await wait_for(services, await submitted(services, make_request(seed=2)))
    rewrite_row(ltx_env / "ledger.db", first.id, **ODD_ROWS[odd])
    report = await sweep_all(services, Owner.here(announces_posts=True))
    assert (await services.ledger.get(second.id)).state is State.ARCHIVED
    items = {each.generation_id: each for each in report.items}
    after = (await services.ledger.get(first.id)).state
    assert after is State.ARCHIVED or (items[first.id].note and not report.succeeded)


async def test_an_unreadable_time_in_one_row_does_not_stop_the_command(
    services: Services, fal: LocalFal, ltx_env: Path, make_request: Make
) -> None:
    """`prefect-ltx sweep` ends with 1 and names the generation, and the other one is in the archive."""
    first = await wait_for(services, await submitted(services, make_request(seed=1)))
    second = await wait_for(services, await submitted(services, make_request(seed=2)))
    rewrite_row(ltx_env / "ledger.db", first.id, asked=json.dumps({"width": {}}), facts=json.dumps([1]))
    result = await asyncio.to_thread(CliRunner().invoke, app, ["sweep", "--json"])
    report = json.loads(result.stdout)
    states = {each["generation_id"]: each["after"] for each in report["items"]}
    assert states[second.id] == "ARCHIVED"
    assert states[first.id] == "ARCHIVED" or result.exit_code == 1
    with sqlite3.connect(ltx_env / "ledger.db") as connection:
        assert connection.execute("SELECT count(*) FROM ltx_generation").fetchone() == (2,)
    connection.close()
    assert len(fal.bill) == 2
