"""The request id is kept the moment it arrives: whatever the ledger does then, the request is found and paid once."""

import json
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from generation_parts import submitted
from support import submits

from prefect_ltx.fal import IngredientRequest
from prefect_ltx.generation import Progress, Services, observe, wait_for
from prefect_ltx.generation.errors import AcceptedNotRecorded
from prefect_ltx.ledger import Owner, State
from prefect_ltx.local import LocalFal
from prefect_ltx.recovery import sweep_all

Make = Callable[..., IngredientRequest]

REFUSE = "CREATE TRIGGER refuse BEFORE UPDATE ON ltx_generation BEGIN SELECT RAISE(ABORT, 'disk full'); END"


def change(ledger: Path, statement: str) -> None:
    with sqlite3.connect(ledger, timeout=30) as connection:
        connection.execute(statement)
    connection.close()


@pytest.fixture
def refusing(ltx_env: Path) -> Callable[[Progress], None]:
    """From the moment the POST is accepted the ledger takes no change."""

    def refuse(progress: Progress) -> None:
        if progress.stage == "submit":
            change(ltx_env / "ledger.db", REFUSE)

    return refuse


@pytest.mark.parametrize("by", ["run", "sweep"])
async def test_an_id_that_the_ledger_cannot_take_is_found_again(
    by: str,
    refusing: Callable[[Progress], None],
    services: Services,
    fal: LocalFal,
    ltx_env: Path,
    make_request: Make,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The id is in the error, in the log and in the work folder, and the next run or sweep goes on with it, although
    this key may list nothing."""
    fal.faults.add("listing_forbidden")
    owner = Owner.here(announces_posts=True)
    with (
        caplog.at_level(logging.ERROR, "prefect_ltx"),
        observe(refusing),
        pytest.raises(AcceptedNotRecorded) as caught,
    ):
        await submitted(services, make_request(), owner)
    (kept,) = (ltx_env / "home" / "work").glob("*/request.json")
    request_id = json.loads(kept.read_text())["request_id"]
    assert request_id in str(caught.value)
    assert request_id in caplog.text
    assert "billed once" in str(caught.value)
    change(ltx_env / "ledger.db", "DROP TRIGGER refuse")
    await services.ledger.release(caught.value.generation.id, owner)
    if by == "run":
        generation = await wait_for(services, await submitted(services, make_request()))
    else:
        await sweep_all(services, Owner.here(announces_posts=True))
        generation = await services.ledger.get(caught.value.generation.id)
    assert generation.request_id == request_id
    assert generation.state in (State.SUBMITTED, State.COMPLETED, State.ARCHIVED)
    assert not kept.exists()
    assert submits(fal) == 1


async def test_an_id_kept_for_a_row_that_was_written_off_as_absent_is_not_lost(
    refusing: Callable[[Progress], None],
    services: Services,
    fal: LocalFal,
    ltx_env: Path,
    make_request: Make,
) -> None:
    """Another machine's person said that it never ran: this machine's kept id says that it did, and it is collected."""
    owner = Owner.here(announces_posts=True)
    with observe(refusing), pytest.raises(AcceptedNotRecorded) as caught:
        await submitted(services, make_request(), owner)
    change(ltx_env / "ledger.db", "DROP TRIGGER refuse")
    change(
        ltx_env / "ledger.db",
        "UPDATE ltx_generation SET state = 'RELEASED', live = 0, owner = NULL, lease_until = NULL",
    )
    await sweep_all(services, Owner.here(announces_posts=True))
    fal.wait_until_idle()
    await sweep_all(services, Owner.here(announces_posts=True))
    rows = await services.ledger.find()
    assert {row.state for row in rows} == {State.RELEASED, State.ARCHIVED}
    assert caught.value.generation.id in {row.id for row in rows}
    assert (submits(fal), len(fal.bill)) == (1, 1)


async def test_nothing_is_kept_once_the_ledger_has_it(
    services: Services, ltx_env: Path, make_request: Make
) -> None:
    """After an ordinary submit no file is left."""
    await submitted(services, make_request())
    assert list((ltx_env / "home" / "work").glob("*/request.json")) == []


async def test_an_odd_file_in_the_work_folder_stops_nothing(
    services: Services, fal: LocalFal, ltx_env: Path, make_request: Make
) -> None:
    """A file of that name that is no kept id, or another ledger's, is left alone, and is not cleared away."""
    for name, content in (("a", "{"), ("b", json.dumps({"ledger_id": "x"})), ("c", "")):
        folder = ltx_env / "home" / "work" / name
        folder.mkdir(parents=True)
        (folder / "request.json").write_text(content)
    generation = await wait_for(services, await submitted(services, make_request()))
    report = await sweep_all(services, Owner.here(announces_posts=True))
    assert (await services.ledger.get(generation.id)).state is State.ARCHIVED
    assert report.broken == []
    assert len(list((ltx_env / "home" / "work").glob("*/request.json"))) == 3
